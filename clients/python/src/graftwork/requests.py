"""The requests that the service takes, generated from its OpenAPI document by generate_types.py."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class UrgencyRequest(TypedDict, total=False):
    """How urgent a job is among the jobs of all projects."""

    urgency: Required[int]
    """Higher ones start before those of any other project; 0: its project waits for its turn."""


class ProjectRequest(TypedDict, total=False):
    """New limits of a project. What is left out stays; null is the service's default, 0 is none."""

    project: Required[str]
    """Id or name of the project."""
    max_running_jobs: int | None
    """Maximum number of its jobs that run at the same time."""
    job_seconds: float | None
    """Time limit of a job whose request names none."""
    quota_bytes: int | None
    """Maximum disk space of its files and labelled rows."""
    quota_rows: int | None
    """Maximum number of rows of its datasets, and labelled ones."""


class AliasRequest(TypedDict, total=False):
    """The version that an alias is to point at, or several among which requests are dealt; and maybe a shadow."""

    model: str | None
    """Reference to the version that answers all requests."""
    versions: Mapping[str, float] | None
    """Instead of model: versions (3, or any reference) and their weights, such as {'3': 90, '4': 10}."""
    shadow: str | None
    """A version that computes a copy of predictions after they were answered; its answers are compared and never sent."""
    shadow_share: float
    """Of how many predictions; 1: of all. Default: 1.0."""


class RollbackRequest(TypedDict, total=False):
    """Where an alias goes back to."""

    revision: int | None
    """The revision of its history to go back to; null: the one before, as far as it differs."""


class ImageOptions(TypedDict, total=False):
    """Size and colours of all images, and how they are resized."""

    height: int | None
    """Height in pixels; null: chosen by the images."""
    width: int | None
    """Width in pixels; null: chosen by the images."""
    mode: Literal["gray", "rgb"] | None
    """Colours; null: as in an array; of image files gray where all images are gray, else rgb."""
    resize: Literal["stretch", "pad", "crop"]
    """How images of another size are resized: stretch scales each side on its own; pad scales both alike and adds black borders; crop scales both alike and cuts off the edges. Default: "stretch"."""
    background: Literal["black", "white"] | None
    """What is laid under transparent images; null: what shows them, chosen for all alike."""
    pixel_range: tuple[float, float] | None
    """Values of 16-bit images, or of an array, that become black and white; others are cut off. Null: all that 16 bits hold where the images need them, else the smallest and the largest value of all images."""


class TextOptions(TypedDict, total=False):
    """How a plain text file is cut into rows."""

    rows: Literal["auto", "lines", "paragraphs", "windows"]
    """A row is a line, a paragraph (between blank lines), or a window of characters; auto: windows. Default: "auto"."""
    window: int
    """Characters of a window, which begins with the last character of the previous one. Default: 256."""


class SeriesOptions(TypedDict, total=False):
    """How the rows of a table in long form become series: the rows with one id, ordered by time."""

    id: Required[str]
    """Column with the id of each row's series."""
    time: str | None
    """Column of numbers or dates that orders the rows of a series; null: by their order in the file."""


class ConstantColumns(TypedDict, total=False):
    """Report or drop the columns of a table that hold one value in all kept rows of train."""

    kind: Required[Literal["constant_columns"]]
    action: Literal["report", "drop"]
    """Report such columns, or leave them out. Default: "report"."""


class Corrupt(TypedDict, total=False):
    """Leave out items that cannot be read; with too many of them, refuse the file."""

    kind: Required[Literal["corrupt"]]
    most: float
    """Maximum share of such items; a file with more is refused. Default: 1."""


class Duplicates(TypedDict, total=False):
    """Remove rows that repeat another row exactly, or count them."""

    kind: Required[Literal["duplicates"]]
    action: Literal["auto", "remove", "report"]
    """Remove the repetitions, or count them; auto: count those of tables, series, and texts of which most repeat others, and remove others. Default: "remove"."""
    conflicting: Literal["auto", "majority", "remove", "keep"]
    """Equal rows with different labels: majority keeps those that have the label of most, remove none, keep one of each label; auto: keep in tables, majority elsewhere. Default: "auto"."""


class Labels(TypedDict, total=False):
    """Merge classes whose names differ only in case, blanks or Unicode form; report likely misspellings."""

    kind: Required[Literal["labels"]]
    action: Literal["merge", "report"]
    """Merge such classes, or report them. Default: "merge"."""
    shortest: int
    """Names with fewer characters are only reported. Default: 3."""
    inputs: bool
    """Treat the categories of input columns in the same way. Default: false."""


class LeakingColumns(TypedDict, total=False):
    """Report or drop columns that predict a target alone, and columns that number or name the rows."""

    kind: Required[Literal["leaking_columns"]]
    action: Literal["report", "drop"]
    """Report such columns, or leave them out. Default: "report"."""
    above: float
    """AUC, accuracy or R2 of a one-column rule that is too good to be true. Default: 0.999."""


class NearDuplicates(TypedDict, total=False):
    """Find rows that are nearly the same as another, and report or remove them."""

    kind: Required[Literal["near_duplicates"]]
    action: Literal["report", "remove"]
    """Report them, or keep one of each. Default: "report"."""
    distance: int
    """Images: maximum number of the 64 bits in which two hashes differ. Default: 4."""
    similarity: float | None
    """Minimum correlation of image thumbnails, null: 0.99, or share of shingles of texts, null: 0.9."""
    digits: int
    """Tables and series: leading digits in which all numbers agree. Default: 3."""


class Outliers(TypedDict, total=False):
    """Find numbers far from the others of their column, and report, clip, blank or remove them."""

    kind: Required[Literal["outliers"]]
    method: Literal["mad", "iqr"]
    """Distance from the median in median deviations, or from the quartiles in interquartile ranges. Default: "mad"."""
    k: float | None
    """Maximum distance; null: 5 deviations, or 3 interquartile ranges."""
    action: Literal["report", "clip", "missing", "remove"]
    """Report them, move them to the nearest bound, make them missing values, or remove their rows. Default: "report"."""
    columns: Sequence[str] | None
    """Columns of numbers to check; null: all of them, targets too."""


class Text(TypedDict, total=False):
    """Normalise texts, and remove those that are too short or too long."""

    kind: Required[Literal["text"]]
    unicode: Literal["NFC", "NFKC"] | None
    """Unicode form: NFC composes letters, NFKC also unifies widths and styles; null: as it is. Default: "NFC"."""
    strip: bool
    """Remove blanks at both ends. Default: true."""
    collapse: bool
    """Replace each run of blanks and line ends by one blank. Default: false."""
    control: bool
    """Remove control characters, except tabs and line ends. Default: false."""
    lower: bool
    """Convert to lower case. Default: false."""
    entities: bool
    """Replace HTML entities by their characters: &amp; becomes &. Default: false."""
    shortest: int
    """Texts of fewer characters are removed. Default: 1."""
    longest: int | None
    """Texts of more characters are removed; null: none are."""


class DatasetRequest(TypedDict, total=False):
    """A dataset from an upload in parts, or from files that stay where they are: the fields of the form as JSON."""

    modality: Literal["image", "table", "text", "series"] | None
    """Kind of data; a file of another kind is refused. Null: by its content."""
    columns: Mapping[str, Literal["input", "target", "group", "ignored", "split", "time"]]
    """Role of a column by its name; others are inferred."""
    types: Mapping[str, Literal["number", "category", "date", "text", "labels"]]
    """Type of a column by its name; others are inferred."""
    splits: Mapping[str, float] | Literal["auto"]
    """Share of each split; the shares add up to 1 and train has some. auto: 0.8, 0.1 and 0.1, and where heads are solved for and labels few, they learn from all of them once the test rows have measured them. Default: "auto"."""
    seed: int
    """Another seed gives another split. Default: 0."""
    missing: Literal["auto", "impute", "reject"]
    """What NaN, NA, null, ? or unknown in a column of numbers or dates are: missing values (auto, impute) or errors (reject). Infinite numbers (inf, 1e999) are missing values with impute, else errors. Default: "auto"."""
    missing_values: Sequence[str]
    """Values that mean a missing one in inputs of tables and series, such as -999 or ?; [] for none."""
    decimal: Literal["auto", "point", "comma"] | Mapping[str, Literal["auto", "point", "comma"]]
    """Decimal separator of the numbers in a CSV file, or of columns by name; the other sign groups thousands. Auto: decided for each column by its values, then by those of other columns. Default: "auto"."""
    header: Literal["auto", "first", "none"]
    """Where a CSV file has the names of its columns: in its first line, or nowhere (they are called x0, x1 ...). Auto: none where the first line is like the rows below it; lines before the table are skipped. Default: "auto"."""
    multiline: Literal["auto", "yes", "no"]
    """Whether a quoted field of a CSV file may hold line ends; no: each line is a row, and a quote without a partner in its line is part of the text. Auto: no where quotes would swallow whole rows. Default: "auto"."""
    encoding: Literal[
        "auto",
        "utf-8",
        "utf-16",
        "cp1252",
        "latin-1",
        "cp1250",
        "cp1251",
        "cp1253",
        "cp1254",
        "cp437",
        "cp850",
        "cp866",
        "koi8-r",
        "mac-roman",
        "shift_jis",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "big5",
    ]
    """Encoding of a text file; auto: UTF-8, or UTF-16 by its byte order mark. Default: "auto"."""
    duplicates: Literal["auto", "remove", "keep"]
    """What happens to rows whose inputs are equal, byte for byte; auto: in tables and series they are observations and kept, as are texts of which most repeat others; else they are removed. Default: "auto"."""
    folders: Sequence[Literal["split", "label", "ignored"]] | None
    """What the folders of a zip are, the outermost first: splits, labels, or nothing to learn; null: inferred, and listed in decisions."""
    name_encoding: Literal[
        "auto",
        "utf-8",
        "cp437",
        "cp850",
        "cp852",
        "cp866",
        "cp932",
        "cp936",
        "cp949",
        "cp950",
        "cp1250",
        "cp1251",
        "cp1252",
    ]
    """Encoding of the names in a zip that do not say theirs; auto: UTF-8 where they are valid UTF-8, else a guess, with a warning. Default: "auto"."""
    image: ImageOptions | None
    """Size and colours of images; null: chosen by the images."""
    text: TextOptions | None
    """How plain text is cut into rows; null: into windows."""
    series: SeriesOptions | None
    """Columns of a table in long form that make series of its rows; null: it is not in long form."""
    unlabelled: Literal["auto", "remove", "keep"]
    """What happens to rows without any label; those that are kept go to train. auto: they are kept where their folder is called unlabelled or the like, or where most rows lack a label, else removed. Default: "auto"."""
    unlabelled_value: str | Sequence[str] | None
    """Value, or list of values, of targets that mean no label, such as -1; null: no value does."""
    label_separator: str
    """Separator of the labels in a text column of type labels; a cell with it alone has no labels. Default: ";"."""
    cleaning: (
        Literal["auto"]
        | Sequence[ConstantColumns | Corrupt | Duplicates | Labels | LeakingColumns | NearDuplicates | Outliers | Text]
    )
    """Cleaning steps, in order; auto: the steps that are safe for the modality. Default: "auto"."""
    same_splits_as: str | None
    """A prepared dataset, by id or name: rows that it contains keep their splits; null: none, or for a version the dataset that it is made from."""
    name: Required[str]
    """Name of the dataset."""
    upload: str | None
    """Id of the complete upload (POST /v1/uploads), unless there is a source."""
    source: str | None
    """A file, or a folder of files, that stays where it is: s3://bucket/path or file:///path, under a prefix that an operator allows (GRAFTWORK_SOURCES)."""


