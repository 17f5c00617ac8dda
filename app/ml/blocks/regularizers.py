"""Regularisers R that an autoencoder may add to its reconstruction error."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from app.ml.blocks.shards import drawn, row_mean

_AT_ONCE = 16  # projections whose graphs are held in memory together
_MIN_ACTIVITY = 1e-6


def weight_matrices(module: nn.Module) -> Iterable[Tensor]:
    """The weights of linear and convolutional layers: parameters of two or more dimensions, never biases."""
    return (parameter for parameter in module.parameters() if parameter.ndim > 1)


def sum_of_squares(weights: Iterable[Tensor]) -> Tensor:
    """The sum of W_ij^2 over all matrices, ()."""
    return torch.stack([weight.square().sum() for weight in weights]).sum()


def sum_of_absolutes(weights: Iterable[Tensor]) -> Tensor:
    """The sum of |W_ij| over all matrices, ()."""
    return torch.stack([weight.abs().sum() for weight in weights]).sum()


def divergence_from_rate(features: Tensor, rate: float) -> Tensor:
    """The sum over features j of KL(Bernoulli(rate) || Bernoulli(a_j)); features (B, F), result ().

    a_j is the batch mean of 1 - exp(-|feature j|), which is 0 for a silent feature and near 1 for a loud one.
    """
    # In float32: the logarithms of small activities need it. (F,)
    activity = row_mean((1 - (-features.float().abs()).exp()).mean(0)).clamp(_MIN_ACTIVITY, 1 - _MIN_ACTIVITY)
    target = torch.full_like(activity, rate)
    return (target * (target / activity).log() + (1 - target) * ((1 - target) / (1 - activity)).log()).sum()


def squared_projections(features: Tensor, inputs: Tensor, probes: Tensor, *, differentiable: bool) -> Tensor:
    """Per probe v, the batch mean of ||v^T J||^2, where J = d features / d inputs of a row.

    features (B, F), inputs (B, ...), probes (P, B, F), result (P,). Over random signs its mean estimates
    ||J||_F^2 without bias; over the F basis vectors its sum is ||J||_F^2 exactly.
    """
    norms = []
    for probe in probes:
        (gradient,) = torch.autograd.grad(
            features, inputs, probe, create_graph=differentiable, retain_graph=True
        )  # a row's features depend on that row alone: this is v^T J of each row
        norms.append(gradient.flatten(1).square().sum(1).mean())
    return torch.stack(norms)


def contraction(
    backbone: nn.Module, inputs: Tensor, projections: int, *, differentiable: bool
) -> tuple[Tensor, Tensor]:
    """Features (B, F) of inputs (B, ...), and the estimated batch mean of ||J||_F^2 from so many random signs, ().

    Many projections are taken in parts. A part's gradient is computed at once, so that only one part's graph is held.
    """
    with torch.enable_grad():  # the penalty is a derivative, also where the loss is only measured
        features, norms = _projected(backbone, inputs, min(projections, _AT_ONCE), differentiable=differentiable)
        if projections <= _AT_ONCE:
            return features, norms.mean()
        parts = [norms.sum() / projections]
        parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        kept = [torch.zeros_like(parameter) for parameter in parameters]
        for start in range(_AT_ONCE, projections, _AT_ONCE):
            count = min(_AT_ONCE, projections - start)
            part = _projected(backbone, inputs, count, differentiable=differentiable)[1].sum() / projections
            if differentiable:
                _add_gradient(kept, part, parameters)
            parts.append(part.detach())
        return features, torch.stack(parts).sum() + _nothing_with_gradient(parameters, kept)


def _projected(backbone: nn.Module, inputs: Tensor, count: int, *, differentiable: bool) -> tuple[Tensor, Tensor]:
    """Features (B, F), and ||v^T J||^2 for `count` vectors v of random signs, (count,)."""
    leaf = inputs.detach().requires_grad_()
    features = backbone(leaf)
    # Drawn as (count, B, F), of which a rank takes its rows.
    size, device = features.shape[1:], features.device
    bits = drawn(lambda rows: torch.randint(0, 2, (count, rows, *size), device=device).transpose(0, 1), len(features))
    signs = bits.transpose(0, 1).to(features.dtype) * 2 - 1
    return features, squared_projections(features, leaf, signs, differentiable=differentiable)


def _add_gradient(kept: Sequence[Tensor], part: Tensor, parameters: Sequence[Tensor]) -> None:
    """Add the gradient of `part` () by the parameters to `kept`, which frees the graph of `part`."""
    gradients = torch.autograd.grad(part, parameters, allow_unused=True)
    for held, gradient in zip(kept, gradients, strict=True):
        if gradient is not None:
            held.add_(gradient)


def _nothing_with_gradient(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar that is exactly 0, and whose gradient by the parameters is the given one."""
    pairs = zip(parameters, gradients, strict=True)
    return torch.stack([((one - one.detach()) * gradient).sum() for one, gradient in pairs]).sum()
