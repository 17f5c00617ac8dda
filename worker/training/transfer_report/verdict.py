"""From scores to a verdict: whether pretraining helps, and how many labels it saves."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from app.ml.evaluation.paired_comparison import Gain, Rounds, gain

Verdict = Literal["helps", "no evidence", "hurts"]
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured of one head."""

    ours: Rounds | None
    controls: dict[str, Rounds | None]
    missing: dict[str, str]  # by way: why it was not measured
    fewer: list[tuple[int, float]]  # labels and what the pretrained way scores with them, from the most
    labels: int
    folds: int | None


def judged(found: Comparison) -> dict[str, Any]:
    """The answer of a head, as JSON.

    Pretraining `helps` where it is better than every control: each interval at 95 % lies above 0. No correction is
    needed, since all of them must (Berger, "Multiparameter hypothesis testing", 1982). It `hurts` where it is worse
    than some control, at 95 % for all of them together (Bonferroni). So no control is chosen by the rows measured on.
    """
    gains = _gains(found)
    least = min(gains, key=lambda name: gains[name].value, default=None)
    verdict, reason = _verdict(found, gains)
    whole = None
    if least is not None:
        low, high = min(one.low for one in gains.values()), min(one.highest for one in gains.values())
        whole = _as_json(gains[least].value, low, high)
    return {
        "pretrained": None if found.ours is None else round(found.ours.mean, _DIGITS),
        "controls": {name: _control(found, name, gains) for name in found.controls},
        "best_control": least,
        "gain": whole,
        "labels_saved": _saved(found, least, verdict),
        "verdict": verdict,
        "reason": reason,
    }


def _gains(found: Comparison) -> dict[str, Gain]:
    if found.ours is None:
        return {}
    ours, many = found.ours, len(found.controls)
    measured = {name: rounds for name, rounds in found.controls.items() if rounds is not None}
    gains = {name: gain(ours, rounds, found.folds, many) for name, rounds in measured.items()}
    return {name: one for name, one in gains.items() if one is not None}


def _verdict(found: Comparison, gains: dict[str, Gain]) -> tuple[Verdict, str]:
    for name, one in gains.items():
        if one.highest < 0 and _both_noisy(found, name):
            return "hurts", f"it is worse than {name}, with all controls taken into account"
    unknown = _unknown(found, gains)
    if unknown is not None:
        return "no evidence", unknown
    short = [name for name, one in gains.items() if one.low <= 0]
    if short:
        return "no evidence", f"the interval of the gain over {' and '.join(short)} holds 0"
    return "helps", "it is better than every control"


def _unknown(found: Comparison, gains: dict[str, Gain]) -> str | None:
    """What is missing for a verdict, in words."""
    if found.ours is None:
        return found.missing.get("pretrained", "no row was held out")
    for name, control in found.controls.items():
        if control is None:
            return f"it was not compared with {name}: {found.missing.get(name, 'no row was held out')}"
        if name not in gains:
            return "too few rows were held out to tell anything of others"
        if not _both_noisy(found, name):
            return "some was trained only once, so the noise of training is not known: raise the budget"
    return None


def _both_noisy(found: Comparison, name: str) -> bool:
    """Whether it is known how much the scores vary from training to training."""
    return all(one is not None and one.noisy for one in (found.ours, found.controls[name]))


def _control(found: Comparison, name: str, gains: dict[str, Gain]) -> dict[str, Any]:
    rounds, one = found.controls[name], gains.get(name)
    return {
        "score": None if rounds is None else round(rounds.mean, _DIGITS),
        "trainings": 0 if rounds is None else len(rounds.scores),
        "gain": None if one is None else _as_json(one.value, one.low, one.high),
        "reason": None if rounds is not None else found.missing.get(name, "no row was held out"),
    }


def _as_json(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": round(value, _DIGITS), "low": round(low, _DIGITS), "high": round(high, _DIGITS)}


def _saved(found: Comparison, best: str | None, verdict: Verdict) -> dict[str, Any]:
    """With how few labels the pretrained way is as good as the best control with all of them."""
    curve = [(found.labels, found.ours.mean), *found.fewer] if found.ours is not None else []
    told = [{"labels": labels, "score": round(score, _DIGITS)} for labels, score in curve]
    nothing = {"needed": None, "saved": None, "share": None, "or_fewer": False, "curve": told}
    if verdict != "helps" or best is None:
        return {**nothing, "reason": "there is no evidence that it saves any"}
    if len(curve) == 1:
        return {**nothing, "reason": "fewer labels were not tried: too few, or the budget was spent before"}
    control = found.controls[best]
    needed, or_fewer = labels_needed(curve, control.mean if control else math.inf)
    return {
        "needed": math.ceil(needed),
        "saved": found.labels - math.ceil(needed),
        "share": round(1 - needed / found.labels, 4),
        "or_fewer": or_fewer,
        "curve": told,
        "reason": f"where the pretrained way comes down to {best} with all {found.labels} labels",
    }


def labels_needed(curve: list[tuple[int, float]], wanted: float) -> tuple[float, bool]:
    """Where a curve of (labels, score), from the most labels, falls below `wanted`, linear in the logarithm.

    Once below, it is not asked whether it rises again. True beside it where it never falls: fewer may do, too.
    """
    for (more, above), (less, below) in pairwise(curve):
        if below < wanted:
            share = (wanted - below) / (above - below) if above > below else 1.0
            return math.exp(math.log(less) + share * (math.log(more) - math.log(less))), False
    return float(curve[-1][0]), True