class Noise(TypedDict, total=False):
    """Add gaussian noise to every value; of series: jitter."""

    kind: Required[Literal["noise"]]
    strength: float
    """The noise's standard deviation, in units of encoded values. Default: 0.1."""


class Crop(TypedDict, total=False):
    """Show a piece of the image, stretched to the image's size."""

    kind: Required[Literal["crop"]]
    smallest: float
    """Smallest area of the piece, as a share of the image. Default: 0.5."""
    stretch: float
    """Most that a piece's width is divided by its height, or back. Default: 1.3333333333333333."""


class Shift(TypedDict, total=False):
    """Move the image up, down and sideways, or the series in time."""

    kind: Required[Literal["shift"]]
    share: float
    """Farthest move, as a share of the image's side or the series' length. Default: 0.1."""


class Flip(TypedDict, total=False):
    """Mirror the image; not for pictures that mean something else in a mirror, such as letters."""

    kind: Required[Literal["flip"]]
    horizontal: float
    """How often left and right are swapped. Default: 0.5."""
    vertical: float
    """How often top and bottom are swapped. Default: 0.0."""


class Rotate(TypedDict, total=False):
    """Turn the image a little."""

    kind: Required[Literal["rotate"]]
    degrees: float
    """Largest angle, either way. Default: 15."""


class Colour(TypedDict, total=False):
    """Change brightness, contrast and saturation."""

    kind: Required[Literal["colour"]]
    brightness: float
    """Brightness is multiplied by 1 minus to 1 plus this. Default: 0.4."""
    contrast: float
    """Contrast likewise. Default: 0.4."""
    saturation: float
    """Saturation likewise; images of red, green and blue only. Default: 0.4."""


class Blur(TypedDict, total=False):
    """Blur the image."""

    kind: Required[Literal["blur"]]
    probability: float
    """How often an image is blurred. Default: 0.5."""
    widest: float
    """Largest standard deviation of the blur, in pixels. Default: 1.0."""


class Erase(TypedDict, total=False):
    """Cover a part of the image."""

    kind: Required[Literal["erase"]]
    probability: float
    """How often an image loses a part. Default: 0.5."""
    largest: float
    """Largest area of the part, as a share of the image. Default: 0.33."""
    fill: Literal["noise", "black"]
    """What the part shows; noise is uniform in [0, 1]. Default: "noise"."""


class Mixup(TypedDict, total=False):
    """Blend every row with another one, labels too."""

    kind: Required[Literal["mixup"]]
    alpha: float
    """Beta's parameter; 0 mixes nothing, at 1 all shares are equally likely. Default: 0.2."""


class CutMix(TypedDict, total=False):
    """Paste a piece of another image, labels by area."""

    kind: Required[Literal["cutmix"]]
    alpha: float
    """Beta's parameter; 0 mixes nothing, at 1 all shares are equally likely. Default: 1.0."""


class Swap(TypedDict, total=False):
    """Take some values from other rows."""

    kind: Required[Literal["swap"]]
    share: float
    """Share of the values that come from other rows. Default: 0.3."""


class Mask(TypedDict, total=False):
    """Hide some values or tokens."""

    kind: Required[Literal["mask"]]
    share: float
    """Share of the values or tokens that are hidden. Default: 0.2."""


class Drop(TypedDict, total=False):
    """Leave out some tokens; also called deletion."""

    kind: Required[Literal["drop"]]
    share: float
    """Share of the tokens that are left out; a text never loses all of them. Default: 0.1."""


class Scale(TypedDict, total=False):
    """Make every channel larger or smaller."""

    kind: Required[Literal["scale"]]
    strength: float
    """Deviation of the factor's logarithm. Default: 0.2."""


class Warp(TypedDict, total=False):
    """Stretch some parts of the series and compress others."""

    kind: Required[Literal["warp"]]
    strength: float
    """Deviation of the speed's logarithm. Default: 0.3."""
    knots: int
    """How many speeds are drawn along the longest series. Default: 4."""


class Window(TypedDict, total=False):
    """Show a piece of the series, stretched to the series' length."""

    kind: Required[Literal["window"]]
    smallest: float
    """Shortest piece, as a share of the series. Default: 0.7."""


class Gap(TypedDict, total=False):
    """Hide spans of the series."""

    kind: Required[Literal["gap"]]
    largest: float
    """Longest span, as a share of the series. Default: 0.25."""
    count: int
    """How many spans are hidden; they may overlap. Default: 1."""


class PreviewRequest(TypedDict, total=False):
    """Augmentations to preview, and the rows to preview them on."""

    augmentations: Required[
        Sequence[
            Noise
            | Crop
            | Shift
            | Flip
            | Rotate
            | Colour
            | Blur
            | Erase
            | Mixup
            | CutMix
            | Swap
            | Mask
            | Drop
            | Scale
            | Warp
            | Window
            | Gap
        ]
    ]
    """As in a job: applied in order."""
    rows: Sequence[int]
    """Numbers of rows as `GET .../rows` returns them; none: the first of the train split."""
    limit: int
    """How many rows, where none are named. Default: 8."""
    seed: int
    """Starts every random choice: the same gives the same. Default: 0."""


class PrepareOptions(TypedDict, total=False):
    """How a file becomes a dataset; every option has a default."""

    modality: Literal["image", "table", "text", "series"] | None
    """Kind of data; a file of another kind is refused. Null: by its content."""
    columns: Mapping[str, Literal["input", "target", "group", "ignored", "split", "time"]]
    """Role of a column by its name; others are inferred."""
    types: Mapping[str, Literal["number", "category", "date", "text", "labels"]]
    """Type of a column by its name; others are inferred."""
    splits: Mapping[str, float] | Literal["auto"]
    """Share of each split; the shares add up to 1 and train has some. auto: 0.8, 0.1 and 0.1, and where heads are solved for and labels few, they learn from all of them once the test rows have measured them. Default: "auto"."""
    seed: int
    """Another seed gives another split. Default: 0."""
    missing: Literal["auto", "impute", "reject"]
    """What NaN, NA, null, ? or unknown in a column of numbers or dates are: missing values (auto, impute) or errors (reject). Infinite numbers (inf, 1e999) are missing values with impute, else errors. Default: "auto"."""
    missing_values: Sequence[str]
    """Values that mean a missing one in inputs of tables and series, such as -999 or ?; [] for none."""
    decimal: Literal["auto", "point", "comma"] | Mapping[str, Literal["auto", "point", "comma"]]
    """Decimal separator of the numbers in a CSV file, or of columns by name; the other sign groups thousands. Auto: decided for each column by its values, then by those of other columns. Default: "auto"."""
    header: Literal["auto", "first", "none"]
    """Where a CSV file has the names of its columns: in its first line, or nowhere (they are called x0, x1 ...). Auto: none where the first line is like the rows below it; lines before the table are skipped. Default: "auto"."""
    multiline: Literal["auto", "yes", "no"]
    """Whether a quoted field of a CSV file may hold line ends; no: each line is a row, and a quote without a partner in its line is part of the text. Auto: no where quotes would swallow whole rows. Default: "auto"."""
    encoding: Literal[
        "auto",
        "utf-8",
        "utf-16",
        "cp1252",
        "latin-1",
        "cp1250",
        "cp1251",
        "cp1253",
        "cp1254",
        "cp437",
        "cp850",
        "cp866",
        "koi8-r",
        "mac-roman",
        "shift_jis",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "big5",
    ]
    """Encoding of a text file; auto: UTF-8, or UTF-16 by its byte order mark. Default: "auto"."""
    duplicates: Literal["auto", "remove", "keep"]
    """What happens to rows whose inputs are equal, byte for byte; auto: in tables and series they are observations and kept, as are texts of which most repeat others; else they are removed. Default: "auto"."""
    folders: Sequence[Literal["split", "label", "ignored"]] | None
    """What the folders of a zip are, the outermost first: splits, labels, or nothing to learn; null: inferred, and listed in decisions."""
    name_encoding: Literal[
        "auto",
        "utf-8",
        "cp437",
        "cp850",
        "cp852",
        "cp866",
        "cp932",
        "cp936",
        "cp949",
        "cp950",
        "cp1250",
        "cp1251",
        "cp1252",
    ]
    """Encoding of the names in a zip that do not say theirs; auto: UTF-8 where they are valid UTF-8, else a guess, with a warning. Default: "auto"."""
    image: ImageOptions | None
    """Size and colours of images; null: chosen by the images."""
    text: TextOptions | None
    """How plain text is cut into rows; null: into windows."""
    series: SeriesOptions | None
    """Columns of a table in long form that make series of its rows; null: it is not in long form."""
    unlabelled: Literal["auto", "remove", "keep"]
    """What happens to rows without any label; those that are kept go to train. auto: they are kept where their folder is called unlabelled or the like, or where most rows lack a label, else removed. Default: "auto"."""
    unlabelled_value: str | Sequence[str] | None
    """Value, or list of values, of targets that mean no label, such as -1; null: no value does."""
    label_separator: str
    """Separator of the labels in a text column of type labels; a cell with it alone has no labels. Default: ";"."""
    cleaning: (
        Literal["auto"]
        | Sequence[ConstantColumns | Corrupt | Duplicates | Labels | LeakingColumns | NearDuplicates | Outliers | Text]
    )
    """Cleaning steps, in order; auto: the steps that are safe for the modality. Default: "auto"."""
    same_splits_as: str | None
    """A prepared dataset, by id or name: rows that it contains keep their splits; null: none, or for a version the dataset that it is made from."""


class VersionRequest(TypedDict, total=False):
    """How a further dataset is prepared: from the source of an existing one, or from a new source with more rows."""

    name: str | None
    """Name of the new dataset; null: the same."""
    upload: str | None
    """Id of the complete upload (POST /v1/uploads) that the version is prepared from: all of its rows, earlier ones and new ones. Null: the source of the dataset, unless there is a `source`."""
    source: str | None
    """A file, or a folder of files, that stays where it is, with all rows of the version, as in POST /v1/datasets. That of the dataset is listed anew."""
    options: PrepareOptions
    """As in an upload; options that are not given stay as they were, and so do the splits, unless `splits`, `seed`, `same_splits_as` or a column's role says how they are split."""


class ImagePreprocessing(TypedDict, total=False):
    """How images become numbers."""

    kind: Required[Literal["image"]]
    scaling: Literal["unit"]
    """How bytes become numbers: unit is x / 255. Default: "unit"."""


class TablePreprocessing(TypedDict, total=False):
    """How rows become numbers."""

    kind: Required[Literal["table"]]
    dates: Literal["parts", "time"]
    """What dates give: their month, weekday, hour and day of the month, as far as train rows differ in these, and the time; or the time alone. Default: "parts"."""


