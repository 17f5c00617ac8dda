"""Progress bars on a terminal: a bar a job, with its state, step, loss and the time that is left."""

from graftwork.answer import Answer
from graftwork.progress import ENDED, duration


class ProgressBars:
    """Draws how far jobs are, each on a line of its own, over and over.

    `console` is rich's; by default standard error.
    """

    def __init__(self, console: object = None) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich is for terminals alone
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415 - the same

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console if isinstance(console, Console) else Console(stderr=True),
        )
        self._tasks: dict[str, object] = {}

    def __call__(self, job: Answer) -> None:
        """Draw the state of a job."""
        if job["id"] not in self._tasks:
            self._progress.start()
            name = "".join(letter if letter.isprintable() else " " for letter in job.get("name") or job["id"])
            self._tasks[job["id"]] = self._progress.add_task(f"{job.get('kind') or 'job'} {name}", total=1, facts="")
        succeeded = job["status"] == "succeeded"
        share = 1 if succeeded else (job.get("progress") or {}).get("fraction", 0)
        self._progress.update(self._tasks[job["id"]], completed=share, facts=facts_of(job))  # type: ignore[arg-type]
        if job["status"] in ENDED:
            self.stop()

    def stop(self) -> None:
        """Draw the last state, and give the terminal back."""
        self._progress.stop()


def facts_of(job: Answer) -> str:
    """Return what is known of a job besides its share: state, place in the queue, step, loss and remaining time."""
    progress = job.get("progress") or {}
    if job["status"] == "queued" and job.get("queue_position"):
        return f"queued at place {job['queue_position']}"
    facts = [job["status"]]
    if job["status"] == "running":
        facts = [job.get("phase") or "running"]
        if progress:
            facts.append(f"step {progress['step']} of {progress['total_steps']}")
    if progress.get("loss") is not None:
        facts.append(f"loss {progress['loss']:.4g}")
    if job["status"] == "running" and progress.get("eta_seconds") is not None:
        facts.append(f"{duration(progress['eta_seconds'])} left")
    return ", ".join(facts)
