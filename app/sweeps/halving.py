"""Which trials go on from a rung of asynchronous successive halving (Li et al., 2018).

Decided when a trial arrives, by those that arrived before: nobody waits for the others.
"""

from collections.abc import Sequence


def goes_on(value: float, others: Sequence[float], reduction_factor: int, *, maximize: bool) -> bool:
    """Tell whether `value` is among the best 1 / reduction_factor of all at this rung; equals are as good.

    While there are fewer than `reduction_factor` of them, only the best goes on.
    """
    ranked = sorted([value, *others], reverse=maximize)
    last = ranked[max(len(ranked) // reduction_factor, 1) - 1]
    return value >= last if maximize else value <= last
