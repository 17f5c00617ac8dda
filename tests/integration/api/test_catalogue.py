from typing import Any

import pytest

from app.catalogue.service import ALL_FAMILIES
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
