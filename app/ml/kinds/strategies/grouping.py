"""Groups of parameters, with weight decay where it is the custom."""

from collections.abc import Iterable

from torch import nn

from app.ml.interfaces import ParamGroup


def groups_of(parameters: Iterable[nn.Parameter], lr_scale: float = 1.0) -> list[ParamGroup]:
    """Matrices and kernels, which decay, and vectors, which do not.

    Biases and the gains of norms are left alone as in most published recipes since He et al., "Bag of tricks for image
    classification", 2019.
    """
    parameters = list(parameters)
    matrices = [one for one in parameters if one.ndim > 1]
    vectors = [one for one in parameters if one.ndim <= 1]
    found = [ParamGroup(matrices, lr_scale), ParamGroup(vectors, lr_scale, decays=False)]
    return [group for group in found if group.params]