class SeriesPreprocessing(TypedDict, total=False):
    """How series become numbers."""

    kind: Required[Literal["series"]]
    scaling: Literal["channel", "series"]
    """Standardise by every channel's train values, or every series by its own, which forgets its level. Default: "channel"."""


class TextPreprocessing(TypedDict, total=False):
    """How texts become codes."""

    kind: Required[Literal["text"]]
    tokenizer: Literal["auto", "byte", "character", "bpe", "wordpiece"]
    """What a token is; auto: a character of texts that are few and short, else byte pairs that are learned, which read longer texts; wordpiece comes with imported models alone. Default: "auto"."""
    vocabulary: int | Literal["auto"]
    """Most tokens to know; more are learned from more text. Default: "auto"."""
    max_tokens: int | Literal["auto"]
    """Most tokens of a row, its limits included; the rest of a longer text is cut off. Default: "auto"."""
    limits: Literal["auto", "marked", "open"]
    """Whether codes mark where a text begins and ends; open: rows are pieces of one long text. Default: "auto"."""
    lowercase: bool
    """Write everything in small letters. Default: false."""
    form: Literal["none", "nfc", "nfkc"]
    """Unicode normal form: nfc writes equal letters equally, nfkc also drops their style. Default: "nfc"."""


class Mlp(TypedDict, total=False):
    """A multilayer perceptron over the flattened row."""

    kind: Required[Literal["mlp"]]
    hidden: Sequence[int] | Literal["auto"]
    """Width of each layer; the last is the features. Default: "auto"."""
    activation: Literal["relu", "gelu", "silu", "elu", "tanh", "sigmoid"]
    """Applied after every layer, the last included. Default: "relu"."""
    dropout: float
    """Share of activations dropped after each layer while training. Default: 0.0."""


class KMeansPatches(TypedDict, total=False):
    """How near every patch of an image is to typical patches."""

    kind: Required[Literal["kmeans_patches"]]
    centroids: int | Literal["auto"]
    """How many typical patches there are. Default: "auto"."""
    patch: int | Literal["auto"]
    """Side of a patch, in pixels. Default: "auto"."""
    stride: int
    """Pixels between two patches; 2 is a quarter of the work. Default: 1."""
    grid: int
    """Codes are pooled in so many cells each way. Default: 5."""
    code: Literal["triangle", "soft_threshold"]
    """How nearness becomes a number; soft_threshold is cheaper. Default: "triangle"."""
    threshold: float
    """What soft_threshold takes off; triangle needs none. Default: 0.25."""


class Vit(TypedDict, total=False):
    """A transformer over the patches of an image."""

    kind: Required[Literal["vit"]]
    patch: int | Literal["auto"]
    """Side of a patch, in pixels; auto makes at most 64 patches of an image. Default: "auto"."""
    width: int
    """Features of every patch, and of the image. Default: 128."""
    depth: int
    """Blocks. Default: 4."""
    heads: int
    """Attention heads; they share the width. Default: 4."""
    mlp_ratio: int
    """Width of a block's hidden layer, in widths. Default: 2."""
    dropout: float
    """Share of activations dropped in every block while training. Default: 0.0."""
    tokens: int
    """Learned tokens before the patches: a class token, then others; 0: none. Default: 0."""
    pooling: Literal["mean", "first"]
    """An image's features: the mean over its patches, or the first of the learned tokens. Default: "mean"."""
    epsilon: float
    """What is added to the variance in every norm. Default: 1e-05."""


class ConvNet(TypedDict, total=False):
    """Strided convolutions that halve the image or series, then a linear layer."""

    kind: Required[Literal["convnet"]]
    channels: Sequence[int]
    """Channels of each convolution; each halves its input. Default: [32, 64, 128]."""
    kernel_size: Literal[3, 5, 7]
    """Side of the convolutions' windows, in pixels or steps. Default: 3."""
    features: int
    """Width of the last layer: the number of features. Default: 128."""
    activation: Literal["relu", "gelu", "silu", "elu", "tanh", "sigmoid"]
    """Applied after every layer, the last included. Default: "gelu"."""
    norm: Literal["none", "group", "contrast"]
    """Normalisation after each convolution: group, over groups of channels; contrast, over the channels at each place, and the first windows over an image weigh its pixels with a mean of 0. Default: "none"."""
    first_stride: int
    """Of the first convolution; 1 keeps an image's size, for four times the work. Default: 2."""


class ResNet(TypedDict, total=False):
    """Residual blocks in stages, each stage after the first halving the image."""

    kind: Required[Literal["resnet"]]
    widths: Sequence[int]
    """Channels of each stage; the last are the features. Default: [32, 64, 128]."""
    blocks: int
    """Residual blocks in every stage. Default: 1."""
    stem: Literal["small", "halving", "large"]
    """First layer: small has 3 x 3 windows and keeps the size, halving halves it, large is the one published for photographs, 7 x 7 windows and pooling to a quarter. Default: "halving"."""
    norm: Literal["batch", "group"]
    """Normalisation after each convolution, over batches or within a row. Default: "batch"."""


class EfficientNetLite0(TypedDict, total=False):
    """Inverted residual blocks in seven stages between a stem and a head."""

    kind: Required[Literal["efficientnet_lite0"]]
    width: float
    """Multiplies the stages' channels; 1 as published. Default: 1.0."""
    depth: float
    """Multiplies the stages' blocks, rounded up; 1 as published. Default: 1.0."""
    fixed_ends: bool
    """Whether depth leaves the blocks of the first and the last stage alone, as published. Default: false."""
    features: int
    """Channels of the head, whose means over the image are the features. Default: 1280."""


class Gru(TypedDict, total=False):
    """Layers of gated recurrent units."""

    kind: Required[Literal["gru"]]
    causal: bool | Literal["auto"]
    """Whether a step sees only what came before it; auto: only where method or head ask for it. Default: "auto"."""
    width: int
    """Features of every step; an even number. Default: 128."""
    depth: int
    """Layers. Default: 2."""
    dropout: float
    """Share of activations dropped between layers while training. Default: 0.0."""
    pooling: Literal["mean", "last"]
    """A row's features: the mean over its steps, or the last step's. Default: "mean"."""


class Lstm(TypedDict, total=False):
    """Layers of long short-term memory."""

    kind: Required[Literal["lstm"]]
    causal: bool | Literal["auto"]
    """Whether a step sees only what came before it; auto: only where method or head ask for it. Default: "auto"."""
    width: int
    """Features of every step; an even number. Default: 128."""
    depth: int
    """Layers. Default: 2."""
    dropout: float
    """Share of activations dropped between layers while training. Default: 0.0."""
    pooling: Literal["mean", "last"]
    """A row's features: the mean over its steps, or the last step's. Default: "mean"."""


class Tcn(TypedDict, total=False):
    """Blocks of dilated convolutions."""

    kind: Required[Literal["tcn"]]
    causal: bool | Literal["auto"]
    """Whether a step sees only what came before it; auto: only where method or head ask for it. Default: "auto"."""
    width: int
    """Features of every step. Default: 64."""
    depth: int
    """Blocks; every further one doubles how far a step sees. Default: 6."""
    kernel: int
    """Steps under each convolution; 3 in 6 blocks see 253 steps. Default: 3."""
    dropout: float
    """Share of activations dropped behind each convolution while training. Default: 0.0."""
    pooling: Literal["mean", "last"]
    """A row's features: the mean over its steps, or the last step's. Default: "mean"."""


class RandomKernels(TypedDict, total=False):
    """Shares of a series above thresholds after fixed convolutions, for heads that are solved for."""

    kind: Required[Literal["random_kernels"]]
    features: int | Literal["auto"]
    """About how many features there are; auto: 10,000, fewer of many or long series. Default: "auto"."""
    views: Literal["channel", "both", "auto"]
    """How rows are seen: as channels are scaled, or both so and standardised one by one; auto: both. Default: "auto"."""


class Rocket(TypedDict, total=False):
    """Greatest answers of random convolutions, and the shares of positive ones, for heads that are solved for."""

    kind: Required[Literal["rocket"]]
    kernels: int | Literal["auto"]
    """About how many kernels there are, of two features each; auto: 5,000, fewer for many or long rows. Default: "auto"."""


class TabularResNet(TypedDict, total=False):
    """Residual blocks over a row whose numbers are unfolded into waves."""

    kind: Required[Literal["tabular_resnet"]]
    width: int
    """Features between the blocks, and of the row. Default: 128."""
    depth: int
    """Residual blocks. Default: 1."""
    expansion: int
    """Width inside a block, as a multiple. Default: 2."""
    dropout: float
    """Share of a block's inner activations dropped while training. Default: 0.1."""
    frequencies: int
    """Waves of every number. Default: 8."""
    embedding: int
    """Values that a number's waves become. Default: 8."""
    scale: float
    """Deviation of the fresh rates, in waves per standard deviation of a number. Default: 0.1."""


class Raw(TypedDict, total=False):
    """The encoded row itself, of large rows on a coarser grid."""

    kind: Required[Literal["raw"]]


class Transformer(TypedDict, total=False):
    """Layers of attention."""

    kind: Required[Literal["transformer"]]
    causal: bool | Literal["auto"]
    """Whether a step sees only what came before it; auto: only where method or head ask for it. Default: "auto"."""
    width: int
    """Features of every step; a multiple of twice the heads. Default: 128."""
    depth: int
    """Blocks. Default: 4."""
    heads: int
    """Attention heads; they share the width. Default: 2."""
    expansion: int
    """Width of the perceptron in a block, as a multiple. Default: 4."""
    dropout: float
    """Share of activations dropped while training. Default: 0.0."""
    positions: Literal["rotary", "learned"]
    """Rotary turns queries and keys, learned adds a vector to every step. Default: "rotary"."""
    ngrams: int
    """Of texts: runs of up to so many codes have vectors, too; 1: only codes themselves. Default: 1."""
    ngram_slots: int
    """Vectors for the runs of each length; runs may share one. Default: 32768."""
    pooling: Literal["mean", "last"]
    """A row's features: the mean over its steps, or the last step's. Default: "mean"."""


class Bert(TypedDict, total=False):
    """Attention in both directions over the tokens of a text."""

    kind: Required[Literal["bert"]]
    width: int
    """Features of every token; a multiple of the heads. Default: 128."""
    depth: int
    """Blocks. Default: 2."""
    heads: int
    """Attention heads; they share the width. Default: 2."""
    hidden: int
    """Width of the perceptron in a block. Default: 512."""
    positions: int
    """Places that have a vector; later tokens are not read. Default: 512."""
    dropout: float
    """Share of activations dropped while training; BERT was trained with 0.1. Default: 0.0."""
    epsilon: float
    """What is added to the variance in every norm. Default: 1e-12."""
    pooling: Literal["mean", "first"]
    """A row's features: the mean over its tokens, or the first token's, which marks the begin. Default: "mean"."""


class Tfidf(TypedDict, total=False):
    """Counts of a text's words and of pieces of them, rare ones weighing more, for heads that are solved for."""

    kind: Required[Literal["tfidf"]]
    features: int | Literal["auto"]
    """How many words, pairs of words and pieces of words are counted; auto: 10,000, fewer of many rows. Default: "auto"."""


