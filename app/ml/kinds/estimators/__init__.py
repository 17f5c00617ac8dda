"""Estimators: what heads can learn on fixed features besides weights. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.estimators.blend import Blend
from app.ml.kinds.estimators.boosted_trees import BoostedTrees
from app.ml.kinds.estimators.nearest_neighbours import NearestNeighbours
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.estimators.ridge import Ridge

AnyEstimator = Annotated[
    BoostedTrees
    | Blend
    | RandomForest
    | NearestNeighbours
    | Ridge,
    Field(discriminator="kind"),
]  # fmt: skip
