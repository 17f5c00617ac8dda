"""`graftwork weights`: brings published weights that are on this machine into a project, each once."""

import os
import sys

from app.artifacts import open_store
from app.cli.database import exit_unless_usable
from app.cli.keys import PROJECT
from app.db.session import Database
from app.errors import GraftworkError
from app.keys import repository as projects
from app.models import service
from app.models.importing import SourceRequest, bring_in
from app.models.published import PUBLISHED, find
from app.settings import Settings

_NICENESS = 10  # whoever serves or trains comes first


def run(project: str = PROJECT) -> None:
    """Bring in what is here and has never been in the project; print each model."""
    os.nice(_NICENESS)
    settings = Settings()
    exit_unless_usable(settings)
    for line in bring_in_all(settings, project):
        print(line, flush=True)


def bring_in_all(settings: Settings, project: str) -> list[str]:
    """Bring in all weights that are here, but those that the project has had: who deletes a model does not want it."""
    database, artifacts = Database(settings.sql_url), open_store(settings)
    lines = []
    try:
        project_id = database.transact(lambda session: projects.ensure_project(session, project))
        for weights in PUBLISHED:
            with database.reading() as session:
                is_known = service.was_brought_in(session, project_id, weights.source)
            if is_known or find(weights, settings.weights_folder) is None:
                continue
            request = SourceRequest.model_validate({"source": weights.source})
            try:
                model, _ = bring_in(database, artifacts, settings, project_id, request)
            except GraftworkError as error:
                print(f"graftwork weights: {error.detail}", file=sys.stderr, flush=True)
                continue
            lines.append(f"{weights.title} ({weights.licence}) is the model {model.name}@{model.version}.")
    finally:
        database.close()
    return lines