class NoPenalty(TypedDict, total=False):
    """Reconstruction alone."""

    kind: Required[Literal["none"]]


class L2(TypedDict, total=False):
    """Small weights."""

    kind: Required[Literal["l2"]]
    strength: float
    """Lambda, the weight of the sum of squared weights. Default: 0.0001."""


class L1(TypedDict, total=False):
    """Sparse weights."""

    kind: Required[Literal["l1"]]
    strength: float
    """Lambda, the weight of the sum of absolute weights. Default: 1e-05."""


class Contractive(TypedDict, total=False):
    """Features that move little when the input does."""

    kind: Required[Literal["contractive"]]
    strength: float
    """Lambda, the weight of the Jacobian's squared norm. Default: 0.1."""
    projections: int
    """Random projections per row and step. Default: 1."""


class Sparse(TypedDict, total=False):
    """Features that are near 0 for most rows."""

    kind: Required[Literal["sparse"]]
    strength: float
    """Lambda, the weight of the sum of divergences. Default: 0.1."""
    rate: float
    """Rho, the target mean activity of every feature. Default: 0.05."""


class Autoencoder(TypedDict, total=False):
    """Learn features from which the row can be rebuilt."""

    kind: Required[Literal["autoencoder"]]
    regularizer: NoPenalty | L2 | L1 | Contractive | Sparse
    """R and lambda."""


class NoiseCorruption(TypedDict, total=False):
    """Gaussian noise on every value."""

    kind: Required[Literal["noise"]]
    strength: float
    """The noise's standard deviation, in units of encoded values. Default: 0.3."""


class MaskCorruption(TypedDict, total=False):
    """Some values become 0."""

    kind: Required[Literal["mask"]]
    share: float
    """Share of a row's values that is masked. Default: 0.3."""


class SwapCorruption(TypedDict, total=False):
    """Some values are those of other rows."""

    kind: Required[Literal["swap"]]
    share: float
    """Share of a row's values that is taken from other rows of the batch. Default: 0.15."""


class DenoisingAutoencoder(TypedDict, total=False):
    """Learn features of a corrupted row from which the clean row can be rebuilt."""

    kind: Required[Literal["denoising_autoencoder"]]
    corruption: NoiseCorruption | MaskCorruption | SwapCorruption | Literal["auto"]
    """How rows are corrupted; auto: swap for tables. Default: "auto"."""
    emphasis: float
    """How much the error of a changed value counts; one left alone counts 1. Default: 1.0."""


class KMeans(TypedDict, total=False):
    """Learn typical patches."""

    kind: Required[Literal["kmeans"]]
    patches_per_row: int
    """Random patches of every image in a step. Default: 16."""


class MaskedAutoencoder(TypedDict, total=False):
    """Rebuild the patches of an image that were masked."""

    kind: Required[Literal["masked_autoencoder"]]
    masked: float
    """Share of the patches that is left out. Default: 0.75."""
    normalize: bool
    """Whether every patch to rebuild is standardised. Default: true."""
    decoder_width: int
    """Features of every patch in the decoder. Default: 64."""
    decoder_depth: int
    """Blocks of the decoder. Default: 1."""
    decoder_heads: int
    """Heads of the decoder's blocks; they share its width. Default: 4."""


class VariationalAutoencoder(TypedDict, total=False):
    """Learn a distribution of features from which rows can be sampled."""

    kind: Required[Literal["vae"]]
    likelihood: Literal["auto", "bernoulli", "gaussian"]
    """p(x|z): bernoulli for values in [0, 1], gaussian for any. Default: "auto"."""
    beta: float
    """Weight of the KL divergence; 1 is the lower bound itself. Default: 1.0."""
    warmup: float
    """Share of the training in which beta rises from 0; what is measured counts all. Default: 0.0."""
    free_bits: float
    """Nats of divergence that a dimension of z may have at no further cost. Default: 0.0."""
    latent: int | Literal["auto"]
    """Dimensions of z. Default: "auto"."""


class SimClr(TypedDict, total=False):
    """Learn to recognise a row behind two random views of it, among the others of the batch."""

    kind: Required[Literal["simclr"]]
    temperature: float
    """Tau: the smaller, the more the nearest rows count. Default: 0.2."""
    hidden: int
    """Width of the projection's hidden layer. Default: 256."""
    projection: int
    """Dimensions in which views are compared. Default: 128."""


class VicReg(TypedDict, total=False):
    """Learn what two random views of a row share, without comparing rows with each other."""

    kind: Required[Literal["vicreg"]]
    invariance: float
    """Lambda, the weight of the views' distance. Default: 25.0."""
    variance: float
    """Mu, the weight of the hinge on each dimension's deviation. Default: 25.0."""
    covariance: float
    """Nu, the weight of the squared covariances. Default: 1.0."""
    hidden: int
    """Width of the projection's hidden layer. Default: 512."""
    projection: int | Literal["auto"]
    """Dimensions in which views are compared. Default: "auto"."""


class NextToken(TypedDict, total=False):
    """Learn to predict a text's next token."""

    kind: Required[Literal["next_token"]]
    tied: bool
    """Predict tokens with the input embeddings as the output layer's weights; saves a layer. Default: false."""


class MaskedLanguage(TypedDict, total=False):
    """Learn to predict masked tokens of a text."""

    kind: Required[Literal["masked_language"]]
    share: float
    """Share of the tokens that are predicted. Default: 0.15."""
    tied: bool
    """Predict tokens with the input embeddings as the output layer's weights; saves a layer. Default: false."""


class MaskedSteps(TypedDict, total=False):
    """Rebuild hidden spans of a series."""

    kind: Required[Literal["masked_steps"]]
    share: float
    """Share of a channel's values that is hidden. Default: 0.3."""
    span: int
    """Steps of a span; longer ones are harder to guess. Default: 3."""


class Supervised(TypedDict, total=False):
    """Predict the class, or the number, by a linear head."""

    kind: Required[Literal["supervised"]]
    target: Required[str]
    """The target whose labels join, by its name in the dataset."""
    weight: float | Literal["auto"]
    """What the labels' loss is multiplied with; auto: a tenth of a row's values where the method's loss sums over them, else 1. Default: "auto"."""
    rows: int
    """Labelled rows drawn at random in addition to every batch. Default: 64."""


class Contrastive(TypedDict, total=False):
    """Bring rows of one class together, and those of others apart."""

    kind: Required[Literal["contrastive"]]
    target: Required[str]
    """The target whose labels join, by its name in the dataset."""
    weight: float | Literal["auto"]
    """What the labels' loss is multiplied with; auto: a tenth of a row's values where the method's loss sums over them, else 1. Default: "auto"."""
    rows: int
    """Labelled rows drawn at random in addition to every batch. Default: 64."""
    temperature: float
    """Tau: the smaller, the more the nearest rows count. Default: 0.1."""
    hidden: int
    """Width of the projection's hidden layer. Default: 256."""
    projection: int
    """Dimensions in which rows are compared. Default: 128."""


class Watch(TypedDict, total=False):
    """At each evaluation: how much of the features is alive, and with a target how well a probe does on them."""

    target: str | None
    """The target that a linear probe answers, on labelled train rows; null: no label is looked at."""
    dataset: str | None
    """Id or name of the dataset whose labels watch, with the same columns; null: the one pretrained on."""
    rows: int
    """Rows that are looked at, at most; always the same ones. Default: 1000."""
    keep: Literal["last", "best"]
    """Which weights are kept in the end: the last, or those that were best for the probe. Default: "last"."""
    patience: int | None
    """Evaluations without a better probe before training stops; null trains to the end."""


class Adam(TypedDict, total=False):
    """Adam (Kingma and Ba, 2015), as torch.optim.Adam."""

    kind: Required[Literal["adam"]]
    lr: float | Literal["auto"]
    """Learning rate. Default: "auto"."""
    betas: tuple[float, float]
    """Decay rates of the two running moments. Default: [0.9, 0.999]."""
    weight_decay: float
    """L2 penalty, added to the gradient. Default: 0.0."""


class AdamW(TypedDict, total=False):
    """AdamW (Loshchilov and Hutter, 2019), as torch.optim.AdamW."""

    kind: Required[Literal["adamw"]]
    lr: float | Literal["auto"]
    """Learning rate. Default: "auto"."""
    betas: tuple[float, float]
    """Decay rates of the two running moments. Default: [0.9, 0.999]."""
    weight_decay: float | Literal["auto"]
    """Decoupled weight decay, relative to the learning rate. Default: "auto"."""


class Sgd(TypedDict, total=False):
    """Stochastic gradient descent (Robbins and Monro, 1951; Sutskever et al., 2013), as torch.optim.SGD."""

    kind: Required[Literal["sgd"]]
    lr: float | Literal["auto"]
    """Learning rate. Default: "auto"."""
    momentum: float
    """Share of the last step that is kept. Default: 0.9."""
    nesterov: bool
    """Look ahead along the momentum (needs momentum > 0). Default: false."""
    weight_decay: float
    """L2 penalty, added to the gradient. Default: 0.0."""


class Constant(TypedDict, total=False):
    """The rate stays, after a linear warm-up."""

    kind: Required[Literal["constant"]]
    warmup_steps: int | Literal["auto"]
    """Steps in which the rate rises linearly. Default: "auto"."""


class Cosine(TypedDict, total=False):
    """Half a cosine from the full rate to its end (Loshchilov and Hutter, 2017), after a linear warm-up."""

    kind: Required[Literal["cosine"]]
    warmup_steps: int | Literal["auto"]
    """Steps in which the rate rises linearly. Default: "auto"."""
    final_fraction: float
    """The last step's rate, as a share of the full one. Default: 0.01."""


class EarlyStopping(TypedDict, total=False):
    """Stop when the validation loss no longer falls, and return to the best weights."""

    patience: int
    """Evaluations without improvement before stopping. Default: 5."""
    min_delta: float
    """An improvement is a fall by more than this. Default: 0.0."""


class TrainingConfig(TypedDict, total=False):
    """How to train. Give `epochs` or `steps`, not both; the defaults suit a hundred to some ten thousand rows."""

    epochs: int | Literal["auto"] | None
    """Passes over the train rows."""
    steps: int | None
    """Optimizer steps, instead of epochs."""
    batch_size: int | Literal["auto"]
    """Rows per step; more than there are means all of them. Default: "auto"."""
    optimizer: Adam | AdamW | Sgd
    """What moves the weights."""
    schedule: Constant | Cosine
    """How the learning rate changes."""
    clip_grad_norm: float | None
    """Longest allowed gradient; null leaves it."""
    precision: Literal["auto", "float32", "bfloat16", "native"]
    """Arithmetic of matrix products and convolutions while training; weights stay float32. native: bfloat16 where the worker's processor or GPU multiplies it in hardware, else float32. Default: "auto"."""
    seed: int
    """Starts every random choice. Default: 0."""
    early_stopping: EarlyStopping | None
    """When to stop early; null trains to the end."""
    evaluate_every: int | Literal["auto"]
    """Epochs between two measurements on the validation split. Default: "auto"."""
    checkpoint_seconds: float
    """Seconds between two checkpoints. Default: 30."""
    checkpoint_steps: int | None
    """Also write one every so many steps; null does not."""


