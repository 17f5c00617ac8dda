"""Loads models before they are asked for: those that the operator pins, and what references in use come to mean.

What a reference means may change any time, in another process, too; then the new version is loaded before the old one
may go, and no request waits for it.
"""

import logging

from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.dependencies import Services
from app.errors import GraftworkError
from app.predictions.resolution import ResolvedModel, follow, load, refresh, resolve
from app.projects import repository as projects

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.4
_RETRY_SECONDS = 5.0


class Preloading(PeriodicThread):
    """A thread that loads and pins the models of `pinned_models`, each `project/reference`, and follows references.

    It asks the database for nothing where no model is pinned, and none was asked for lately.
    """

    def __init__(self, services: Services) -> None:
        super().__init__("preloading", _LOOK_SECONDS, first=0.0, retry=_RETRY_SECONDS)
        self._services = services
        self._references = services.settings.pinned_models
        self._seen: int | None = None  # the generation of references at which all was loaded

    def act(self) -> None:
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
