"""A recommendation as a job: backbones ranked for a target. It makes no model; its metrics are the ranking."""

import time
from pathlib import Path

from app.datasets.access import rows_digest
from app.datasets.repository import DatasetRow
from app.jobs.repository import JobRow
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.fitting.feature_cache import FeatureCache
from app.ml.fitting.features import GetOrCompute
from app.ml.kinds.strategies.full import Full
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.network import PLAIN_BACKBONES
from app.ml.resolution.probe import resolve_probe
from app.ml.spec import DataSpec
from app.recommendations.schemas import Candidate, RecommendationConfig
from app.settings import Settings
from worker.attempt.attempt import Attempt
from worker.attempt.context import JobContext
from worker.attempt.job_inputs import device_for, open_data, open_model
from worker.attempt.reporter import progress_of
from worker.training.backbone_ranking.ranking import (
    MeasuredBackbone,
    build_ranking,
    count_rows,
    estimate_seconds,
    measure,
    sample_rows,
)
from worker.training.flops import mean_tokens
from worker.training.run import fit_modality


def run(context: JobContext) -> None:
    """Measure the raw rows and every candidate on the same rows, and rank them."""
    began = time.monotonic()
    attempt, job, folder = context.attempt, context.job, context.folder
    config = RecommendationConfig.model_validate(job.config)
    attempt.report(progress_of(0, 1, 0, None), [], "loading")
    row, data = open_data(context)
    work = _Work(attempt, job, config, row, data, context.settings)
    attempt.enter("running", "ranking", f"Ranking {len(config.candidates)} backbones.", {"rows": work.rows})
    raw, measured = work.raw(), []
    for index, candidate in enumerate(config.candidates):
        context.stop_if_draining()
        attempt.report(progress_of(index, len(config.candidates), 0, None), [], "ranking")
        measured.append(work.of(candidate, folder / f"model{index}"))
    attempt.enter("finalizing", "ranking", "All are measured.")
    metrics = {
        "target": config.target,
        "score": work.score,
        "rows": work.rows,
        "labelled_rows": len(data.positions("train", [config.target])),
        "seconds": round(time.monotonic() - began, 3),
        "ranking": build_ranking(measured, raw),
        "misfits": [misfit.model_dump(mode="json") for misfit in config.misfits],
    }

    attempt.succeed_with("Ranked.", metrics)


class _Work:
    """What all candidates are measured on."""

    def __init__(
        self,
        attempt: Attempt,
        job: JobRow,
        config: RecommendationConfig,
        row: DatasetRow,
        data: ArrayData,
        settings: Settings,
    ) -> None:
        self.attempt, self.config, self.data = attempt, config, data
        self.some = sample_rows(data, config.target, config.rows)
        self.rows = len(self.some.positions("train", [config.target]))
        self.keep: GetOrCompute = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, rows_digest(row))
        self.device = device_for(job)

    @property
    def spec(self) -> DataSpec:
        """The dataset's."""
        return self.data.spec

    @property
    def score(self) -> str:
        """What the scores are."""
        target = self.spec.target(self.config.target)
        return "accuracy" if target is not None and target.type == "category" else "r2"

    def raw(self) -> MeasuredBackbone:
        """The rows as they are: what a backbone must be better than."""
        config = resolve_probe(self.spec, self.config.target, backbone=PLAIN_BACKBONES[self.spec.modality])
        modality = fit_modality(config, self.some)
        backbone = config.backbone.build(modality.encoding)
        backbone.initialize(self.some.to_initialize(modality))
        measured = measure(config, self.some, modality, backbone, self.device, self.keep)
        nothing = {"features_seconds": 0.0, "fine_tuning_seconds": None}
        return self._with_estimate(measured.with_fields(model=None, name="raw", version=None, shared_by=[]), nothing)

    def of(self, candidate: Candidate, folder: Path) -> MeasuredBackbone:
        """One candidate."""
        bundle = open_model(self.attempt, candidate.model, folder)
        config = resolve_probe(self.spec, self.config.target, bundle.manifest)
        measured = measure(config, self.some, bundle.manifest.modality, bundle.backbone, self.device, self.keep)
        full = resolve_fine_tuning(_full(config), self.spec, bundle.manifest).config
        train_rows = len(self.data.positions("train", [self.config.target]))
        tokens = mean_tokens(self.some, self.some.positions("train"), bundle.manifest.modality)
        cost = estimate_seconds(bundle.backbone, full, count_rows(self.data), train_rows, tokens)
        return self._with_estimate(measured.with_fields(**candidate.model_dump(mode="json")), cost)

    def _with_estimate(
        self, measured: MeasuredBackbone, cost: dict[str, float | None] | dict[str, float]
    ) -> MeasuredBackbone:
        entry = {**measured.entry, "estimate": cost}
        message = f"{entry['name']}: {self.score} {entry['score']}, features {entry['features_from']}."
        self.attempt.record_event("recommendation.measured", message, entry)
        return MeasuredBackbone(entry, measured.scores)


def _full(config: ResolvedFineTuning) -> FineTuningConfig:
    """The same head on a backbone that is trained as well, with the usual recipe."""
    return FineTuningConfig(heads=config.heads, inherited_heads=(), strategy=Full())
