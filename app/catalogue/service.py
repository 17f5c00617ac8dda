"""Builds the catalogue from the unions of kinds in cleaning and learning, so that it cannot miss one."""

import inspect
import re
import sys
from functools import cache

from app.catalogue.schemas import Catalogue, CatalogueEntry
from app.datasets.cleaning import Step
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.spec import Frozen

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


def _entry(kind: str, config: type[Frozen]) -> CatalogueEntry:
    summary = inspect.cleandoc(config.__doc__ or "")
    source = sys.modules[config.__module__].__doc__
    return CatalogueEntry(
        kind=kind,
        title=re.sub(r"(?<=[a-z])(?=[A-Z])", " ", config.__name__).capitalize(),  # "Linear probe" for LinearProbe
        summary=summary,
        source=source and source.strip(),
        config_schema=config.model_json_schema(),
    )
