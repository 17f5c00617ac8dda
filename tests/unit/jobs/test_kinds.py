"""What every kind of job says of itself."""

import re

import pytest

from app.errors import ConflictError
from app.jobs.interface import ExtendRequest, JobKind
from app.jobs.kinds import KINDS

CANNOT_GO_ON = [kind for kind in KINDS.values() if kind.cannot_extend is not None]


@pytest.mark.parametrize("kind", CANNOT_GO_ON)
def test_a_kind_that_cannot_go_on_refuses(kind: type[JobKind]) -> None:
    with pytest.raises(ConflictError, match=re.escape(str(kind.cannot_extend))):
        kind.extended({}, ExtendRequest(steps=1))


def test_trainings_alone_can_go_on() -> None:
    assert sorted(KINDS.keys() - {name for name, kind in KINDS.items() if kind in CANNOT_GO_ON}) == [
        "fine_tuning",
        "pretraining",
    ]
