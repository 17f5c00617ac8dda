"""The chaos suite as CI runs it: smaller than `make chaos`, a seed on each database."""

from pathlib import Path

import pytest

from tests.chaos.run import run

JOBS, SECONDS = 20, 25


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("database", "seed"), [("sqlite", 1), ("postgresql", 2)])
def test_no_rule_is_violated(tmp_path: Path, database: str, seed: int) -> None:
    outcome = run(tmp_path, database, seed, JOBS, SECONDS)
    assert outcome.violations == [], outcome.figures
    assert outcome.figures["faults"], "nothing happened"
