"""Reads the catalogue from the registries of cleaning and of learning; nothing is listed by hand."""

import inspect
import re
import sys
from functools import cache

from app.catalogue.schemas import Catalogue, CatalogueEntry
from app.datasets.cleaning import Step
from app.ml.data.spec import Frozen
from app.ml.kinds.registry import FAMILIES, kinds

EVERY_FAMILY = {"cleaning": Step, **FAMILIES}


@cache
def catalogue() -> Catalogue:
    """Return every kind of every family. The kinds of a process do not change."""
    return Catalogue(
        families={
            family: [_entry(kind, config) for kind, config in kinds(union).items()]
            for family, union in EVERY_FAMILY.items()
        }
    )


def _entry(kind: str, config: type[Frozen]) -> CatalogueEntry:
    summary = inspect.cleandoc(config.__doc__ or "")
    source = sys.modules[config.__module__].__doc__
    return CatalogueEntry(
        kind=kind,
        title=_title(config.__name__),
        summary=summary,
        source=source and source.strip(),
        config_schema=config.model_json_schema(),
    )


def _title(name: str) -> str:
    """`LinearProbe` as "Linear probe"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
