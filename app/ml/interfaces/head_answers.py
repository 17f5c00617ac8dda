"""Answers of a head: numbers (N, K) with names, which become JSON or stay an array.

Numbers are rounded for JSON alone, and after what is answered was decided by them: which class is named never depends
on it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MAX_DIGITS = 17  # of a float64: with so many every number is exact
PROBABILITY_DIGITS = 7  # networks compute in float32, whose numbers have no more
FEATURE_DIGITS = 9  # with which a float32 is read back as it was
_EXACT_POWERS = np.array([float(f"1e{exponent}") for exponent in range(23)])  # the powers of ten that a float64 holds
_MAX_EXPONENT = len(_EXACT_POWERS) - 1
_MAX_POWER = 308  # of ten, as a float64
_MANTISSA_BITS = np.uint64(52)  # of a float64, below its exponent and sign
Numbers = NDArray[np.float64]
RawOutput = Tensor | NDArray[np.float32]  # (B, K) of a head's network


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What of answers is shown: significant digits (None: as many as mean something), and the most probable classes."""

    digits: int | None = None
    top_k: int | None = None


USUAL = AnswerOptions()


@dataclass(slots=True)
class Answers(ABC):
    """Answers of a head to N rows."""

    omitted: ClassVar[tuple[str, ...]] = ()  # what `rows` say and `numbers` do not
    names: tuple[str, ...]  # K, of the columns of `numbers`
    numbers: Numbers  # (N, K)

    @property
    def array(self) -> Numbers:
        """The numbers, (N, K)."""
        return self.numbers

    @abstractmethod
    def rows(self, options: AnswerOptions = USUAL) -> list[Any]:
        """Return a JSON value for each row; every number is finite."""


def finite_numbers(output: RawOutput) -> Numbers:
    """Return raw outputs as float64, with the largest number of their type for infinity, and 0 for NaN."""
    array = output.numpy(force=True) if isinstance(output, Tensor) else output
    numbers = array.astype(np.float64)
    return numbers if np.isfinite(numbers).all() else np.nan_to_num(array).astype(np.float64)


class Answering(ABC):
    """What answers rows: a head."""

    @abstractmethod
    def answer(self, output: Any) -> Answers:
        """Return the answers to raw outputs (B, K), a tensor; every number is finite. Some heads take arrays, too."""

    def answers(self, output: Tensor) -> dict[str, Tensor]:
        """Return the numbers of `answer` as tensors (B, ...) by name: what an exported model answers."""
        return {"output": output}

    def answer_details(self) -> dict[str, Any]:
        """Return what is needed to read `answers`, as JSON: the classes, for example."""
        return {}

    def predict(self, output: Any, options: AnswerOptions = USUAL) -> list[Any]:
        """Return one JSON answer per row of raw outputs."""
        return self.answer(output).rows(options)


@dataclass(slots=True)
class ClassAnswers(Answers):
    """Probabilities of classes; the most probable one is named."""

    def rows(self, options: AnswerOptions = USUAL) -> list[Any]:
        """{"class", "probabilities"}."""
        return named_classes(repeat(self.names, len(self.numbers)), self.numbers, options)


@dataclass(slots=True)
class LabelAnswers(Answers):
    """Probabilities of labels, of which a row may have any: those are named that reach their thresholds (K,)."""

    omitted: ClassVar[tuple[str, ...]] = ("labels",)
    thresholds: Numbers

    def rows(self, options: AnswerOptions = USUAL) -> list[Any]:
        """{"labels", "probabilities"}."""
        is_answered = (self.numbers >= self.thresholds).tolist()
        shown = probabilities(repeat(self.names, len(self.numbers)), self.numbers, options)
        return [
            {"labels": [name for name, answered in zip(self.names, row, strict=True) if answered], "probabilities": of}
            for row, of in zip(is_answered, shown, strict=True)
        ]


@dataclass(slots=True)
class NumberAnswers(Answers):
    """Numbers with an interval each, whose ends are `low` and `high` (N, K); `units` (K,) are the targets' deviations.

    They are shown to a ten millionth of the deviation at least, rather than to so many digits: what a head foresees
    are deviations from a mean, which may have any number of digits itself, as a time in seconds has.
    """

    omitted: ClassVar[tuple[str, ...]] = ("interval", "level")
    low: Numbers
    high: Numbers
    level: float
    units: Numbers

    @property
    def array(self) -> Numbers:
        """The numbers, (N,) of one target and (N, K) of several."""
        return self.numbers[:, 0] if len(self.names) == 1 else self.numbers

    def rows(self, options: AnswerOptions = USUAL) -> list[Any]:
        """{"value", "interval", "level"}; of several targets one such under each name."""
        columns = [self._shown(ends, options).tolist() for ends in (self.numbers, self.low, self.high)]
        rows = [
            [{"value": v, "interval": [a, b], "level": self.level} for v, a, b in zip(*row, strict=True)]
            for row in zip(*columns, strict=True)
        ]
        if len(self.names) == 1:
            return [row[0] for row in rows]
        return [dict(zip(self.names, row, strict=True)) for row in rows]

    def _shown(self, numbers: Numbers, options: AnswerOptions) -> Numbers:
        return to_unit(numbers, self.units) if options.digits is None else significant(numbers, options.digits)