class Resources(TypedDict, total=False):
    """What the job may use."""

    device: Literal["auto", "cpu", "cuda"]
    """auto: a GPU where the worker has one. Default: "auto"."""
    max_seconds: float | None
    """How long its attempts may run together; then it stops at a checkpoint and fails, to be retried. null: the time limit of its project, GRAFTWORK_JOB_SECONDS."""
    devices: int
    """On how many devices of a worker a training runs: each takes its share of a batch. Default: 1."""
    nodes: int
    """How many workers train it together, each on so many devices. It begins once all are free at the same time; from a checkpoint it goes on with those that are. Default: 1."""
    sharding: Literal["auto", "replicate", "shard"]
    """How several devices hold weights, gradients and moments. replicate: each has all of them (DDP). shard: each has its part, and all gather the weights for a step (FSDP2), which takes less memory and more time. auto: shard where they would take more than half of a GPU's memory. Default: "auto"."""


class PretrainingRequest(TypedDict, total=False):
    """Learn features without labels."""

    preprocessing: ImagePreprocessing | TablePreprocessing | SeriesPreprocessing | TextPreprocessing | Literal["auto"]
    """How rows become numbers; auto: as data is. Default: "auto"."""
    backbone: (
        Mlp
        | KMeansPatches
        | Vit
        | ConvNet
        | ResNet
        | EfficientNetLite0
        | Gru
        | Lstm
        | Tcn
        | RandomKernels
        | Rocket
        | TabularResNet
        | Raw
        | Transformer
        | Bert
        | Tfidf
        | Literal["auto"]
    )
    """The network; auto: one that suits data and method. Default: "auto"."""
    method: (
        Autoencoder
        | DenoisingAutoencoder
        | KMeans
        | MaskedAutoencoder
        | VariationalAutoencoder
        | SimClr
        | VicReg
        | NextToken
        | MaskedLanguage
        | MaskedSteps
        | Literal["auto"]
    )
    """What it learns from; auto: one that suits the data. Default: "auto"."""
    augmentations: (
        Sequence[
            Noise
            | Crop
            | Shift
            | Flip
            | Rotate
            | Colour
            | Blur
            | Erase
            | Mixup
            | CutMix
            | Swap
            | Mask
            | Drop
            | Scale
            | Warp
            | Window
            | Gap
        ]
        | Literal["auto"]
    )
    """Random changes of every batch, in order; auto: none, or what the method needs. Default: "auto"."""
    labels: Supervised | Contrastive | None
    """What the labels of some rows add to the loss; null: no label is looked at."""
    watch: Watch | Literal["auto"] | None
    """What is looked at at each evaluation, and whether it chooses the weights; auto: where train rows carry a target, a probe of the first such target on a few of them, which warns where pretraining loses what the target needs; null: nothing. Default: "auto"."""
    training: TrainingConfig
    """How it is trained."""
    name: str | None
    """Name of the model that comes out; null: after the dataset."""
    dataset: Required[str]
    """Id of a ready dataset, or a name: the newest ready one of that name."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""
    kind: Required[Literal["pretraining"]]


class CategoryFeatures(TypedDict, total=False):
    """A column of categories by its features, first .. end - 1: one is 1, or none where the category is unknown."""

    name: Required[str]
    first: Required[int]
    end: Required[int]


class BoostedTrees(TypedDict, total=False):
    """Boost decision trees."""

    kind: Required[Literal["boosted_trees"]]
    target_encoding: Literal["best"] | Sequence[CategoryFeatures]
    """Columns of categories that are encoded by what they predict, on train rows alone; best: those of more than 15 categories where the features are the row itself; []: none. Default: "best"."""
    iterations: int | Literal["auto"]
    """Trees one after another, of each class or number; auto: fewer for many classes. Default: "auto"."""
    learning_rate: float | Literal["auto"]
    """Share of its correction that each tree makes. Default: "auto"."""
    max_leaves: int | Literal["auto"]
    """Leaves of a tree at most; auto: fewer for few rows. Default: "auto"."""
    min_leaf_rows: int | Literal["auto"]
    """Train rows in a leaf at least; auto: fewer for few rows. Default: "auto"."""
    feature_share: float
    """Share of the features that a split chooses from, drawn anew each time: trees differ more. Default: 0.3."""
    l2: float
    """Penalty on the values of leaves, in rows. Default: 0.0."""


class RandomForest(TypedDict, total=False):
    """Average decision trees that are grown at random."""

    kind: Required[Literal["random_forest"]]
    target_encoding: Literal["best"] | Sequence[CategoryFeatures]
    """Columns of categories that are encoded by what they predict, on train rows alone; best: those of more than 15 categories where the features are the row itself; []: none. Default: "best"."""
    trees: int | Literal["auto"]
    """Number of trees; auto: 300, fewer where they would be large. Default: "auto"."""
    min_leaf_rows: int | Literal["auto"]
    """Train rows in a leaf at least; auto: 1, more where the trees would be large. Default: "auto"."""
    feature_share: float | None
    """Share of the features that a split chooses from; null: the root of their number for classes, all of them for numbers."""


class NearestNeighbours(TypedDict, total=False):
    """Answer as the nearest train rows were."""

    kind: Required[Literal["nearest_neighbours"]]
    neighbours: Literal["best"] | int
    """Rows within the distance that others are measured by; best: 1, 3, 10 or 30, by leaving rows out. Default: "best"."""


class Ridge(TypedDict, total=False):
    """Linear weights of the least squared error, which suit many more features than rows."""

    kind: Required[Literal["ridge"]]


class BlendMember(TypedDict, total=False):
    """One of those that are blended, and how much it counts."""

    estimator: BoostedTrees | RandomForest | NearestNeighbours | Ridge | None
    """What is learned; null: linear weights."""
    weight: float
    """How much it counts, against the others' weights. Default: 1.0."""
    temperature: float
    """What its logits are divided by; of classes alone. Default: 1.0."""


class Blend(TypedDict, total=False):
    """Average several estimators."""

    kind: Required[Literal["blend"]]
    members: Sequence[BlendMember]
    """What is averaged. Default: [{"weight": 1.0, "temperature": 1.0}, {"estimator": {"kind": "random_forest", "min_leaf_rows": "auto", "target_encoding": "best", "trees": "auto"}, "weight": 1.0, "temperature": 1.0}]."""


class Classifier(TypedDict, total=False):
    """Predict which class a row belongs to."""

    kind: Required[Literal["classifier"]]
    target: Required[str]
    """The target to learn, by its name in the dataset."""
    name: str | None
    """The key of its answers; null takes the target's name."""
    hidden: Sequence[int]
    """Widths of layers before the last; none makes a linear classifier."""
    dropout: float
    """Share of hidden activations dropped while training. Default: 0.0."""
    label_smoothing: float
    """Share of certainty spread over all classes. Default: 0.0."""
    positive: str | None
    """Of two classes the one that counts, by its name: average precision and curves are of it; null: the rarer one in the train rows."""
    class_weights: Literal["none", "balanced"]
    """Whether rare classes weigh more. Default: "none"."""
    estimator: BoostedTrees | Blend | RandomForest | NearestNeighbours | Ridge | None
    """What is learned on the features of a frozen backbone instead of layers; null: layers."""


class MultiLabel(TypedDict, total=False):
    """Predict which of several labels a row has: none, some or all."""

    kind: Required[Literal["multi_label"]]
    target: Required[str | Sequence[str]]
    """The column of lists whose labels are learned; or, by name, targets of two classes, no and yes (0 and 1, false and true ...), each a label."""
    name: str | None
    """The key of its answers; null takes multi_label, or the only target's."""
    hidden: Sequence[int]
    """Widths of layers before the last; none makes linear classifiers."""
    dropout: float
    """Share of hidden activations dropped while training. Default: 0.0."""
    positive_weights: Literal["none", "balanced"]
    """Whether a label that is there weighs more the rarer it is; the probabilities grow with it. Default: "none"."""
    threshold: Literal["half", "fitted"]
    """From which probability on a label is answered: a half, or what gives its best F1 on the validation rows, a half where no row there has it. Default: "half"."""


class Regressor(TypedDict, total=False):
    """Predict a number, or several, each with an interval that is likely to hold it."""

    kind: Required[Literal["regressor"]]
    target: Required[str | Sequence[str]]
    """The target to learn, by its name in the dataset, or a list of them."""
    name: str | None
    """The key of its answers; null takes the target's name, or regressor."""
    hidden: Sequence[int]
    """Widths of layers before the last; none makes a linear regressor."""
    dropout: float
    """Share of hidden activations dropped while training. Default: 0.0."""
    loss: Literal["mse", "huber", "gaussian"]
    """Squared error; huber, which outliers move less; or gaussian, which learns for every row how far off it will be. Default: "mse"."""
    level: float
    """Share of numbers that the intervals are to hold; their width is measured on the validation rows, or where these are too few on train rows, each left out once. Default: 0.9."""
    transform: Literal["auto", "best", "none", "log", "sqrt", "yeo_johnson"]
    """What of the target is learned: its logarithm, square root, or Yeo and Johnson's power of it; answers and intervals are in its own units. best (auto) compares them where train labels are skewed, by the squared error in these units on rows left out, and takes none unless one is better by a standard error. Default: "auto"."""
    estimator: BoostedTrees | Blend | RandomForest | NearestNeighbours | Ridge | None
    """What is learned on the features of a frozen backbone instead of layers; null: layers."""


class Generator(TypedDict, total=False):
    """Continue texts, token by token."""

    kind: Required[Literal["generator"]]
    target: None
    """None: it learns from the texts themselves."""
    name: str | None
    """The key of its answers; null takes generator."""


class LinearProbe(TypedDict, total=False):
    """Train the heads on the frozen backbone's features."""

    kind: Required[Literal["linear_probe"]]
    layer: Literal["auto", "best", "last", "all"] | int
    """Whose features the heads get: the last layer's, all layers', those of one by its index, or of the best in cross-validation; auto: the best where heads are solved for, else the last. Default: "auto"."""
    solver: Literal["auto", "gradient", "exact"]
    """How heads learn: exact solves for linear ones, gradient trains; auto: exact where it can be. Default: "auto"."""
    budget_seconds: float
    """Computing time that the choice of the best layer may take. Default: 30.0."""


class Full(TypedDict, total=False):
    """Train everything."""

    kind: Required[Literal["full"]]
    backbone_lr_scale: float | Literal["auto"]
    """The backbone's learning rate, as a multiple of the heads'. Default: "auto"."""


class LpFt(TypedDict, total=False):
    """Solve for the heads, then train everything."""

    kind: Required[Literal["lp_ft"]]
    lr_scale: float
    """Rate of all parameters in the second part, as a multiple of the learning rate. Default: 0.03."""
    frozen: int
    """Stages of the backbone, from the input, that stay as they are. Default: 0."""
    again: bool
    """Whether the heads are solved for once more when everything is trained. Default: false."""


class GradualUnfreezing(TypedDict, total=False):
    """Train the heads, then one stage of the backbone after another."""

    kind: Required[Literal["gradual_unfreezing"]]
    share: float
    """Share of the training by which the last stage has joined; the stages join at equal distances. Default: 0.5."""
    backbone_lr_scale: float
    """The backbone's learning rate, as a multiple of the heads'. Default: 0.1."""


