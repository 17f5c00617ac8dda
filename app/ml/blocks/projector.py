"""The small network between features and what views are compared by."""

from torch import nn


def projector(features: int, hidden: int, projection: int) -> nn.Sequential:
    """Two layers with batch normalisation between them: (B, features) to (B, projection); B is at least 2 in training.

    Normalised over the batch, the hidden layer cannot collapse to a constant (Chen et al., 2020, appendix B.6).
    """
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, projection),
    )
