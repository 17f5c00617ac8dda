"""Parts of dates: places in month, week, day and year, held to Python's calendar; and what models make of them."""

import calendar
import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.data.date_parts import PLACES, varying_parts
from app.ml.data.dates import to_iso
from app.ml.interfaces import Rows
from app.ml.kinds.modalities.columns import DateColumn
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import ColumnSpec, DataSpec, TargetSpec
from worker.training.run import prepare

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DATE = ColumnSpec(name="at", type="date")


@given(st.dates(), st.integers(0, 86_399))
def test_places_are_those_of_the_calendar(moment: dt.date, second: int) -> None:
    days = np.array([(moment - EPOCH.date()).days + second / 86_400])
    of_day = second / 86_400
    length = 28 if moment.month == 2 else calendar.monthrange(moment.year, moment.month)[1]
    expected = {
        "weekday": (moment.weekday() + 4) % 7 / 7,  # 1970-01-01 was a Thursday
        "hour": of_day,
        "day_of_month": (moment.day - 1 + of_day) / length,  # a leap day goes on to March
    }
    for part, place in expected.items():
        assert PLACES[part](days, np.floor)[0] == pytest.approx(place, abs=2e-6), part
        assert PLACES[part](torch.from_numpy(days), torch.floor).item() == PLACES[part](days, np.floor)[0]


def test_what_never_differs_is_no_part() -> None:
    mondays = np.arange(4, 400, 7.0)  # 1970-01-05 on, at midnight
    assert varying_parts(mondays) == ("month", "day_of_month")
    assert varying_parts(mondays + 0.5) == ("month", "day_of_month")
    assert varying_parts(np.append(mondays, [np.nan, 18.25])) == ("month", "hour", "day_of_month")
    first_days = np.array([0.0, 31, 59, 90])
    assert varying_parts(first_days) == ("month", "weekday")
    assert varying_parts(np.array([np.nan, 3.5])) == varying_parts(np.empty(0)) == ()


def features(days: Rows, **column: Any) -> Rows:
    return TableModality(columns=(DateColumn(name="at", mean=19_000, std=1e9, **column),)).encode(days[:, None]).numpy()


def test_december_is_near_january_and_the_night_near_itself() -> None:
    moments = ("2023-12-31T23:30Z", "2024-01-01T00:30Z", "2023-07-16T12:00Z")
    days = np.array([(dt.datetime.fromisoformat(moment) - EPOCH) / dt.timedelta(days=1) for moment in moments])
    for part in ("month", "hour", "day_of_month"):
        last, first, other = features(days, parts=(part,))
        assert np.linalg.norm(last - first) < 0.6, part
        assert np.linalg.norm(last - other) > 1.5, part


def test_a_linear_model_gives_each_weekday_its_own_value() -> None:
    week = features(np.arange(19_000.25, 19_007), parts=("weekday",))
    assert week.shape == (7, 7)
    assert np.linalg.matrix_rank(week[:, 1:].astype(float) - week[:, 1:].mean(0)) == 6
    np.testing.assert_allclose(week, features(np.arange(19_000.75, 19_007), parts=("weekday",)), atol=1e-5)


def test_models_and_datasets_of_earlier_releases_keep_their_features() -> None:
    saved = '{"type": "date", "name": "at", "mean": 19000, "std": 100, "timed": true}'
    column = DateColumn.model_validate_json(saved)
    days = np.array([19_010.25])
    year, week = 2 * math.pi * (days[0] % 365.2425) / 365.2425, 2 * math.pi * (days[0] % 7) / 7
    expected = [0.1025, math.sin(year), math.cos(year), math.sin(week), math.cos(week), 1, 0]
    encoded = TableModality(columns=(column,)).encode(days[:, None])
    assert encoded[0].tolist() == pytest.approx(expected, abs=1e-6)
    old = ColumnSpec.model_validate_json('{"name": "at", "type": "date"}')
    spec = DataSpec(modality="table", shape=(1,), columns=(old,), rows={"train": 1})
    assert TableModality.fit(days[:, None], spec).shape == (7,)
    alone = TableModality.fit(days[:, None], spec, TablePreprocessing(dates="time"))
    assert alone.shape == (1,)


EFFECTS = {
    "weekday": lambda days: np.array([0.0, 2, -1, 1, -2, 3, 0])[(np.floor(days) % 7).astype(int)],
    "hour": lambda days: (
        np.where(np.abs(days % 1 * 24 - 8) < 2, 3.0, 0) + np.where(np.abs(days % 1 * 24 - 18) < 2, 3, 0)
    ),
    "day_of_month": lambda days: np.array([4.0 if int(to_iso(np.floor(day))[-2:]) > 26 else 0.0 for day in days]),
}


def by_days(effect: str) -> ArrayData:
    """Moments of two years, and a number that depends on one of their parts; 300 train rows, and 300 to test."""
    random = np.random.default_rng(0)
    days = np.floor(19_000 + random.uniform(0, 730, 600)) + (random.random(600) if effect == "hour" else 0)
    numbers = EFFECTS[effect](days) + random.normal(size=600) / 2
    rows: Any = {"train": 300, "validation": 0, "test": 300}
    spec = DataSpec(
        modality="table",
        shape=(1,),
        columns=(DATE.model_copy(update={"parts": varying_parts(days[:300])}),),
        targets=(TargetSpec(name="y", type="number"),),
        rows=rows,
        labelled={"y": rows},
    )
    return ArrayData(spec, days[:, None], numbers[:, None], np.repeat([0, 2], 300).astype(np.uint8))


def r2(data: ArrayData, dates: str, **head: Any) -> float:
    request = {
        "preprocessing": {"kind": "table", "dates": dates},
        "heads": [{"kind": "regressor", "target": "y", **head}],
        "backbone": {"kind": "raw"},
        "strategy": {"kind": "linear_probe"},
    }
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    list(run.train())
    evaluation = run.evaluate("test")
    assert evaluation is not None
    return float(evaluation.heads["y"]["r2"])


@pytest.mark.parametrize(("effect", "linear"), [("weekday", 0.8), ("hour", 0.3), ("day_of_month", 0.2)])
def test_what_depends_on_a_part_is_learned_from_it_and_not_from_the_time_alone(effect: str, linear: float) -> None:
    data = by_days(effect)
    assert r2(data, "time") < 0.1
    assert r2(data, "parts") > linear
    trees = {"estimator": {"kind": "boosted_trees"}}
    assert r2(data, "time", **trees) < 0.3
    assert r2(data, "parts", **trees) > 0.7
