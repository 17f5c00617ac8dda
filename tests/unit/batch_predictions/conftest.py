"""Files of rows."""

from pathlib import Path

import pytest

from tests.support.row_files import Reader


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)
