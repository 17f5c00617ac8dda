from typing import Any

import pytest

from app.catalogue.service import ALL_FAMILIES
from app.jobs.kinds import KINDS
from app.ml.kinds.registry import FAMILIES, kinds
from tests.support.http import Http

pytestmark = pytest.mark.one_database


def test_the_catalogue_is_the_registry(client: Http) -> None:
    catalogue: dict[str, Any] = client.get("/v1/catalogue").json()
    assert catalogue["object"] == "catalogue"
    found = {family: [entry["kind"] for entry in entries] for family, entries in catalogue["families"].items()}
    assert found == {family: list(kinds(union)) for family, union in ALL_FAMILIES.items()}
    assert set(ALL_FAMILIES) == {"cleaning", *FAMILIES}


def test_every_entry_explains_itself(client: Http) -> None:
    for entries in client.get("/v1/catalogue").json()["families"].values():
        for entry in entries:
            assert set(entry) == {"kind", "title", "summary", "source", "schema"}
            assert entry["title"][0].isupper()
            assert entry["summary"]
            assert entry["schema"]["type"] == "object"
            assert entry["schema"]["properties"]["kind"]["const"] == entry["kind"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_job_explains_its_request(kind: str, client: Http) -> None:
    entry = client.get(f"/v1/catalogue/jobs/{kind}").json()
    assert entry["kind"] == kind
    assert entry["title"].lower().replace(" ", "_") in {kind, "prepare"}
    own = entry["schema"]["properties"].get("kind", {"const": "preparation"})
    assert own["const"] == kind
    for name, field in entry["schema"]["properties"].items():
        assert name == "kind" or field.get("description") or "$ref" in field, name


def test_a_kind_of_job_that_there_is_not_is_not_found(client: Http) -> None:
    answer = client.get("/v1/catalogue/jobs/training")
    assert answer.status_code == 404
    assert "fine_tuning" in answer.json()["detail"]
