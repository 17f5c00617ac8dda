"""Files of a job: its results, or its curves as they are kept. They stay until the job is deleted."""

from app.dependencies import Services
from app.errors import NotFoundError
from app.jobs import service
from app.jobs.schemas import JobFile, JobFileList


def index(state: Services, project_id: str, job_id: str) -> JobFileList:
    """List the files of a job."""
    with state.database.reading() as session:
        files = service.find(session, project_id, job_id).files or {}
    return JobFileList(
        data=[
            JobFile(name=name, bytes=blob["bytes"], sha256=blob["sha256"], link=f"/v1/jobs/{job_id}/files/{name}")
            for name, blob in files.items()
        ]
    )


def sha256_of(state: Services, project_id: str, job_id: str, name: str) -> str:
    """Return the sha256 of one file of a job.

    Raises:
        NotFoundError: the job has no such file, or not yet.
    """
    with state.database.reading() as session:
        files = service.find(session, project_id, job_id).files or {}
    if name not in files:
        msg = f"This job has the files {', '.join(sorted(files))}." if files else "This job has no files (yet)."
        raise NotFoundError(msg, code="file_not_found")
    sha256: str = files[name]["sha256"]
    return sha256
