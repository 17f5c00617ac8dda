"""What a project may use: of the queue, of time, of disk and of rows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLimits:
    """The limits of a project; 0 is none. Those of a project's row come before the service's."""

    max_running_jobs: int = 0
    job_seconds: float = 0.0
    quota_bytes: int = 0
    quota_rows: int = 0
    grace_seconds: float = 0.0  # for which files of deleted rows stay; the service's alone
    patience_seconds: float = 0.0  # after which a job that waits comes before turns; the service's alone
