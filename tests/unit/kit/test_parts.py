"""When several processes share work in parts."""

from app.kit.parts import Processes

SIZES = (24, 25, 99, 100)


def double(number: int) -> int:
    return 2 * number


def test_a_quarter_of_the_work_is_worth_processes_that_run_already() -> None:
    with Processes(2) as processes:
        assert [processes.are_worth(size, 100) for size in SIZES] == [False, False, False, True]
        assert list(processes.map(double, SIZES)) == [2 * size for size in SIZES]
        assert [processes.are_worth(size, 100) for size in SIZES] == [False, True, True, True]


def test_one_process_shares_nothing() -> None:
    assert not Processes(1).are_worth(100, 100)
