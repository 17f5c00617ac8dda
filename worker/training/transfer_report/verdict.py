"""From scores to a verdict: whether pretraining helps, and how many labels it saves."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from app.ml.evaluation.interval import LEVEL
from app.ml.evaluation.paired_comparison import Gain, RoundScores, gain_in_prospect, paired_gain

Verdict = Literal["helps", "no evidence", "hurts"]
MAX_LOOKS = 3  # at what the rounds so far say, before the last round
_DIGITS = 6
# The looks before the last round take some of the 5 % by which the intervals may err.
_LEVEL_OF_LOOKS = 0.999
_LEVEL = LEVEL + MAX_LOOKS * (1 - _LEVEL_OF_LOOKS)


@dataclass(frozen=True, slots=True)
class HeadScores:
    """The scores of one head: of the pretrained arm, of every control, and of the pretrained arm on fewer labels."""

    pretrained: RoundScores | None
    controls: dict[str, RoundScores | None]
    missing: dict[str, str]  # by arm: why it was not trained
    fewer: list[tuple[int, float]]  # (labels, mean score) of the pretrained arm, from the most labels to the fewest
    labels: int
    folds: int | None


def judge(scores: HeadScores) -> dict[str, Any]:
    """Compare the pretrained arm of a head with its controls; the verdict and what it rests on, as JSON.

    Pretraining `helps` where it is better than every control: each interval at 95 % lies above 0. No correction is
    needed, since all of them must (Berger, "Multiparameter hypothesis testing", 1982). It `hurts` where it is worse
    than some control, at 95 % for all of them together (Bonferroni). So no control is chosen by the rows measured on.
    """
    comparisons = _compare(scores, partial(paired_gain, level=_LEVEL))
    best_control = min(comparisons, key=lambda name: comparisons[name].value, default=None)
    verdict, reason = _verdict(scores, comparisons)
    gain = None
    if best_control is not None:
        # Its interval is the envelope over all controls: which one is best was found out on these same rows.
        low = min(comparison.low for comparison in comparisons.values())
        high = min(comparison.simultaneous_high for comparison in comparisons.values())
        gain = _as_json(comparisons[best_control].value, low, high)
    return {
        "pretrained": None if scores.pretrained is None else round(scores.pretrained.mean, _DIGITS),
        "controls": {name: _control(scores, name, comparisons) for name in scores.controls},
        "best_control": best_control,
        "gain": gain,
        "labels_saved": _labels_saved(scores, best_control, verdict),
        "verdict": verdict,
        "reason": reason,
    }


def is_settled(scores: HeadScores, rounds: int) -> bool:
    """Whether further rounds, up to `rounds` in all, need not be trained: the verdict is clear, or will not change.

    It is clear only at `_LEVEL_OF_LOOKS`: looking `MAX_LOOKS` times more at the level of the last look would find
    something where nothing is (Haybittle, 1971; Peto et al., 1976). That it will not change is decided as if the means
    moved by two standard errors; stopping then can make no verdict but `no evidence`.
    """
    verdict, _ = _verdict(scores, _compare(scores, partial(paired_gain, level=_LEVEL_OF_LOOKS)))
    if verdict != "no evidence":
        return True
    prospects = _compare(scores, partial(gain_in_prospect, rounds=rounds, level=_LEVEL))
    may_help = scores.controls.keys() == prospects.keys() and all(gain.low > 0 for gain in prospects.values())
    return not may_help and all(gain.simultaneous_high >= 0 for gain in prospects.values())


def _compare(scores: HeadScores, compare: Callable[..., Gain | None]) -> dict[str, Gain]:
    """The gain over each control, where both were trained and enough rows were held out."""
    if scores.pretrained is None:
        return {}
    comparisons = {
        name: compare(scores.pretrained, control, scores.folds, comparisons=len(scores.controls))
        for name, control in scores.controls.items()
        if control is not None
    }
    return {name: gain for name, gain in comparisons.items() if gain is not None}


def _verdict(scores: HeadScores, comparisons: dict[str, Gain]) -> tuple[Verdict, str]:
    for name, gain in comparisons.items():
        if gain.simultaneous_high < 0 and _noise_is_known(scores, name):
            return "hurts", f"it is worse than {name}, with all controls taken into account"
    gap = _gap_in_evidence(scores, comparisons)
    if gap is not None:
        return "no evidence", gap
    undecided = [name for name, gain in comparisons.items() if gain.low <= 0]
    if undecided:
        return "no evidence", f"the interval of the gain over {' and '.join(undecided)} holds 0"
    return "helps", "it is better than every control"


def _gap_in_evidence(scores: HeadScores, comparisons: dict[str, Gain]) -> str | None:
    """What a verdict lacks, in words; None where nothing is missing."""
    if scores.pretrained is None:
        return scores.missing.get("pretrained", "no row was held out")
    for name, control in scores.controls.items():
        if control is None:
            return f"it was not compared with {name}: {scores.missing.get(name, 'no row was held out')}"
        if name not in comparisons:
            return "too few rows were held out to tell anything of others"
        if not _noise_is_known(scores, name):
            return "some was trained only once, so the noise of training is not known: raise the budget"
    return None


def _noise_is_known(scores: HeadScores, control: str) -> bool:
    """Whether it is known, for both sides of a comparison, how much scores vary from training to training."""
    return all(side is not None and side.noise_is_known for side in (scores.pretrained, scores.controls[control]))


def _control(scores: HeadScores, name: str, comparisons: dict[str, Gain]) -> dict[str, Any]:
    control, gain = scores.controls[name], comparisons.get(name)
    return {
        "score": None if control is None else round(control.mean, _DIGITS),
        "trainings": 0 if control is None else len(control.scores),
        "gain": None if gain is None else _as_json(gain.value, gain.low, gain.high),
        "reason": None if control is not None else scores.missing.get(name, "no row was held out"),
    }


def _as_json(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": round(value, _DIGITS), "low": round(low, _DIGITS), "high": round(high, _DIGITS)}


def _labels_saved(scores: HeadScores, best_control: str | None, verdict: Verdict) -> dict[str, Any]:
    """With how few labels the pretrained arm is as good as the best control with all of them, as JSON."""
    curve = [(scores.labels, scores.pretrained.mean), *scores.fewer] if scores.pretrained is not None else []
    points = [{"labels": labels, "score": round(score, _DIGITS)} for labels, score in curve]
    unknown = {"needed": None, "saved": None, "share": None, "or_fewer": False, "curve": points}
    if verdict != "helps" or best_control is None:
        return {**unknown, "reason": "there is no evidence that it saves any"}
    if len(curve) == 1:
        return {**unknown, "reason": "fewer labels were not tried: too few, or the budget was spent before"}
    control = scores.controls[best_control]
    needed, or_fewer = labels_needed(curve, control.mean if control else math.inf)
    return {
        "needed": math.ceil(needed),
        "saved": scores.labels - math.ceil(needed),
        "share": round(1 - needed / scores.labels, 4),
        "or_fewer": or_fewer,
        "curve": points,
        "reason": f"where the pretrained way comes down to {best_control} with all {scores.labels} labels",
    }


def labels_needed(curve: list[tuple[int, float]], score: float) -> tuple[float, bool]:
    """Where a curve of (labels, score), from the most labels to the fewest, falls below `score`.

    Between two points it is linear in the logarithm of labels. Once below, it does not matter whether the curve rises
    again. The second value is True where it never falls below: still fewer labels may do.
    """
    for (more, above), (fewer, below) in pairwise(curve):
        if below < score:
            # The share of the way from `more` to `fewer` labels at which the line crosses `score`.
            share = (score - below) / (above - below) if above > below else 1.0
            return math.exp(math.log(fewer) + share * (math.log(more) - math.log(fewer))), False
    return float(curve[-1][0]), True
