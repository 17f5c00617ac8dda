"""Jobs are found by entries of their metadata, whatever characters these hold, on both databases."""

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(40))
METADATA = {"a'b": 'c"d', 'e"f': "g:h", "i:j": "\u00e9", "$.k": "%", "back\\slash": "x"}


def test_entries_of_any_characters_are_found(client: Http, settings: Settings) -> None:
    upload = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "rows"})
    run_jobs(settings)
    body = {"kind": "pretraining", "dataset": upload.json()["id"]}
    first, other = (client.post("/v1/jobs", json={**body, "metadata": data}).json() for data in (METADATA, {"a": "b"}))
    assert first["metadata"] == METADATA
    for key, value in METADATA.items():
        found = client.get("/v1/jobs", params={"metadata": f"{key}:{value}"})
        assert [job["id"] for job in found.json()["data"]] == [first["id"]], (key, found.text)
    both = client.get("/v1/jobs", params={"metadata": [f"{key}:{value}" for key, value in METADATA.items()]})
    assert [job["id"] for job in both.json()["data"]] == [first["id"]]
    assert [job["id"] for job in client.get("/v1/jobs?metadata=a:b").json()["data"]] == [other["id"]]
