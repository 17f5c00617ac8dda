"""Fits heads on a loaded model's backbone while the request waits, and registers the model that they make."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.artifacts import put_blob
from app.datasets.access import find_dataset
from app.db.session import after_commit
from app.dependencies import Services
from app.errors import UnprocessableError
from app.heads import climbing
from app.heads.choices import resolve_request
from app.heads.schemas import FittedModel, HeadsRequest
from app.heads.sources import FoundDataset, RequestRows, Source, look_up_dataset, open_dataset
from app.idempotency.service import answered, fingerprint, once
from app.jobs.interface import does_not_fit
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import Examples, InMemory
from app.ml.errors import ConfigError, CorruptModelError
from app.ml.fitting.cross_fitting import Turn
from app.ml.fitting.evaluation import features_of
from app.ml.fitting.features import feature_key
from app.ml.fitting.heads import FittedHeads, fit_heads, frozen_objective
from app.ml.models.bundle import BACKBONE, json_of, read_manifest, save_heads
from app.ml.models.predictor import Predictor, load_bundle
from app.ml.spec import SPLITS, DataSpec, Decision, Split, WarningCode, WarningItem
from app.models import service as models
from app.models.loading import device_of
from app.models.refs import as_name
from app.predictions.deadlines import check_deadline
from app.predictions.resolution import ResolvedModel, load, resolve
from app.storage.quotas import refuse_full

MIN_ROWS = 20  # fewer are warned of, as in datasets


def create(state: Services, project_id: str, key: str | None, request: HeadsRequest) -> FittedModel:
    """Fit heads, and register and load the model that they make. Nothing is left where that fails.

    Raises:
        NotFoundError: there is no such model or dataset.
        ConflictError: the dataset is not ready; or other requests keep registering versions of this name.
        UnprocessableError: rows or labels cannot be read, or do not fit the model; or they are too many.
        DeadlineError: the request's time is up.
        QuotaError: the project may keep no more.
        TooManyError: it is to climb, and too many jobs of the project are unfinished.
    """
    digest = fingerprint("POST /v1/heads", request.model_dump_json())
    with state.database.reading() as session:
        earlier = answered(session, project_id, key, digest, FittedModel)
        if earlier is not None:
            return earlier
        refuse_full(session, project_id)
    parent = resolve(state, project_id, request.model)
    predictor = load(state, parent).model
    assert isinstance(predictor, Predictor)
    with tempfile.TemporaryDirectory() as scratch:
        fitting = _Fitting(state, project_id, request, predictor, Path(scratch))
        made, config, decisions = fitting.fit()
        loaded, candidate = _saved(state, made, predictor, parent, Path(scratch) / "model")
    origin = {"project_id": project_id, "job_id": None, "dataset_id": fitting.dataset and fitting.dataset.id}
    name = request.name or as_name("-".join((parent.name.name, *made.bundle.heads)))
    if request.name is None:
        decisions.append(Decision(field="name", value=name, reason="named after the model and its heads"))

    def add(session: Session) -> FittedModel:
        models.resolve(session, project_id, parent.name.id, light=True)  # 404 where it was deleted meanwhile
        if fitting.dataset is not None:
            find_dataset(session, project_id, fitting.dataset.id, keep=True)
        fields = {**origin, **candidate, "parent_id": parent.name.id, "name": name}
        model = models.add(session, warnings=fitting.warnings(made), **fields)
        after_commit(session, state.engine.references.clear)
        after_commit(session, lambda: state.engine.resident(model.id, lambda: loaded))
        answer = model.model_dump() | {"decisions": decisions}
        if not request.climb:
            return FittedModel.model_validate(answer)
        climb, decision = climbing.start(session, state, project_id, request, model, config)
        more = {"aliases": [climb.alias], "decisions": [*decisions, decision], "climb": climb}
        return FittedModel.model_validate(answer | more)

    return models.with_next_version(
        state.database, lambda session: once(session, project_id, key, digest, partial(add, session), FittedModel)
    )


class _Fitting:
    """One fitting: its rows, its config, and what is said of both."""

    def __init__(
        self, state: Services, project_id: str, request: HeadsRequest, predictor: Predictor, folder: Path
    ) -> None:
        self._state, self._project_id, self._request = state, project_id, request
        self._predictor, self._folder = predictor, folder
        self._turn = _turns(state, project_id)
        self.dataset: FoundDataset | None = None
        self._warnings: tuple[WarningItem, ...] = ()
        self._rows = 0

    def fit(self) -> tuple[FittedHeads, ResolvedFineTuning, list[Decision]]:
        """Return the heads, the fine-tuning that they are, and the decisions on them."""
        parent, request = self._predictor.bundle, self._request
        spec, decisions, open_source = self._look_up()
        config, of_heads = resolve_request(request, spec, parent)
        source = open_source()
        splits = {split: self._features(config, source, split) for split in SPLITS}
        self._warnings, self._rows = source.warnings, len(splits["train"])
        made = fit_heads(config, spec, parent, source.modality, splits, self._turn)
        solved = (
            Decision(field=f"heads.{key}.{name}", value=value, reason=reason)
            for key, fit in made.fits.items()
            for name, (value, reason) in fit.choices.items()
        )
        calibration = Decision(field="calibration", value=made.calibrated_on, reason="rows that the heads did not see")
        return made, config, [*decisions, *of_heads, *made.decisions, *solved, calibration]

    def warnings(self, made: FittedHeads) -> list[WarningItem]:
        """Return what is doubtful of the model, each once."""
        warnings = list(dict.fromkeys((*self._warnings, *made.warnings)))
        if self._rows < MIN_ROWS and all(warning.code != WarningCode.FEW_ROWS for warning in warnings):
            message = f"{self._rows} rows were learned from: what is learned from so few is hardly reliable"
            warnings.append(
                WarningItem(code=WarningCode.FEW_ROWS, message=message, count=self._rows, remedy="label more rows")
            )
        return warnings

    def _look_up(self) -> tuple[DataSpec, list[Decision], Callable[[], Source]]:
        """Return what the rows are, what was decided on them, and what reads them."""
        state, project_id, predictor, request = self._state, self._project_id, self._predictor, self._request
        if request.dataset is None:
            rows = RequestRows(request, predictor.manifest.modality)
            return rows.spec, rows.decisions, lambda: rows.read(state, project_id, predictor, request)
        found = self.dataset = look_up_dataset(state, project_id, request.dataset)
        decisions = []
        if found.id != request.dataset:
            reason = f"the newest ready dataset that is called {request.dataset!r}"
            decisions.append(Decision(field="dataset", value=found.id, reason=reason))

        def read() -> Source:
            try:
                with self._turn():
                    return open_dataset(state, found, predictor, self._folder / "data")
            except ConfigError as error:
                raise does_not_fit(error) from None

        return found.spec, decisions, read

    def _features(self, config: ResolvedFineTuning, source: Source, split: Split) -> Examples:
        """Return the features (N, F) of a split's labelled rows; they are computed unless the cache has them."""
        data, parent = source.data, self._predictor.bundle
        rows = data.positions(split, config.targets)
        targets = {name: data.labels(name, rows).to(parent.device) for name in config.targets}
        objective = frozen_objective(config, data.spec, parent)
        if not len(rows):
            return Examples(InMemory(targets[config.targets[0]].new_empty((0, 1))), targets)

        def compute() -> Any:
            with self._turn():
                examples = data.examples(split, source.modality, parent.device, config.targets)
            return features_of(objective, examples, self._turn)

        known = parent.manifest.files.get(BACKBONE)
        key = feature_key(parent.backbone, source.modality, rows, config.strategy.source, config.backbone, known)
        features = source.cache(key, compute)
        if not features.isfinite().all():
            msg = "some rows hold values that are too large for this model"
            raise UnprocessableError(msg, code="invalid_input")
        return Examples(InMemory(features), targets)


