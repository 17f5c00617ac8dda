"""Models that are to stay in memory: loaded from the start on, and whatever their references come to mean."""

import logging
from pathlib import Path

import pytest

from app.db.session import Database
from app.db.tables import ProjectRow
from app.dependencies import Services
from app.main import create_app
from app.predictions.preloading import Preloading
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.servers import wait_until

pytestmark = pytest.mark.one_database


@pytest.fixture
def pinned(services: Services, project_id: str) -> Services:
    with services.database.reading() as session:
        name = session.get_one(ProjectRow, project_id).name
    settings = services.settings.model_copy(
        update={"pinned_models": [f"{name}/sizes@prod", f"{name}/none", "nobody/sizes"], "loaded_models": 1}
    )
    return Services(**{**services.__dict__, "settings": settings})


def test_what_is_pinned_is_loaded_by_itself_and_follows_its_alias(
    client: Http, pinned: Services, project_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (add_model(pinned, project_id, "sizes", seed=seed) for seed in range(2))
    client.put("/v1/models/sizes/aliases/prod", json={"model": first.id})
    for model in (first, second):
        pinned.engine.unload(model.id)
    preloading = Preloading(pinned)
    with caplog.at_level(logging.WARNING, "app.db.periodic"):
        preloading.start()
        wait_until(lambda: pinned.engine.loaded() == [first.id], "the pinned model is in memory")
        wait_until(lambda: "nobody/sizes" in caplog.text, "what cannot be loaded is logged")
    assert "/none" in caplog.text
    client.put("/v1/models/sizes/aliases/prod", json={"model": second.id})
    pinned.engine.unload(second.id)
    wait_until(lambda: second.id in pinned.engine.loaded(), "the new version is in memory")
    preloading.stop()
    assert not preloading._thread.is_alive()


def test_what_is_pinned_stays_whatever_else_is_asked_for(
    settings: Settings, services: Services, key: str, project_id: str
) -> None:
    pinned, others = (
        add_model(services, project_id, "sizes"),
        [add_model(services, project_id, "others", seed=seed) for seed in range(2)],
    )
    with services.database.reading() as session:
        name = session.get_one(ProjectRow, project_id).name
    few = settings.model_copy(update={"pinned_models": [f"{name}/sizes", f"{name}/none"], "loaded_models": 2})
    app = create_app(few, queue=MemoryQueue())
    preloading = Preloading(app.state.services)
    preloading.act()
    far = Http(app, key)
    for model in others:
        assert far.post(f"/v1/models/{model.id}/predictions", json={"inputs": [[1, 2, 3]]}).status_code == 200
    assert app.state.services.engine.loaded() == [pinned.id, others[1].id]
    app.state.services.database.close()


def test_a_database_that_is_away_is_a_line_of_log(
    pinned: Services, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    away = Database(f"sqlite:///{tmp_path}/nowhere/graftwork.db")
    preloading = Preloading(Services(**{**pinned.__dict__, "database": away}))
    with caplog.at_level(logging.WARNING, "app.db.periodic"):
        preloading.start()
        wait_until(lambda: "preloading: the database does not answer" in caplog.text, "a line of log")
    preloading.stop()
    assert not preloading._thread.is_alive()
    assert "Traceback" not in caplog.text
    away.close()
