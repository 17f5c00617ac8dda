"""Series: standardised in float64, so that a high level costs no digit of the waves upon it."""

import numpy as np
import pytest

from app.ml.errors import InputError
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.series import SeriesModality
from app.ml.kinds.preprocessing.series import SeriesPreprocessing
from app.ml.spec import ColumnSpec, DataSpec, WarningCode

LEVEL = 1.7e9
STEPS = np.arange(40)
WAVES = 10 * np.sin(STEPS / (2 + np.arange(30)[:, None] % 3))[:, :, None]
SPEC = DataSpec(modality="series", shape=(40, 1), columns=(ColumnSpec(name="x", type="number"),), rows={"train": 30})


@pytest.mark.parametrize("scaling", ["channel", "series"])
def test_waves_upon_a_high_level_are_seen(scaling: str) -> None:
    chosen = SeriesPreprocessing.model_validate({"kind": "series", "scaling": scaling})
    high, low = (SeriesModality.fit(WAVES + level, SPEC, chosen) for level in (LEVEL, 0))
    encoded = high.encode(high.decode((WAVES + LEVEL)[:, :, 0].tolist())).numpy()
    np.testing.assert_allclose(encoded, low.encode(WAVES).numpy(), atol=1e-5)
    assert encoded[:, 0].std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scaling", ["channel", "series"])
def test_a_constant_is_not_blown_up(scaling: str) -> None:
    chosen = SeriesPreprocessing.model_validate({"kind": "series", "scaling": scaling})
    constant = np.full(WAVES.shape, 0.1 + 0.2)
    modality = SeriesModality.fit(constant, SPEC, chosen)
    assert np.abs(modality.encode(constant).numpy()[:, 0]).max() < 1e-6


def test_where_lengths_differ_a_longer_series_is_read_in_part_and_that_is_said() -> None:
    rows = WAVES.copy()
    rows[3, 30:] = np.nan
    modality = SeriesModality.fit(rows, SPEC)
    assert modality.signature().steps == 80
    longer = [float(step % 7) for step in range(80)]
    doubts = Doubts()
    read = modality.decode([longer[:40], longer], doubts)
    assert read[0].tolist() == read[1].tolist()
    (warning,) = doubts.warnings()
    assert (warning.code, warning.rows) == (WarningCode.SERIES_TRUNCATED, (1,))
    assert "the first 40 steps alone" in warning.message
    with pytest.raises(InputError, match="81 steps; the model takes at most 80"):
        modality.decode([[*longer, 1.0]])


def test_where_all_have_one_length_a_longer_series_is_refused() -> None:
    """So it is where an earlier release did not keep whether they have."""
    earlier = SeriesModality.model_validate(SeriesModality.fit(WAVES, SPEC).model_dump(exclude={"unequal"}))
    for modality in (SeriesModality.fit(WAVES, SPEC), earlier):
        assert modality.signature().steps == 40
        with pytest.raises(InputError, match="41 steps; the model takes at most 40"):
            modality.decode([[1.0] * 41])