def _turns(state: Services, project_id: str) -> Turn:
    """Return what holds a turn of computing for one slice of this request's work."""
    began = False

    @contextmanager
    def turn() -> Iterator[None]:
        nonlocal began
        with state.turns.turn(project_id, goes_on=began):
            began = True
            check_deadline()
            yield

    return turn


def _saved(
    state: Services, made: FittedHeads, parent: Predictor, resolved: ResolvedModel, folder: Path
) -> tuple[Predictor, dict[str, Any]]:
    """Store the files of a model and load it from them; return it, and the columns of its row.

    Its backbone's file is the parent's. Raises UnprocessableError where the model does not answer with numbers.
    """
    folder.mkdir()
    names = save_heads(folder, made.bundle, parent.manifest.files[BACKBONE])
    try:
        loaded = load_bundle(folder, state.engine.shared, device_of(state.settings.serving_device))
    except CorruptModelError as error:
        msg = f"the heads do not answer with numbers: {error}"
        raise UnprocessableError(msg, code="config_does_not_fit") from error
    files = {name: put_blob(state.artifacts, folder / name).model_dump() for name in names}
    manifest = json_of(read_manifest(folder))
    metrics = made.evaluation.as_json() if made.evaluation else {}
    return loaded, {
        "kind": manifest["kind"],
        "manifest": manifest,
        "files": {**files, BACKBONE: resolved.files[BACKBONE]},
        "metrics": metrics,
    }
