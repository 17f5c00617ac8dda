"""The projection head between a backbone's features and the vectors that views are compared by."""

from torch import nn

from app.ml.blocks.norms import BatchNorm1d


def projection_head(features: int, hidden: int, projection: int) -> nn.Sequential:
    """Build two layers with batch normalisation between them: (B, features) to (B, projection); B > 1 in training.

    Normalised over the batch, the hidden layer cannot collapse to a constant (Chen et al., 2020, appendix B.6).
    """
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False),
        BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, projection),
    )
