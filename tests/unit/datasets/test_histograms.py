"""The histogram of a profile: counts of numbers and dates in equal parts of their range."""

import numpy as np

from app.datasets.columns.profiles import HISTOGRAM_BINS
from app.datasets.report import Report
from tests.unit.datasets.conftest import Preparer


def column(values: list[object]) -> str:
    return "x,label\n" + "".join(f"{value},{'ab'[row % 2]}\n" for row, value in enumerate(values))


def test_the_counts_are_those_of_numpy(make: Preparer) -> None:
    values = np.random.default_rng(0).normal(size=500).round(4)
    (profile,) = make(column(values.tolist())).report.columns
    assert list(profile.histogram) == np.histogram(values, bins=HISTOGRAM_BINS)[0].tolist()


def test_the_largest_value_is_counted(make: Preparer) -> None:
    (profile,) = make(column([3e38 if row % 3 else -3e38 for row in range(60)])).report.columns
    assert len(profile.histogram) == HISTOGRAM_BINS
    assert (profile.histogram[0], profile.histogram[-1], sum(profile.histogram)) == (20, 40, 60)


def test_categories_have_no_histogram(make: Preparer) -> None:
    report = make(column(["red", "blue", "green"] * 20)).report
    assert {profile.histogram for profile in (*report.columns, *report.targets)} == {()}


def test_a_report_without_histograms_is_read(make: Preparer) -> None:
    report = make(column(list(range(40)))).report.model_dump(mode="json")
    for profile in (*report["columns"], *report["targets"]):
        del profile["histogram"]
    old = Report.model_validate(report)
    assert {profile.histogram for profile in (*old.columns, *old.targets)} == {()}
