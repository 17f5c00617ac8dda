"""Keeps the models in memory that the operator names, from the start on: their first request waits for no loading.

What a reference means may change any time; then the new version is loaded before the old one may go.
"""

import logging
import threading

from app.db.session import Database
from app.dependencies import Services
from app.errors import GraftworkError
from app.predictions.resolution import ResolvedModel, load, refresh, resolve
from app.projects import repository as projects

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 5.0


class Pins:
    """A thread that loads and pins the models of `pinned_models`, each `project/reference`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._references = services.settings.pinned_models
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pins", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._references:
            self._thread.start()

    def stop(self) -> None:
        """End, soon after what is being loaded."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        seen: int | None = None
        while True:
            try:
                refresh(self._services)
                generation = self._services.engine.references.generation
                if generation != seen:
                    self.load_all()
                seen = generation
            except Exception:
                log.exception("pinned models were not looked at; they are again in a moment")
            if self._stop.wait(_LOOK_SECONDS):
                return

    def load_all(self) -> None:
        """Load what the references mean now, and let go what they meant before; what cannot be loaded is logged."""
        models = []
        for reference in self._references:
            try:
                model = _resolve(self._services, reference)
                load(self._services, model)
            except GraftworkError as error:
                log.warning("%s is to stay in memory and cannot be loaded: %s", reference, error.detail)
            else:
                models.append(model)
        self._services.engine.pin(model.name.id for model in models)


def _resolve(services: Services, reference: str) -> ResolvedModel:
    project, _, ref = reference.partition("/")
    return resolve(services, _project_id(services.database, project), ref)


def _project_id(database: Database, name: str) -> str:
    with database.reading() as session:
        project = projects.find(session, name)
        return "" if project is None else project.id
