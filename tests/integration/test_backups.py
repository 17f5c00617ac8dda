"""A backup of a service that goes on writing: every file that the copied database names is in the copy."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.artifacts import fetch_blob, open_store
from app.cli.backup import backup
from app.db.session import Database
from app.db.tables import DatasetRow, ModelRow
from app.dependencies import Services
from app.settings import Settings
from tests.integration.jobs.test_job_life import upload
from tests.support.http import Http
from tests.support.models import add_model


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_copied_database_names_no_file_that_is_not_in_the_copy(
    client: Http,
    services: Services,
    settings: Settings,
    project_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Models are registered just before the files are copied and just after: files first, then the row, as always."""
    upload(client, settings, "a,b\n" + "".join(f"{n},{n * n}\n" for n in range(40)))
    add_model(services, project_id, "before")
    copytree, begun = shutil.copytree, False

    def copied_while_others_write(*arguments: Any, **options: Any) -> Any:
        nonlocal begun
        if begun:  # a folder within
            return copytree(*arguments, **options)
        begun = True
        add_model(services, project_id, "just-before", seed=1)
        result = copytree(*arguments, **options)
        add_model(services, project_id, "just-after", seed=2)
        return result

    monkeypatch.setattr(shutil, "copytree", copied_while_others_write)
    backup(settings, tmp_path / "copy")
    assert begun
    copied = Settings(data=tmp_path / "copy")
    database, store = Database(copied.sql_url), open_store(copied)
    with database.reading() as session:
        models, datasets = list(session.scalars(select(ModelRow))), list(session.scalars(select(DatasetRow)))
    database.close()
    assert {"before"} <= {row.name for row in models}
    assert len(datasets) == 1
    for row in (*models, *datasets):
        assert row.files
        for blob in row.files.values():
            assert fetch_blob(store, blob["sha256"]).stat().st_size == blob["bytes"]