@dataclass(slots=True)
class RateAnswers(Answers):
    """Several rates of each row under their names, and how many tokens (N,) they are of."""

    omitted: ClassVar[tuple[str, ...]] = ("tokens",)
    tokens: NDArray[np.int64]

    def rows(self, options: AnswerOptions = USUAL) -> list[Any]:
        """{each name: rate, "tokens"}."""
        shown = rounded(self.numbers, options.digits, PROBABILITY_DIGITS).tolist()
        pairs = zip(shown, self.tokens.tolist(), strict=True)
        return [{**dict(zip(self.names, row, strict=True)), "tokens": tokens} for row, tokens in pairs]


def named_classes(names: Iterable[Sequence[str]], numbers: Numbers, options: AnswerOptions = USUAL) -> list[Any]:
    """Return {"class", "probabilities"} of each row, from probabilities (N, K) and the names of each row's classes."""
    listed = list(names)
    best = numbers.argmax(1).tolist()
    shown = probabilities(listed, numbers, options)
    return [
        {"class": of_row[top], "probabilities": by_name}
        for top, of_row, by_name in zip(best, listed, shown, strict=True)
    ]


def probabilities(
    names: Iterable[Sequence[str]], numbers: Numbers, options: AnswerOptions
) -> Iterable[dict[str, float]]:
    """Return the probabilities (N, K) of each row by its names; the `top_k` highest come in descending order."""
    if options.top_k is None:
        shown = rounded(numbers, options.digits, PROBABILITY_DIGITS).tolist()
        return map(dict, map(zip, names, shown))  # a tenth of a request's time is spent here: no loop
    order = np.argsort(-numbers, axis=1, kind="stable")[:, : options.top_k]  # of equal ones the first, as argmax does
    shown = rounded(np.take_along_axis(numbers, order, 1), options.digits, PROBABILITY_DIGITS).tolist()
    return (
        {of_row[place]: number for place, number in zip(*row, strict=True)}
        for of_row, *row in zip(names, order.tolist(), shown, strict=True)
    )


def feature_rows(features: NDArray[np.float32], digits: int | None = None) -> list[list[float]]:
    """Return finite features (N, F) as lists; by default with as many digits as it takes to read them back exactly."""
    return rounded(features.astype(np.float64), digits, FEATURE_DIGITS).tolist()  # type: ignore[no-any-return]


def rounded(numbers: Numbers, digits: int | None, enough: int) -> Numbers:
    """Round finite numbers to so many significant digits.

    None: to as many as are enough, or one more where that is quicker to compute.
    """
    return _rounded_quickly(numbers, enough) if digits is None else significant(numbers, digits)


def significant(numbers: Numbers, digits: int) -> Numbers:
    """Round finite numbers to so many significant digits; their shortest decimals have no more."""
    if digits >= MAX_DIGITS or not numbers.size:
        return numbers
    with np.errstate(divide="ignore"):
        exponents = (digits - 1) - np.floor(np.log10(np.abs(numbers)))  # infinite for 0
    usual = np.clip(exponents, 0, _MAX_EXPONENT)
    scales = _EXACT_POWERS[usual.astype(np.intp)]
    result: Numbers = np.rint(numbers * scales) / scales  # a quotient of exact numbers
    for place in zip(*np.nonzero((exponents != usual) & (numbers != 0)), strict=True):
        short = float(f"{numbers[place]:.{digits}g}")  # it is too large or too small for an exact power
        result[place] = short if math.isfinite(short) else numbers[place]
    return result


def _rounded_quickly(numbers: Numbers, digits: int) -> Numbers:
    # Six calls, since those of NumPy are what costs: the scale follows from the sign and exponent of a number's bits.
    scales = _scales(digits).take(np.right_shift(numbers.view(np.uint64), _MANTISSA_BITS))
    result = numbers * scales
    np.rint(result, result)
    result /= scales
    return result


@cache
def _scales(digits: int) -> Numbers:
    """Return the power of ten by which the least number of each sign and binary exponent has so many digits (4096,)."""
    least = [math.floor((exponent - 1023) * math.log10(2)) for exponent in range(2048)]  # 1023: the bias of float64
    return np.array([float(f"1e{min(digits - 1 - decimal, _MAX_POWER)}") for decimal in least] * 2)


def to_unit(numbers: Numbers, units: Numbers) -> Numbers:
    """Round numbers (N, K) to decimals that are at most a ten millionth of the units (K,)."""
    with np.errstate(over="ignore", divide="ignore"):
        decimals = np.ceil(PROBABILITY_DIGITS - np.log10(units))
        scales = _EXACT_POWERS[np.clip(decimals, 0, _MAX_EXPONENT).astype(np.intp)]
        rounded = np.rint(numbers * scales) / scales
    # Where the unit is too small for an exact power, or the number too large for the scale, all digits stay.
    return np.where((decimals <= _MAX_EXPONENT) & np.isfinite(rounded), rounded, numbers)


def answer_rows(answers: Mapping[str, Answers], count: int, options: AnswerOptions = USUAL) -> list[dict[str, Any]]:
    """Return {head key: JSON} for each of `count` rows, from the answers of heads to them."""
    rows = {key: of_head.rows(options) for key, of_head in answers.items()}
    return [{key: rows[key][row] for key in rows} for row in range(count)]