class LayerwiseDecay(TypedDict, total=False):
    """Train everything, lower stages more slowly."""

    kind: Required[Literal["layerwise_decay"]]
    decay: float
    """Each stage's rate, as a multiple of the rate of the stage above it. Default: 0.75."""
    backbone_lr_scale: float
    """The top stage's learning rate, as a multiple of the heads'. Default: 0.1."""


class Lora(TypedDict, total=False):
    """Train the heads and low-rank corrections of the backbone's matrices."""

    kind: Required[Literal["lora"]]
    rank: int
    """Rank of each correction; more than a matrix has is cut. Default: 8."""
    alpha: float
    """Size of the corrections, which are multiplied with alpha / rank. Default: 16.0."""
    lr_scale: float
    """The corrections' learning rate, as a multiple of the heads'. Default: 0.1."""


class BiasOnly(TypedDict, total=False):
    """Train the heads and the backbone's biases; its matrices and kernels stay."""

    kind: Required[Literal["bias_only"]]
    backbone_lr_scale: float
    """The biases' learning rate, as a multiple of the heads'. Default: 0.1."""


class Automatic(TypedDict, total=False):
    """Try several ways, from the cheapest on, and take the one with the best cross-validated score."""

    kind: Required[Literal["automatic"]]
    candidates: (
        Sequence[
            Literal[
                "nearest_neighbours",
                "raw",
                "tfidf",
                "boosted_trees",
                "random_forest",
                "random_kernels",
                "rocket",
                "random_patches",
                "blend",
                "untrained",
                "linear_probe",
                "tabular_resnet",
                "scratch",
                "lp_ft",
                "full",
            ]
        ]
        | Literal["auto"]
    )
    """What is tried, the preferred one first; auto: what suits the data, and all ways of adapting the pretrained model where there is one. Default: "auto"."""
    budget_seconds: float
    """Seconds of the processor that the choice may take in the job. Default: 40.0."""
    refit: Literal["auto", "yes", "no"]
    """Whether heads that are solved for, and were selected among several, learn anew from the labelled rows of all splits once they are measured on the test rows. auto: yes where nobody said how to split the dataset, and at most 2,000 rows are labelled. Default: "auto"."""


class Fixed(TypedDict, total=False):
    """Add the heads' losses up, each with a weight that stays."""

    kind: Required[Literal["fixed"]]
    weights: Mapping[str, float]
    """What a head's loss counts, by the head's name; others count 1."""


class Uncertainty(TypedDict, total=False):
    """Learn how noisy every head's labels are, and give noisy ones less weight."""

    kind: Required[Literal["uncertainty"]]
    lr_scale: float
    """Rate of the log variances, as a multiple of the learning rate. Default: 10.0."""


class GradNorm(TypedDict, total=False):
    """Let every head's gradient be about as long, longer for those that learn slowly."""

    kind: Required[Literal["gradnorm"]]
    alpha: float
    """How much more a head pulls that lags behind; 0 makes all pull alike. Default: 1.0."""
    rate: float
    """How far the weights' logarithms move in a step. Default: 0.025."""


class PcGrad(TypedDict, total=False):
    """Project conflicting gradients onto each other's normal planes."""

    kind: Required[Literal["pcgrad"]]


class PseudoLabels(TypedDict, total=False):
    """Labels that spread over a graph of nearest neighbours join a linear probe, by how certain they are."""

    dataset: str | None
    """Id or name of the dataset whose train rows are used, labels or not; null: the rows of this one that carry no label."""
    use: Literal["auto", "if_better", "always"]
    """auto: unless a probe with them answers labels left out worse than one without, by over a standard error; if_better: where it answers them better by over a standard error. Default: "auto"."""
    answers: Literal["soft", "hard"]
    """What a row is given: its most probable class, or its share of each class; either way it counts by its certainty. Default: "hard"."""
    shares: Literal["auto", "near", "labels", "free"]
    """How many rows each class gets: labels: the share that it has of the labels; near: that share to within its standard error; free: as the graph says; auto: near, unless another one answers more labels left out by over a standard error. Default: "auto"."""
    neighbours: int
    """Edges that start at every row. Default: 10."""
    alpha: float
    """How far labels spread: the weight of a row's neighbours. Default: 0.99."""
    rows: int
    """Rows that the probe learns from at most; the graph takes 100,000. Default: 2000."""


class TransferReport(TypedDict, total=False):
    """Train the controls as well, and tell what pretraining is worth on these labels."""

    budget_seconds: float
    """CPU seconds of the job that the comparison may take, on a GPU wall seconds; what does not fit in is null, with the reason and the budget that it needs. Default: 60.0."""
    rounds: int
    """How often everything is trained at most, each time with another seed and other folds; fewer where more could not change the verdict. Default: 10."""
    measured_on: Literal["auto", "folds", "test", "validation"]
    """What is compared: answers to the labelled train rows by cross-validation (folds), or to those of a split; auto: the test or validation split where it has many labelled rows, else folds. Default: "auto"."""
    folds: int
    """Parts of the train rows, each held out once a round; down to 3 where the budget needs it. Default: 5."""
    scratch: TrainingConfig | Literal["auto"]
    """How the same network is trained from scratch; auto: as the model is, but what was left to auto there becomes what suits new weights. Default: "auto"."""


class FineTuningRequest(TypedDict, total=False):
    """Train heads for labels, on a pretrained backbone or from scratch."""

    heads: Required[Sequence[Classifier | MultiLabel | Regressor | Generator] | Literal["inherit"]]
    """What to predict; inherit: what the model predicts, and more classes."""
    inherited_heads: Sequence[str] | Literal["auto"]
    """Keys of the heads that go on from the weights of the model's head for the same target; auto: where the dataset has all of its classes, and the strategy does not solve for heads; an empty list: none. Default: "auto"."""
    strategy: (
        LinearProbe | Full | LpFt | GradualUnfreezing | LayerwiseDecay | Lora | BiasOnly | Automatic | Literal["auto"]
    )
    """How it learns; auto: automatic, which compares several ways by cross-validation on the labels, and full where the request says how a network is trained. Default: "auto"."""
    preprocessing: ImagePreprocessing | TablePreprocessing | SeriesPreprocessing | TextPreprocessing | Literal["auto"]
    """How rows become numbers, when no pretrained model is given. Default: "auto"."""
    backbone: (
        Mlp
        | KMeansPatches
        | Vit
        | ConvNet
        | ResNet
        | EfficientNetLite0
        | Gru
        | Lstm
        | Tcn
        | RandomKernels
        | Rocket
        | TabularResNet
        | Raw
        | Transformer
        | Bert
        | Tfidf
        | Literal["auto"]
    )
    """The network, when no pretrained model is given. Default: "auto"."""
    loading: Literal["strict", "partial"]
    """How the pretrained model's weights are loaded: strict takes its backbone and preprocessing as they are; partial lets another backbone take over what fits, and tells what did. Default: "strict"."""
    balancing: Fixed | Uncertainty | GradNorm | PcGrad
    """How several heads share the backbone: whose loss counts how much."""
    augmentations: Sequence[
        Noise
        | Crop
        | Shift
        | Flip
        | Rotate
        | Colour
        | Blur
        | Erase
        | Mixup
        | CutMix
        | Swap
        | Mask
        | Drop
        | Scale
        | Warp
        | Window
        | Gap
    ]
    """Random changes of every training batch, in order."""
    unlabelled: PseudoLabels | None | Literal["auto"]
    """Rows without labels that join a linear probe by pseudo-labels; null: none; auto: those of this dataset, where cross-validation on the labels says that they pay. Default: "auto"."""
    training: TrainingConfig
    """How it is trained."""
    transfer_report: TransferReport | None
    """Also find out what the pretrained weights are worth, compared with controls; null does not."""
    name: str | None
    """Name of the model that comes out; null: after the dataset."""
    dataset: Required[str]
    """Id of a ready dataset, or a name: the newest ready one of that name."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""
    kind: Required[Literal["fine_tuning"]]
    model: str | None
    """The pretrained model: an id, name, name@version or name@alias; null: none."""


class HeadsRequest(TypedDict, total=False):
    """Fit heads on a model's backbone: on a dataset, or on rows of the request."""

    model: Required[str]
    """The pretrained model: an id, name, name@version or name@alias."""
    dataset: str | None
    """Id of a ready dataset, or a name: the newest ready one of that name."""
    rows: Sequence[Any] | None
    """Instead of a dataset: rows as predictions take them. They are not kept."""
    labels: Sequence[Any] | None
    """A label of each row: a class, a number, or a list of labels; null: none. Without this, rows are objects that hold their labels under the names of the targets."""
    target: str | Sequence[str] | None
    """The target to learn, or several, each by a head of its own; null: the dataset's only one, or for `labels` the name label."""
    heads: Sequence[Classifier | MultiLabel | Regressor | Generator] | None
    """Instead of target: the heads with their fields. They must be linear."""
    layer: Literal["last", "all"] | int
    """Whose features the heads get: the last layer's, all layers', or one's by its index. Default: "last"."""
    name: str | None
    """Name of the model that comes out; null: after the model and its targets."""
    climb: bool
    """Whether a job goes on: a fine_tuning with the strategy automatic on the same dataset and targets, which moves the alias to its model where that answers rows left out better, by a 95 % interval above 0. Default: false."""
    alias: str | None
    """The alias of the new model that climbing may move: it means this head at once. null: best, which must be free."""
    unknown: Literal["warn", "refuse"]
    """Whether rows that hold what training did not see are warned of, or refused. Default: "warn"."""
    timeout: float | None
    """Seconds that the answer may take; by default GRAFTWORK_PREDICTION_SECONDS."""


class Uniform(TypedDict, total=False):
    """A real number, every one as likely."""

    low: Required[float]
    """Smallest value."""
    high: Required[float]
    """Largest value."""
    kind: Required[Literal["uniform"]]


class LogUniform(TypedDict, total=False):
    """A positive number whose logarithm is uniform: as often between 0.001 and 0.01 as between 0.01 and 0.1."""

    low: Required[float]
    """Smallest value, above 0."""
    high: Required[float]
    """Largest value."""
    kind: Required[Literal["log_uniform"]]


class IntegerRange(TypedDict, total=False):
    """A whole number."""

    low: Required[int]
    """Smallest value."""
    high: Required[int]
    """Largest value, itself included."""
    kind: Required[Literal["integer"]]
    log: bool
    """Draw the logarithm uniformly; needs low of at least 1. Default: false."""


class Choice(TypedDict, total=False):
    """One of a list: words, numbers, or whole objects such as a backbone."""

    kind: Required[Literal["choice"]]
    values: Required[Sequence[Any]]
    """What can be chosen."""


class RandomSearch(TypedDict, total=False):
    """Independent draws (Bergstra and Bengio, 2012)."""

    kind: Required[Literal["random"]]


class Tpe(TypedDict, total=False):
    """Tree-structured Parzen estimator (Bergstra et al., 2011): draws where good trials were denser than bad ones."""

    kind: Required[Literal["tpe"]]
    startup_trials: int
    """Random trials before the first estimate. Default: 10."""


