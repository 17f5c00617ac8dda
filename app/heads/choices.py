"""Which heads a request means, resolved against the rows; and what is too large to be fitted while somebody waits."""

from collections.abc import Iterator

from app.errors import ErrorItem, UnprocessableError
from app.heads.schemas import HeadsRequest
from app.jobs.interface import does_not_fit
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.errors import ConfigError, Location
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.multi_label import MultiLabel
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.assembly import targets_of
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.targets import no_such_target
from app.ml.spec import DataSpec, Decision

MAX_ROWS = 20_000
MAX_WORK = 400_000_000  # rows x features x outputs: some seconds of a core
MAX_SECONDS = 10.0  # of a core, to fit an estimator once; cross-fitting does it up to six times
_A_JOB = 'a job has no such limit: POST /v1/jobs {"kind": "fine_tuning", "strategy": {"kind": "linear_probe"}, ...}'
_REPORTED = ("heads", "target", "name")


def resolve_request(request: HeadsRequest, spec: DataSpec, parent: Bundle) -> tuple[ResolvedFineTuning, list[Decision]]:
    """Return the fine-tuning by a linear probe that the request means, and the decisions on its heads.

    Raises:
        UnprocessableError: the dataset has no such target, does not fit the model, or a head cannot be solved for.
    """
    try:
        heads, decisions = _heads(request, spec)
        _check_solvable(heads)
        config = FineTuningConfig(
            heads=heads, inherited_heads=(), strategy=LinearProbe(layer=request.layer, solver="exact")
        )
        resolved = resolve_fine_tuning(config, spec, parent.manifest)
        width = resolved.config.strategy.width(parent.backbone)
    except ConfigError as error:
        raise does_not_fit(_in_request(error, request)) from None
    _check_size(resolved.config, spec, width)
    of_heads = (decision for decision in resolved.decisions if decision.field.startswith(_REPORTED))
    return resolved.config, [*decisions, *of_heads]


def _heads(request: HeadsRequest, spec: DataSpec) -> tuple[tuple[AnyHead, ...], list[Decision]]:
    if request.heads is not None:
        return request.heads, []
    names = request.targets
    questions = list(dict.fromkeys(target.group or target.name for target in spec.targets))
    decisions = []
    if not names:
        if not questions:
            raise ConfigError(("dataset",), "the dataset has no labels: upload some, or give rows with labels")
        if len(questions) > 1:
            listed = ", ".join(map(repr, questions[:10]))
            raise ConfigError(("target",), f"which one? The dataset has the targets {listed}: name one, or several")
        names = (questions[0],)
        decisions.append(Decision(field="target", value=names[0], reason="it is the only target"))
    return tuple(_head(name, spec) for name in names), decisions


def _check_solvable(heads: tuple[AnyHead, ...]) -> None:
    """Raise `ConfigError` for a head that is trained by steps."""
    for index, head in enumerate(heads):
        if not head.solvable:
            msg = "instant heads are solved for, and this one is trained by steps: ask for a fine_tuning job"
            raise ConfigError(("heads", index, "kind"), msg)


def _head(name: str, spec: DataSpec) -> AnyHead:
    """Return the head that answers a target, or the labels of a column of lists."""
    if spec.labels_of(name):
        return MultiLabel(target=name)
    target = spec.target(name)
    if target is None:
        raise ConfigError(("target",), no_such_target(spec, name))
    return Regressor(target=name) if target.type == "number" else Classifier(target=name)


def _in_request(error: ConfigError, request: HeadsRequest) -> ConfigError:
    """Name the field of this request that a choice of the fine-tuning came from."""
    place: Location = error.loc
    if place[:1] == ("heads",) and request.heads is None:
        place = ("target",)
    elif place[:1] == ("strategy",):
        place = place[1:]
    return ConfigError(place or ("model",), error.msg)


def _check_size(config: ResolvedFineTuning, spec: DataSpec, width: int) -> None:
    """Raise UnprocessableError for what takes too long while somebody waits."""
    rows = max((sum(spec.labelled.get(name, spec.rows).values()) for name in config.targets), default=0)
    outputs = sum(_outputs(config, spec))
    if rows > MAX_ROWS:
        msg = f"{rows} labelled rows are more than the {MAX_ROWS} that heads are fitted on at once; {_A_JOB}"
        raise _too_large(msg)
    if rows * width * outputs > MAX_WORK:
        msg = f"{rows} rows of {width} features and {outputs} outputs are too much to be solved for at once; {_A_JOB}"
        raise _too_large(msg)

    for head, of_head in zip(config.heads, _outputs(config, spec), strict=True):
        seconds = head.fitting_seconds(rows, width, of_head)
        if seconds > MAX_SECONDS:
            msg = f"fitting the estimator of {head.key!r} would take about {seconds:.0f} s of a core; {_A_JOB}"
            raise _too_large(msg)


def _too_large(msg: str) -> UnprocessableError:
    return UnprocessableError(f"dataset: {msg}", code="too_large", errors=[ErrorItem(loc=["body", "dataset"], msg=msg)])


def _outputs(config: ResolvedFineTuning, spec: DataSpec) -> Iterator[int]:
    for head in config.heads:
        targets = targets_of(head, spec)
        yield len(targets[0].classes) if head.accepts == "category" else len(targets)
