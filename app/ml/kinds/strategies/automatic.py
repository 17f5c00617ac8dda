"""Automatic: what is learned, on which features, is chosen by cross-validation on the labelled train rows.

The trainer chooses. Which way is best depends on the data and on how many labels there are. So simple ways that cost
milliseconds are measured first, and costlier ones on the same folds, as far as the budget goes. One that is trained by
gradient is taken only where it is better than the best of the others by more than a standard error (the rule of Breiman
et al., "Classification and regression trees", 1984). See docs/choosing.md.
"""

from typing import Annotated, Literal, get_args

from pydantic import Field
from torch import nn

from app.ml.errors import ConfigError
from app.ml.fields import Auto, Real
from app.ml.interfaces import Backbone, Choices, ParamGroup, ResolutionContext
from app.ml.kinds.strategies.base import StrategyConfig, StrategyRequest
from app.ml.spec import ModalityKind

CandidateName = Literal[
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
OF_THE_MODEL: tuple[CandidateName, ...] = ("untrained", "linear_probe", "lp_ft", "full")
"""Candidates that take a pretrained model, or its network with new weights."""
_SIMPLE: dict[ModalityKind, tuple[CandidateName, ...]] = {
    "table": ("nearest_neighbours", "raw", "boosted_trees", "random_forest", "blend"),
    "series": ("nearest_neighbours", "raw", "random_kernels", "rocket", "random_forest", "blend"),
    "image": ("nearest_neighbours", "raw", "random_patches", "random_forest", "blend"),
    "text": ("tfidf",),
}
USUALLY_BEST: dict[ModalityKind, CandidateName] = {
    "table": "blend",
    "series": "rocket",
    "image": "blend",
    "text": "tfidf",
}
"""Taken unless held-out labels prove another better: few of them tell good candidates apart by chance alone."""
_NETWORKS: dict[ModalityKind, tuple[CandidateName, ...]] = {
    "table": ("tabular_resnet", "scratch"),
    "series": ("scratch",),
    "image": ("scratch",),
    "text": ("scratch",),
}
Candidates = Annotated[tuple[CandidateName, ...], Field(min_length=1, max_length=len(get_args(CandidateName)))]


MAX_ROWS_OF_REFIT = 2_000  # all of so many are held out once when candidates are compared


class Automatic(StrategyRequest):
    """Try several ways, from the cheapest on, and take the one with the best cross-validated score."""

    kind: Literal["automatic"] = "automatic"
    candidates: Auto[Candidates] = Field(
        "auto",
        description="What is tried, the preferred one first; auto: what suits the data, and all ways of adapting the "
        "pretrained model where there is one.",
        examples=[["untrained", "linear_probe"]],
    )
    budget_seconds: Real = Field(
        40.0, ge=0, le=86_400, description="Seconds of the processor that the choice may take in the job."
    )

    refit: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="Whether heads that are solved for, and were selected among several, learn anew from the labelled "
        "rows of all splits once they are measured on the test rows. auto: yes where nobody said how to split the "
        "dataset, and at most 2,000 rows are labelled.",
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedAutomatic]":
        """Return the class that the trainer chooses by."""
        return ResolvedAutomatic

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where the heads cannot be solved for, or a candidate lacks its model."""
        if not context.solvable:
            raise ConfigError(("kind",), "only linear heads with a convex loss are solved for: choose full")
        for index, name in enumerate(() if self.candidates == "auto" else self.candidates):
            if name not in candidates_for(context.modality, pretrained=True):
                suitable = ", ".join(candidates_for(context.modality, pretrained=context.pretrained))
                msg = f"{name} does not suit {context.modality} data: choose among {suitable}"
                raise ConfigError(("candidates", index), msg)

    def choices(self, context: ResolutionContext) -> Choices:
        """All that suit the modality, the cheapest first."""
        names = candidates_for(context.modality, pretrained=context.pretrained)
        return {
            "candidates": (names, f"what suits {context.modality} data, the cheapest first"),
            "refit": _refit(context),
        }


class ResolvedAutomatic(Automatic, StrategyConfig):
    """The same with known candidates."""

    caches_features = True  # until something is chosen it is like a linear probe on the last layer
    selects_strategy = True
    candidates: Candidates
    refit: Literal["yes", "no"] = "no"  # as before there was a choice

    def groups(self, backbone: Backbone, heads: nn.ModuleDict) -> list[ParamGroup]:
        """The heads."""
        return [ParamGroup(list(heads.parameters()))]


def _refit(context: ResolutionContext) -> tuple[str, str]:
    """Whether the winner learns from all labelled rows in the end, and why."""
    rows = context.labelled_rows
    if not context.usual_splits:
        return "no", "the request or the file says which rows are not learned from"
    if rows > MAX_ROWS_OF_REFIT:
        return "no", f"of {rows:,} labelled rows the test rows measure well, and a model learns little more from them"
    return "yes", f"of {rows:,} labelled rows each teaches; cross-validation and the test rows measure before that"


def candidates_for(modality: ModalityKind, *, pretrained: bool) -> tuple[CandidateName, ...]:
    """Return what may be tried on data of a modality: the probe of a given model, and then the cheapest first."""
    cheap, networks = _SIMPLE[modality], _NETWORKS[modality]
    if not pretrained:
        return (*cheap, *networks)
    return ("linear_probe", *cheap, "untrained", *networks, "lp_ft", "full")
