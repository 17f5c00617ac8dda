"""Preprocessing as modules computes what the modalities' `encode` computes."""

import numpy as np
import pytest
import torch

from app.ml.data.date_parts import PARTS
from app.ml.interfaces import Modality, Rows
from app.ml.kinds.modalities.columns import CategoryColumn, DateColumn, NumberColumn
from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.series import Channel, SeriesModality
from app.ml.kinds.modalities.table import TableModality

COLUMNS = (
    CategoryColumn(name="a", categories=("x", "y", "z"), unseen=(1,), had_missing=True),
    NumberColumn(name="b", mean=5.0, std=2.0, had_missing=True),
    DateColumn(name="c", mean=1e4, std=100.0, timed=True, had_missing=True),
    NumberColumn(name="d", mean=-1e9, std=1e-3),
    CategoryColumn(name="e", categories=("no", "yes"), unseen=(0,)),
    DateColumn(name="f", mean=-3e4, std=1.0),
    CategoryColumn(name="g", categories=()),
    DateColumn(name="h", mean=1e4, std=100.0, parts=PARTS, had_missing=True),
    DateColumn(name="i", parts=("day_of_month",)),
    DateColumn(name="j", parts=()),
)


def table_rows(count: int) -> Rows:
    random = np.random.default_rng(0)
    rows = np.stack(
        [
            random.integers(-1, 4, count),  # -1 and 3 are no codes
            random.normal(5, 2, count),
            random.uniform(-4e4, 4e4, count),
            random.normal(-1e9, 1e3, count),
            random.integers(0, 2, count),
            np.floor(random.uniform(-4e4, 4e4, count)),
            np.full(count, np.nan),
            *random.uniform(-7e5, 2.9e6, (3, count)),
        ],
        axis=1,
    )
    return np.where(random.random(rows.shape) < 0.2, np.nan, rows)


def series_rows(count: int) -> Rows:
    random = np.random.default_rng(1)
    rows = random.normal(3, 2, (count, 6, 2))
    rows[0] = 7.0  # a constant
    rows[1, 3:] = np.nan
    rows[2, 2, 1] = np.nan
    rows[3, 0, 0] = 1e12
    rows[4] = np.nan
    return rows


CHANNELS = (Channel(name="l", mean=3.0, std=2.0), Channel(name="r", mean=-1.0, std=0.5))
CASES: dict[str, tuple[Modality, Rows]] = {
    "table": (TableModality(columns=COLUMNS), table_rows(200)),
    "numbers": (TableModality(columns=COLUMNS[1:2]), table_rows(9)[:, 1:2]),
    "categories": (TableModality(columns=COLUMNS[4:5]), table_rows(9)[:, 4:5]),
    "series": (SeriesModality(steps=6, channels=CHANNELS), series_rows(20)),
    "series by themselves": (SeriesModality(steps=6, channels=CHANNELS, scaling="series"), series_rows(20)),
    "images": (
        ImageModality(height=3, width=4, channels=2),
        np.random.default_rng(2).integers(0, 256, (5, 3, 4, 2), dtype=np.uint8),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_module_encodes_as_its_modality(case: str) -> None:
    modality, rows = CASES[case]
    encoded = modality.encoder()(modality.export_rows(rows))
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, modality.encode(rows), rtol=1e-6, atol=2e-6)
