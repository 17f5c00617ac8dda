"""What a job asks of the cache of shards, and what is refused with the remedy."""

from pathlib import Path

import pytest

from app.artifacts.local import LocalArtifacts
from app.datasets.shard_cache import ShardCache
from app.jobs.repository import JobRow
from app.ml.errors import ConfigError
from worker.attempt import job_inputs

SHARDS = {f"inputs-{number:05}.npy": {"sha256": str(number), "bytes": 100} for number in range(20)}


@pytest.mark.parametrize(
    ("devices", "nodes", "max_bytes", "loc", "remedy"),
    [
        (2, 1, 1900, ("resources", "devices"), "train on one device, or raise the setting"),
        (1, 3, 1900, ("resources", "nodes"), "train on one device, or raise the setting"),
        (1, 1, 899, ("dataset",), "raise that setting to 900"),
    ],
)
def test_what_the_cache_is_too_small_for_is_refused(
    devices: int, nodes: int, max_bytes: int, loc: tuple[str, ...], remedy: str, tmp_path: Path
) -> None:
    cache = ShardCache(LocalArtifacts(tmp_path), SHARDS, tmp_path / "shards", max_bytes)
    job = JobRow(devices=devices, nodes=nodes)
    with pytest.raises(ConfigError, match=remedy) as caught:
        job_inputs._check_cache(job, cache, max_bytes)
    assert caught.value.loc == loc
    job_inputs._check_cache(JobRow(devices=1, nodes=1), cache, 900)
