"""The resources /v1/admin: what administrators see and do of all projects."""

from collections.abc import Iterator
from typing import Unpack

from graftwork import answers, requests
from graftwork._sync.transport import Transport


class Admin:
    """Sees and controls the jobs of all projects, and limits projects: /v1/admin."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def jobs(self, **filters: Unpack[requests.AllJobsFilters]) -> Iterator[answers.JobOfProject]:
        """Yield the jobs of all projects, newest first."""
        for job in self._transport.items(answers.JobOfProject, "GET /v1/admin/jobs", filters):
            yield job

    def job(self, job_id: str) -> answers.JobOfProject:
        """Return a job of any project."""
        return self._transport.ask(answers.JobOfProject, "GET /v1/admin/jobs/{job_id}", job_id)

    def set_urgency(self, job_id: str, urgency: int) -> answers.JobOfProject:
        """Let a job start before (or after) the jobs of all projects; 0: its project waits for its turn."""
        route = "PATCH /v1/admin/jobs/{job_id}"
        return self._transport.ask(answers.JobOfProject, route, job_id, json={"urgency": urgency})

    def cancel(self, job_id: str) -> answers.JobOfProject:
        """Cancel a job of any project."""
        return self._transport.ask(answers.JobOfProject, "POST /v1/admin/jobs/{job_id}/cancel", job_id)

    def pause(self, job_id: str) -> answers.JobOfProject:
        """Pause a job of any project."""
        return self._transport.ask(answers.JobOfProject, "POST /v1/admin/jobs/{job_id}/pause", job_id)

    def resume(self, job_id: str) -> answers.JobOfProject:
        """Queue a paused job of any project again."""
        return self._transport.ask(answers.JobOfProject, "POST /v1/admin/jobs/{job_id}/resume", job_id)

    def projects(self, **filters: Unpack[requests.ProjectFilters]) -> Iterator[answers.Project]:
        """Yield the projects with their limits and what they use."""
        for project in self._transport.items(answers.Project, "GET /v1/admin/projects", filters):
            yield project

    def limit_project(self, **fields: Unpack[requests.ProjectRequest]) -> answers.Project:
        """Change the limits of a project; what is left out stays, None is the service's default."""
        return self._transport.ask(answers.Project, "PATCH /v1/admin/projects", json=fields)
