"""Loads models before they are asked for: those that the operator pins, and what references in use come to mean.

What a reference means may change any time, in another process, too; then the new version is loaded before the old one
may go, and no request waits for it.
"""

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from app.db.session import Database
from app.dependencies import Services
from app.errors import GraftworkError
from app.predictions.resolution import ResolvedModel, follow, load, refresh, resolve
from app.projects import repository as projects

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.4
_RETRY_SECONDS = 5.0
_STOP_SECONDS = 5.0


class Preloading:
    """A thread that loads and pins the models of `pinned_models`, each `project/reference`, and follows references.

    It asks the database for nothing where no model is pinned, and none was asked for lately.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._references = services.settings.pinned_models
        self._seen: int | None = None  # the generation of references at which all was loaded
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preloading", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, soon after what is being loaded."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            wait = _LOOK_SECONDS
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("models are loaded ahead once the database answers: %s", type(error).__name__)
                wait = _RETRY_SECONDS
            except Exception:
                log.exception("models were not loaded ahead; this is tried again in a moment")
                wait = _RETRY_SECONDS

    def look(self) -> None:
        """Load what is to be in memory and is not, where the registry has changed."""
        references = self._services.engine.references
        if not self._references and not references.are_used:
            return
        refresh(self._services, early=True)
        follow(self._services)
        generation = references.generation
        if generation != self._seen:
            self.load_all()
        self._seen = generation

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
