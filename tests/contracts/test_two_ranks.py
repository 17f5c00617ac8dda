"""Every registered kind on two ranks: the losses and weights of one process, or a refusal that says why.

One pair of processes runs all trainings, so that torch starts twice and not for each kind.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.contracts.sharing_cases import CASES
from tests.contracts.two_ranks import RANKS

pytestmark = pytest.mark.slow  # torch starts twice, and 116 trainings run three times each

SHARDING = ("replicate", "shard")
_TOLERANCE = 1e-4
_HANGS = 600  # seconds


@pytest.fixture(scope="module")
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """What both ranks answered to each case that was selected, by its name and how weights were held."""
    folder = tmp_path_factory.mktemp("ranks")
    names = {item.name for item in request.session.items}
    selected = [
        (name, sharding)
        for name in CASES
        for sharding in SHARDING
        if any(item.endswith(f"learns[{name}-{sharding}]") for item in names)
    ]
    (folder / "cases.json").write_text(json.dumps(selected))
    command = [sys.executable, "-m", "tests.contracts.two_ranks", str(folder)]
    ranks = [subprocess.Popen([*command, str(rank)]) for rank in range(RANKS)]
    try:
        assert [rank.wait(_HANGS) for rank in ranks] == [0] * RANKS
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return dict(zip(selected, json.loads((folder / "answers.json").read_text()), strict=True))


@pytest.mark.parametrize("sharding", SHARDING)
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_learn_what_one_process_learns(
    name: str, sharding: str, answers: dict[tuple[str, str], dict[str, Any]]
) -> None:
    answer = answers[name, sharding]
    assert "error" not in answer, answer["error"]
    if "refused" in answer:
        assert CASES[name].run().plan.solves, "only what takes no steps is refused"
        assert answer["refused"].startswith("resources.devices: ")
        return
    for reported, (shared, alone) in answer["losses"].items():
        np.testing.assert_allclose(shared, alone, rtol=_TOLERANCE, atol=_TOLERANCE / 10, err_msg=reported)
    assert answer["difference"] < _TOLERANCE
    assert answer["relative"] < 10 * _TOLERANCE, "to how far the weights have moved"


def test_a_batch_of_one_row_leaves_a_rank_without_rows() -> None:
    """What the cases are made for: uneven shards, and a last batch that is too small for both ranks."""
    for name in ("methods-vae-image", "options-batch_norm", "options-class_weights"):
        plan = CASES[name].run().plan
        assert plan.batch_size % RANKS == 1
        assert plan.rows % plan.batch_size == 1