class SuccessiveHalving(TypedDict, total=False):
    """Asynchronous successive halving (Li et al., 2018): at each rung only the best go on, the others are pruned. Rung r is at epoch `min_epochs * reduction_factor ** r`, at the first measurement from there on."""

    kind: Required[Literal["successive_halving"]]
    sampler: Literal["random", "tpe"]
    """Where the values come from. Default: "random"."""
    min_epochs: int
    """Epochs that every trial gets. Default: 1."""
    reduction_factor: int
    """One of so many trials goes on from each rung. Default: 3."""


class SweepRequest(TypedDict, total=False):
    """Try many values for some fields of a pretraining or a fine-tuning, and keep the best model."""

    kind: Required[Literal["sweep"]]
    name: str | None
    """Name of the best model; null: the base's."""
    base: Required[PretrainingRequest | FineTuningRequest]
    """The job whose fields are searched."""
    space: Required[Mapping[str, Uniform | LogUniform | IntegerRange | Choice]]
    """By field, such as "training.optimizer.lr": where values come from."""
    algorithm: RandomSearch | Tpe | SuccessiveHalving
    """How values are chosen."""
    trials: int
    """How many jobs are tried in all. Default: 20."""
    parallel: int
    """Trials that are under way at once. Default: 1."""
    metric: Literal["auto"] | str
    """What trials are compared by, on the validation split, such as val/accuracy. Default: "auto"."""
    direction: Literal["auto", "minimize", "maximize"]
    """What is good in it; auto: known metrics. Default: "auto"."""
    seed: int
    """Starts the choice of values. Default: 0."""
    priority: int
    """Of it and of its trials. Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class EvaluationRequest(TypedDict, total=False):
    """Measure a fine-tuned model on a dataset, or compare it with another one on the same rows."""

    kind: Required[Literal["evaluation"]]
    model: Required[str]
    """The model: an id, name, name@version or name@alias."""
    dataset: Required[str]
    """Id or name of a ready dataset that the model fits."""
    split: Literal["train", "validation", "test", "all"]
    """Which of its rows. Default: "test"."""
    baseline: str | None
    """A model to compare it with, metric by metric: better, no evidence or worse."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class RecommendationJobRequest(TypedDict, total=False):
    """Rank backbones by how well a target follows from their features, as `POST /v1/recommendations` does."""

    dataset: Required[str]
    """Id or name of a ready dataset with labels."""
    target: Required[str]
    """The target, by its name in the dataset: classes or numbers."""
    models: Sequence[str] | None
    """What is ranked; null: every model of the project."""
    rows: int
    """Labelled train rows that are looked at, of each class alike. Default: 1000."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""
    kind: Required[Literal["recommendation"]]


class BatchPredictionRequest(TypedDict, total=False):
    """Answer all rows of a dataset; a file is sent by `POST /v1/batch_predictions`."""

    model: Required[str]
    """The model: an id, name, name@version or name@alias, as it is meant now."""
    outputs: Sequence[Literal["predictions", "embeddings"]]
    """What is answered for each row. Default: ["predictions"]."""
    keep: Sequence[str] | Literal["auto"]
    """Columns of the file that are copied to the results, such as ids; auto: all that are no inputs of the model. Default: "auto"."""
    on_error: Literal["report", "refuse"]
    """What becomes of a row that cannot be read. report: its `error` says why, and the others are answered; refuse: the job fails at the first one. Default: "report"."""
    unknown: Literal["warn", "refuse"]
    """What becomes of a row that holds what training did not see. warn: it is answered, and its `warnings` say so; refuse: it counts as a row that cannot be read. Default: "warn"."""
    checkpoint_rows: int | None
    """Rows between checkpoints; null: by time alone, every ten seconds."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""
    kind: Required[Literal["batch_prediction"]]
    dataset: Required[str]
    """Id or name of a ready dataset that the model fits."""


class ExportRequest(TypedDict, total=False):
    """Write a model as ONNX, or as safetensors with a loader; it is checked on the model's golden rows."""

    kind: Required[Literal["export"]]
    model: Required[str]
    """The model: an id, name, name@version or name@alias."""
    format: Required[Literal["onnx", "safetensors"]]
    """onnx: one file, model.onnx; safetensors: model.zip, with a loader that needs torch and safetensors alone, and which POST /v1/models imports."""
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class EstimateRequest(TypedDict, total=False):
    """Measure what a training would cost, as `POST /v1/jobs/estimate` does."""

    kind: Required[Literal["estimate"]]
    base: Required[PretrainingRequest | FineTuningRequest]
    """The training that is measured. Its resources, priority and metadata are those of the estimate."""


class ExtendRequest(TypedDict, total=False):
    """How much longer a job is to train: give one of the two, the one that its training is counted in."""

    epochs: int | None
    """Further passes."""
    steps: int | None
    """Further optimizer steps."""


class KeyRequest(TypedDict, total=False):
    """A new key."""

    project: str | None
    """Id or name of its project, which is made where there is none; null: that of the request."""
    name: Required[str]
    """Whose it is, or what it is for."""
    scopes: Sequence[Literal["read", "write", "predict", "admin"]]
    expires_in: float | None
    """Seconds until it expires; null: it does not."""


class RotationRequest(TypedDict, total=False):
    """How a key is replaced."""

    overlap: float
    """Seconds for which the old key stays valid, so that everybody can change to the new one. Default: 3600."""
    expires_in: float | None
    """Seconds until the new key expires; null: it does not."""


class SourceRequest(TypedDict, total=False):
    """The JSON body of an import of published weights."""

    source: Required[Literal["minilm", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]]
    """Published weights, by their name in the catalogue; they must be on the service's machine."""
    name: str | None
    """Name of the model; null: that of the source."""


class PredictionInputs(TypedDict, total=False):
    """Rows to predict, encoded by modality, and what of the answers is of interest."""

    inputs: Required[Sequence[Any] | Mapping[str, Any] | str]
    unknown: Literal["warn", "refuse"] | None
    """As the query parameter: whether what training did not see is warned of, or refused."""
    digits: int | None
    """As the query parameter: significant digits of every number."""
    timeout: float | None
    """As the query parameter: seconds that the answer may take."""
    heads: Sequence[str] | str | None
    """As the query parameter: the heads that answer; null: all."""
    top_k: int | None
    """As the query parameter: only the most probable classes or labels."""


class Prompts(TypedDict, total=False):
    """Texts to continue. With neither temperature nor beams, decoding is greedy: each token is the most probable."""

    inputs: Required[Sequence[Any] | Mapping[str, Any] | str]
    max_tokens: int
    """Maximum number of generated tokens. Default: 64."""
    temperature: float
    """Sampling temperature; 0: no sampling. Default: 0."""
    top_k: int | None
    """Sample from this many of the most probable tokens; null: from all."""
    top_p: float | None
    """Nucleus sampling: sample from the fewest tokens with this total probability; null: from all."""
    beams: int
    """Width of the beam search; 1: no beam search. Default: 1."""
    n: int
    """Number of continuations per text. Default: 1."""
    seed: int
    """Seed of sampling; equal seeds give equal tokens. Default: 0."""
    stop: Sequence[str]
    """Strings before which a continuation ends."""
    unknown: Literal["warn", "refuse"] | None
    """As the query parameter: whether what training did not see is warned of, or refused."""
    digits: int | None
    """As the query parameter: significant digits of every number."""
    timeout: float | None
    """As the query parameter: seconds that the answer may take."""


class Inputs(TypedDict, total=False):
    """Rows, encoded by modality: lists, objects by column, texts, or images in base64."""

    inputs: Required[Sequence[Any] | Mapping[str, Any] | str]
    unknown: Literal["warn", "refuse"] | None
    """As the query parameter: whether what training did not see is warned of, or refused."""
    digits: int | None
    """As the query parameter: significant digits of every number."""
    timeout: float | None
    """As the query parameter: seconds that the answer may take."""


class JointInputs(TypedDict, total=False):
    """Rows to predict by several models."""

    inputs: Required[Sequence[Any] | Mapping[str, Any] | str]
    unknown: Literal["warn", "refuse"] | None
    """As the query parameter: whether what training did not see is warned of, or refused."""
    digits: int | None
    """As the query parameter: significant digits of every number."""
    timeout: float | None
    """As the query parameter: seconds that the answer may take."""
    heads: Sequence[str] | str | None
    """As the query parameter: the heads that answer; null: all."""
    top_k: int | None
    """As the query parameter: only the most probable classes or labels."""
    models: Required[Sequence[str] | str]
    """References of the models that answer: ids, names, `name@version` or `name@alias`."""


class RecommendationRequest(TypedDict, total=False):
    """Rank backbones by how well a target follows from their features."""

    dataset: Required[str]
    """Id or name of a ready dataset with labels."""
    target: Required[str]
    """The target, by its name in the dataset: classes or numbers."""
    models: Sequence[str] | None
    """What is ranked; null: every model of the project."""
    rows: int
    """Labelled train rows that are looked at, of each class alike. Default: 1000."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class MlflowRequest(TypedDict, total=False):
    """Which MLflow tracking server a job is written to."""

    url: str | None
    """Of the server, without /api; null: the one that GRAFTWORK_MLFLOW_URL names. It must be public and https, unless GRAFTWORK_WEBHOOK_NETWORKS and GRAFTWORK_WEBHOOK_HTTP allow more."""
    experiment: str | None
    """Name of the experiment, made where there is none; null: GRAFTWORK_MLFLOW_EXPERIMENT."""
    token: str | None
    """Sent to this URL as a bearer token; it is not kept."""
    username: str | None
    """Sent to this URL with the password; it is not kept."""
    password: str | None
    """Sent to this URL with the user name; it is not kept."""


class UploadRequest(TypedDict, total=False):
    """A file that is to arrive in parts."""

    filename: Required[str]
    """Name of the file, which is shown."""
    bytes: int | None
    """Size of the whole file; null: its parts say."""
    sha256: str | None
    """SHA-256 of the whole file in hexadecimal, by which an upload is looked for to go on with it."""


class CompleteRequest(TypedDict, total=False):
    """The end of an upload."""

    sha256: str | None
    """SHA-256 of the whole file; null: as the upload said, if it did."""


class WebhookRequest(TypedDict, total=False):
    """A new webhook."""

    url: Required[str]
    """Where messages are sent by POST; https, without user name, password and #."""
    events: Required[Sequence[str]]
    """Types of events (job.succeeded), or patterns of them: job.* or *."""
    name: str | None
    """What it is for."""


class WebhookChange(TypedDict, total=False):
    """What is to change of a webhook; fields that are left out stay as they are."""

    url: str | None
    """Where messages are sent by POST; https, without user name, password and #."""
    events: Sequence[str] | None
    """Types of events (job.succeeded), or patterns of them: job.* or *."""
    name: str | None
    """What it is for; null: it has no name."""
    enabled: bool | None
    """false: nothing is sent to it, and no message is kept for it; true: from now on again."""


class SecretRequest(TypedDict, total=False):
    """How the secret of a webhook is replaced."""

    overlap: float
    """Seconds for which earlier secrets sign, too; 0: they never sign again. Default: 86400."""


class DatasetOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    modality: Literal["image", "table", "text", "series"] | None
    """Kind of data; a file of another kind is refused. Null: by its content."""
    columns: Mapping[str, Literal["input", "target", "group", "ignored", "split", "time"]]
    """Role of a column by its name; others are inferred."""
    types: Mapping[str, Literal["number", "category", "date", "text", "labels"]]
    """Type of a column by its name; others are inferred."""
    splits: Mapping[str, float] | Literal["auto"]
    """Share of each split; the shares add up to 1 and train has some. auto: 0.8, 0.1 and 0.1, and where heads are solved for and labels few, they learn from all of them once the test rows have measured them. Default: "auto"."""
    seed: int
    """Another seed gives another split. Default: 0."""
    missing: Literal["auto", "impute", "reject"]
    """What NaN, NA, null, ? or unknown in a column of numbers or dates are: missing values (auto, impute) or errors (reject). Infinite numbers (inf, 1e999) are missing values with impute, else errors. Default: "auto"."""
    missing_values: Sequence[str]
    """Values that mean a missing one in inputs of tables and series, such as -999 or ?; [] for none."""
    decimal: Literal["auto", "point", "comma"] | Mapping[str, Literal["auto", "point", "comma"]]
    """Decimal separator of the numbers in a CSV file, or of columns by name; the other sign groups thousands. Auto: decided for each column by its values, then by those of other columns. Default: "auto"."""
    header: Literal["auto", "first", "none"]
    """Where a CSV file has the names of its columns: in its first line, or nowhere (they are called x0, x1 ...). Auto: none where the first line is like the rows below it; lines before the table are skipped. Default: "auto"."""
    multiline: Literal["auto", "yes", "no"]
    """Whether a quoted field of a CSV file may hold line ends; no: each line is a row, and a quote without a partner in its line is part of the text. Auto: no where quotes would swallow whole rows. Default: "auto"."""
    encoding: Literal[
        "auto",
        "utf-8",
        "utf-16",
        "cp1252",
        "latin-1",
        "cp1250",
        "cp1251",
        "cp1253",
        "cp1254",
        "cp437",
        "cp850",
        "cp866",
        "koi8-r",
        "mac-roman",
        "shift_jis",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "big5",
    ]
    """Encoding of a text file; auto: UTF-8, or UTF-16 by its byte order mark. Default: "auto"."""
    duplicates: Literal["auto", "remove", "keep"]
    """What happens to rows whose inputs are equal, byte for byte; auto: in tables and series they are observations and kept, as are texts of which most repeat others; else they are removed. Default: "auto"."""
    folders: Sequence[Literal["split", "label", "ignored"]] | None
    """What the folders of a zip are, the outermost first: splits, labels, or nothing to learn; null: inferred, and listed in decisions."""
    name_encoding: Literal[
        "auto",
        "utf-8",
        "cp437",
        "cp850",
        "cp852",
        "cp866",
        "cp932",
        "cp936",
        "cp949",
        "cp950",
        "cp1250",
        "cp1251",
        "cp1252",
    ]
    """Encoding of the names in a zip that do not say theirs; auto: UTF-8 where they are valid UTF-8, else a guess, with a warning. Default: "auto"."""
    image: ImageOptions | None
    """Size and colours of images; null: chosen by the images."""
    text: TextOptions | None
    """How plain text is cut into rows; null: into windows."""
    series: SeriesOptions | None
    """Columns of a table in long form that make series of its rows; null: it is not in long form."""
    unlabelled: Literal["auto", "remove", "keep"]
    """What happens to rows without any label; those that are kept go to train. auto: they are kept where their folder is called unlabelled or the like, or where most rows lack a label, else removed. Default: "auto"."""
    unlabelled_value: str | Sequence[str] | None
    """Value, or list of values, of targets that mean no label, such as -1; null: no value does."""
    label_separator: str
    """Separator of the labels in a text column of type labels; a cell with it alone has no labels. Default: ";"."""
    cleaning: (
        Literal["auto"]
        | Sequence[ConstantColumns | Corrupt | Duplicates | Labels | LeakingColumns | NearDuplicates | Outliers | Text]
    )
    """Cleaning steps, in order; auto: the steps that are safe for the modality. Default: "auto"."""
    same_splits_as: str | None
    """A prepared dataset, by id or name: rows that it contains keep their splits; null: none, or for a version the dataset that it is made from."""


class DatasetFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    status: Literal["preparing", "ready", "failed"] | None
    name: str | None
    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class WeightsOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    image_size: int | None
    """For image models: side of the square input images, in pixels; null: 224, of lite1 240, of lite2 260; of vit that of its positions, and another multiple of its patch interpolates them."""
    vocab: str | None
    """For bert: the text of vocab.txt; not needed if the package holds one."""
    config: Mapping[str, Any] | None
    """For bert and vit: config.json; not needed if the package holds one."""
    preprocessor: Mapping[str, Any] | None
    """For vit: preprocessor_config.json, whose image_mean and image_std say how pixels were scaled; not needed if the package holds one."""
    max_tokens: int | None
    """For bert: maximum number of tokens of a text; null: 256, or all positions if there are fewer."""
    uncased: bool
    """For bert: whether the vocabulary lacks capitals and accents. Default: true."""


class ModelFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    name: str | None
    kind: Literal["backbone", "fine_tuned"] | None
    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class JobFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""
    kind: (
        Literal[
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
        | None
    )
    status: (
        Literal[
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
        | None
    )
    name: str | None
    """Only jobs of this name."""
    sweep: str | None
    """Only the trials of this sweep."""
    model: str | None
    """Only what starts from this model, or measures it."""
    dataset: str | None
    """Only jobs on this dataset, or on any dataset of this name."""
    metadata: Sequence[str] | None
    """Only jobs with this entry, as key:value; give several for all."""
    created_after: str | datetime | None
    """Only jobs created at or after this time (ISO 8601; UTC without a zone)."""
    created_before: str | datetime | None
    """Only jobs created before this time."""


class AllJobsFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    kind: (
        Literal[
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
        | None
    )
    status: (
        Literal[
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
        | None
    )
    project: str | None
    """Id or name of a project."""
    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class ProjectFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class UploadFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    status: Literal["open", "complete"] | None
    sha256: str | None
    """Only those of a file of this SHA-256."""
    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class WebhookFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class DeliveryFilters(TypedDict, total=False):
    """Keyword arguments of a method."""

    status: Literal["pending", "delivered", "dead"] | None
    """Only those of this status."""
    limit: int
    """Entries in one page. Default: 20."""
    after: str | None
    """The last id of the page before."""
    order: Literal["asc", "desc"]
    """By time of creation. Default: "desc"."""


class SweepOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    name: str | None
    """Name of the best model; null: the base's."""
    base: Required[PretrainingRequest | FineTuningRequest]
    """The job whose fields are searched."""
    space: Required[Mapping[str, Uniform | LogUniform | IntegerRange | Choice]]
    """By field, such as "training.optimizer.lr": where values come from."""
    algorithm: RandomSearch | Tpe | SuccessiveHalving
    """How values are chosen."""
    trials: int
    """How many jobs are tried in all. Default: 20."""
    parallel: int
    """Trials that are under way at once. Default: 1."""
    metric: Literal["auto"] | str
    """What trials are compared by, on the validation split, such as val/accuracy. Default: "auto"."""
    direction: Literal["auto", "minimize", "maximize"]
    """What is good in it; auto: known metrics. Default: "auto"."""
    seed: int
    """Starts the choice of values. Default: 0."""
    priority: int
    """Of it and of its trials. Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class EvaluationOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    split: Literal["train", "validation", "test", "all"]
    """Which of its rows. Default: "test"."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class RecommendationOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    rows: int
    """Labelled train rows that are looked at, of each class alike. Default: 1000."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""


class BatchPredictionOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    outputs: Sequence[Literal["predictions", "embeddings"]]
    """What is answered for each row. Default: ["predictions"]."""
    keep: Sequence[str] | Literal["auto"]
    """Columns of the file that are copied to the results, such as ids; auto: all that are no inputs of the model. Default: "auto"."""
    on_error: Literal["report", "refuse"]
    """What becomes of a row that cannot be read. report: its `error` says why, and the others are answered; refuse: the job fails at the first one. Default: "report"."""
    unknown: Literal["warn", "refuse"]
    """What becomes of a row that holds what training did not see. warn: it is answered, and its `warnings` say so; refuse: it counts as a row that cannot be read. Default: "warn"."""
    checkpoint_rows: int | None
    """Rows between checkpoints; null: by time alone, every ten seconds."""
    resources: Resources
    priority: int
    """Of a project's jobs higher ones start first, of equal ones the oldest; projects take turns. Default: 0."""
    metadata: Mapping[str, str]
    """Up to 16 strings of your own."""
    encoding: (
        Literal[
            "auto",
            "utf-8",
            "utf-16",
            "cp1252",
            "latin-1",
            "cp1250",
            "cp1251",
            "cp1253",
            "cp1254",
            "cp437",
            "cp850",
            "cp866",
            "koi8-r",
            "mac-roman",
            "shift_jis",
            "euc-jp",
            "euc-kr",
            "gb18030",
            "big5",
        ]
        | None
    )
    """Encoding of a text file; null: that of the model's training file."""
    series: SeriesOptions | None
    """For a model of series: the columns of a file with a line for each step that say its series and its time, as for datasets; null: those of the model's training file."""


class HeadsOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    heads: Sequence[Classifier | MultiLabel | Regressor | Generator] | None
    """Instead of target: the heads with their fields. They must be linear."""
    layer: Literal["last", "all"] | int
    """Whose features the heads get: the last layer's, all layers', or one's by its index. Default: "last"."""
    name: str | None
    """Name of the model that comes out; null: after the model and its targets."""
    climb: bool
    """Whether a job goes on: a fine_tuning with the strategy automatic on the same dataset and targets, which moves the alias to its model where that answers rows left out better, by a 95 % interval above 0. Default: false."""
    alias: str | None
    """The alias of the new model that climbing may move: it means this head at once. null: best, which must be free."""
    unknown: Literal["warn", "refuse"]
    """Whether rows that hold what training did not see are warned of, or refused. Default: "warn"."""
    timeout: float | None
    """Seconds that the answer may take; by default GRAFTWORK_PREDICTION_SECONDS."""


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of a method."""

    max_tokens: int
    """Maximum number of generated tokens. Default: 64."""
    temperature: float
    """Sampling temperature; 0: no sampling. Default: 0."""
    top_k: int | None
    """Sample from this many of the most probable tokens; null: from all."""
    top_p: float | None
    """Nucleus sampling: sample from the fewest tokens with this total probability; null: from all."""
    beams: int
    """Width of the beam search; 1: no beam search. Default: 1."""
    n: int
    """Number of continuations per text. Default: 1."""
    seed: int
    """Seed of sampling; equal seeds give equal tokens. Default: 0."""
    stop: Sequence[str]
    """Strings before which a continuation ends."""
    unknown: Literal["warn", "refuse"] | None
    """As the query parameter: whether what training did not see is warned of, or refused."""
    digits: int | None
    """As the query parameter: significant digits of every number."""
    timeout: float | None
    """As the query parameter: seconds that the answer may take."""
