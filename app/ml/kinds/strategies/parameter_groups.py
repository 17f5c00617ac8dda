"""Parameter groups with weight decay on matrices alone."""

from collections.abc import Iterable

from torch import nn

from app.ml.interfaces import ParamGroup


def parameter_groups(parameters: Iterable[nn.Parameter], lr_scale: float = 1.0) -> list[ParamGroup]:
    """Group parameters into matrices and kernels, which decay, and vectors, which do not.

    Biases and the scales of norms are left alone as in most published recipes since He et al., "Bag of tricks for image
    classification", 2019.
    """
    parameters = list(parameters)
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [ParamGroup(matrices, lr_scale), ParamGroup(vectors, lr_scale, decays=False)]
    return [group for group in groups if group.params]
