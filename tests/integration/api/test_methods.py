"""Every path answers each method: HEAD as GET, OPTIONS with what is allowed, any other with 405 and what is allowed."""

import hashlib
import re
from collections import defaultdict

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.db.tables import ModelRow
from app.dependencies import Services
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem, check_refusal
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20))
CHANGING = ("x-request-id", "date", "ratelimit", "ratelimit-policy")


def methods_by_url(app: FastAPI, parameters: dict[str, str]) -> dict[str, set[str]]:
    """The methods of each route's URL, with those of other routes whose pattern it fits (/v1/jobs/{job_id})."""
    routes = [(context.path, set(context.methods or ())) for context in iter_route_contexts(app.routes)]
    patterns = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods) for path, methods in routes]
    known = defaultdict(lambda: "1", parameters)
    urls = {path.format_map(known) for path, _ in routes}
    return {url: set().union(*(found for pattern, found in patterns if pattern.fullmatch(url))) for url in sorted(urls)}


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "sizes")


@pytest.fixture
def parameters(client: Http, settings: Settings, model: ModelRow) -> dict[str, str]:
    dataset = client.post("/v1/datasets", files={"file": ("a.csv", CSV)}, data={"name": "mine"}).json()
    run_jobs(settings)
    return {
        "dataset_id": dataset["id"],
        "job_id": dataset["job"],
        "ref": model.id,
        "version": "1",
        "key_id": "key_none",
        "kind": "learning",
        "name": "manifest.json",
        "alias": "best",
    }


def test_head_is_get_without_the_body_wherever_get_is(app: FastAPI, client: Http, parameters: dict[str, str]) -> None:
    tried = 0
    for path, methods in methods_by_url(app, parameters).items():
        before, head = client.get(path) if "GET" in methods else None, client.request("HEAD", path)
        if "GET" not in methods:
            assert head.status_code == 405, path
            continue
        get = client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        # What counts itself, such as /metrics, the last use of a key or the free disk, differs between requests.
        volatile = ("content-length", "etag") if before is None or before.content != get.content else ()
        expected = {name: value for name, value in get.headers.items() if name not in (*CHANGING, *volatile)}
        actual = {name: value for name, value in head.headers.items() if name not in (*CHANGING, *volatile)}
        assert actual == expected, path
        tried += 1
    assert tried > 20
    check_headless = client.request("HEAD", "/v1/models/none")
    assert (check_headless.status_code, check_headless.content) == (404, b"")


def test_every_path_says_which_methods_it_allows(app: FastAPI, client: Http, parameters: dict[str, str]) -> None:
    anybody = Http(app)
    for path, methods in methods_by_url(app, parameters).items():
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        options = anybody.request("OPTIONS", path)
        assert (options.status_code, options.content) == (204, b""), path
        assert set(options.headers["allow"].split(", ")) == allowed, path
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
            answer = client.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)
            if method != "HEAD":
                check_refusal(answer, 405, "method_not_allowed")
    for method in ("OPTIONS", "HEAD", "PUT"):
        assert client.request(method, "/v1/nothing").status_code == 404


def test_the_head_of_a_stream_ends(client: Http, parameters: dict[str, str]) -> None:
    headers = {"Accept": "text/event-stream"}
    answer = client.request("HEAD", f"/v1/jobs/{parameters['job_id']}/events", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")


def test_files_of_models_are_asked_for_again_and_in_parts(client: Http, model: ModelRow) -> None:
    url = "/v1/models/sizes/files/backbone.safetensors"
    whole = client.get(url)
    content, tag = whole.content, whole.headers["etag"]
    assert tag == f'"{hashlib.sha256(content).hexdigest()}"'
    assert whole.headers["accept-ranges"] == "bytes"
    for current in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(url, headers={"If-None-Match": current})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get(url, headers={"If-None-Match": '"other"'}).content == content

    def part(asked: str, **headers: str) -> tuple[int, bytes, str | None]:
        answer = client.get(url, headers={"Range": asked, **headers})
        return answer.status_code, answer.content, answer.headers.get("content-range")

    size = len(content)
    assert part("bytes=0-0") == (206, content[:1], f"bytes 0-0/{size}")
    assert part("bytes=10-") == (206, content[10:], f"bytes 10-{size - 1}/{size}")
    assert part("bytes=-5") == (206, content[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert part(f"bytes=5-{size * 9}") == (206, content[5:], f"bytes 5-{size - 1}/{size}")
    assert part(f"bytes=2-3, {size}-")[:2] == (206, content[2:4])
    for ignored in ("bytes=5-4", "bytes=a-b", "bytes=", "lines=0-1", "bytes", "bytes=1-2,x"):
        assert part(ignored) == (200, content, None), ignored
    for outside in (f"bytes={size}-", "bytes=-0"):
        answer = client.get(url, headers={"Range": outside})
        check_problem(answer, 416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{size}"
    assert part("bytes=1-2", **{"If-Range": tag})[:2] == (206, content[1:3])
    assert part("bytes=1-2", **{"If-Range": whole.headers["last-modified"]})[0] == 206
    for stale in ('"other"', f"W/{tag}", "Sat, 01 Jan 2000 00:00:00 GMT"):
        assert part("bytes=1-2", **{"If-Range": stale}) == (200, content, None)
    two = client.get(url, headers={"Range": "bytes=0-1,4-5"})
    assert two.headers["content-type"].startswith("multipart/byteranges")
    assert two.status_code == 206
    assert re.findall(rb"bytes \d+-\d+", two.content) == [b"bytes 0-1", b"bytes 4-5"]


def test_a_download_in_parts_is_the_whole(client: Http, model: ModelRow) -> None:
    url = "/v1/models/sizes/files/heads.safetensors"
    size = int(client.request("HEAD", url).headers["content-length"])
    parts = [client.get(url, headers={"Range": f"bytes={start}-{start + 99}"}) for start in range(0, size, 100)]
    assert b"".join(part.content for part in parts) == client.get(url).content
    assert {part.status_code for part in parts} == {206}


def test_other_answers_are_asked_for_again(client: Http, parameters: dict[str, str]) -> None:
    for url in (
        "/v1/models/sizes",
        f"/v1/datasets/{parameters['dataset_id']}",
        f"/v1/jobs/{parameters['job_id']}",
        "/v1/models",
        "/v1/catalogue",
    ):
        first = client.get(url)
        headers = {"If-None-Match": first.headers["etag"]}
        again = client.get(url, headers=headers)
        assert (again.status_code, again.content) == (304, b""), url
        assert client.request("HEAD", url, headers=headers).status_code == 304
        assert first.headers["cache-control"] == "no-cache"
    tag = client.get("/v1/models").headers["etag"]
    client.put("/v1/models/sizes/aliases/best", json={"model": parameters["ref"]})
    assert client.get("/v1/models", headers={"If-None-Match": tag}).status_code == 200


def test_pictures_of_curves_are_asked_for_again_and_in_parts(client: Http, parameters: dict[str, str]) -> None:
    url = f"/v1/jobs/{parameters['job_id']}/curves/learning?format=svg"
    whole = client.get(url)
    tag = whole.headers["etag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
    part = client.get(url, headers={"Range": "bytes=0-9", "If-Range": tag})
    assert (part.status_code, part.content) == (206, whole.content[:10])
    assert part.headers["content-range"] == f"bytes 0-9/{len(whole.content)}"
    assert part.headers["content-length"] == "10"
    check_problem(client.get(url, headers={"Range": f"bytes={len(whole.content)}-"}), 416)
