"""Models that are to stay in memory: loaded from the start on, and whatever their references come to mean."""

import logging

import pytest

from app.db.tables import ProjectRow
from app.dependencies import Services
from app.predictions.preloading import Preloading
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
    with caplog.at_level(logging.WARNING, "app.predictions.preloading"):
        preloading.start()
        wait_until(lambda: pinned.engine.loaded() == [first.id], "the pinned model is in memory")
        wait_until(lambda: "nobody/sizes" in caplog.text, "what cannot be loaded is logged")
    assert "/none" in caplog.text
    client.put("/v1/models/sizes/aliases/prod", json={"model": second.id})
    pinned.engine.unload(second.id)
    wait_until(lambda: second.id in pinned.engine.loaded(), "the new version is in memory")
    preloading.stop()
    assert not preloading._thread.is_alive()
