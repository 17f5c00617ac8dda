"""What a client is told of a job: what it made, how far it has come, and how its attempts ended."""

from graftwork import Graftwork
from tests.support.servers import HANGS


def made(graftwork: Graftwork, job: str, timeout: float = HANGS) -> dict[str, str]:
    """The weights of a job's one model once it has succeeded: the digest of each file of tensors, by name."""
    (output,) = graftwork.jobs.wait(job, timeout=timeout)["outputs"]
    files = graftwork.models.get(output["model"])["files"]
    return {
        file["name"]: file["sha256"] for file in files if file["name"] in ("backbone.safetensors", "heads.safetensors")
    }


def weights(graftwork: Graftwork, job: str, timeout: float = HANGS) -> str:
    """The digest of its backbone."""
    return made(graftwork, job, timeout)["backbone.safetensors"]


def step_of(graftwork: Graftwork, job: str) -> int:
    return int((graftwork.jobs.get(job)["progress"] or {"step": 0})["step"])


def endings(graftwork: Graftwork, job: str) -> list[tuple[str | None, bool]]:
    """How each attempt ended, and whether it is charged."""
    return [(attempt["ending"], attempt["charged"]) for attempt in graftwork.jobs.attempts(job)]


def workers_of(graftwork: Graftwork, job: str) -> list[str]:
    """Whose each attempt was."""
    return [attempt["worker"] for attempt in graftwork.jobs.attempts(job)]


def began_at(graftwork: Graftwork, job: str) -> list[int]:
    """The step that each of its trainings began at or went on from."""
    return [event["data"]["step"] for event in graftwork.jobs.events(job) if event["type"] == "job.running"]
