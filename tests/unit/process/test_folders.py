"""An attempt clears what earlier ones left, and nothing of a later one, which may be at work already."""

from pathlib import Path

from app.jobs.attempts import Lease, folder_name
from worker.process.runner import _fresh_folder


def test_only_earlier_attempts_are_cleared(tmp_path: Path) -> None:
    lease = Lease(job_id="job_a", token=2, attempt=1)
    for name in [*(folder_name("job_a", token) for token in (1, 2, 3)), folder_name("job_b", 1)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").touch()
    folder = _fresh_folder(tmp_path / folder_name("job_a", 2), lease)
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job_a-t2", "job_a-t3", "job_b-t1"]
    assert (tmp_path / "job_a-t3" / "state").exists()
