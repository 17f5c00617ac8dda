"""The files of the page as they are served."""

import gzip
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from fastapi import FastAPI

from app.web.pages import STATIC
from tests.support.http import Http

SCRIPTS = [*STATIC.rglob("*.js")]


def test_the_page_needs_no_key_and_names_every_module(app: FastAPI, client: Http) -> None:
    answer = Http(app).get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for script in SCRIPTS:
        address = re.search(rf'page/\w+/{script.relative_to(STATIC).as_posix()}"', answer.text)
        assert address is not None, script
        served = client.get(f"/{address[0][:-1]}")
        assert served.content == script.read_bytes()
        assert served.headers["cache-control"].endswith("immutable")


def test_nothing_of_the_page_may_come_from_elsewhere_or_be_made_of_text(client: Http) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    for script in SCRIPTS:
        code = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", code), (
            script
        )
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", code), script


def test_the_page_is_asked_for_again_only_where_it_has_changed(client: Http) -> None:
    tag = client.get("/").headers["etag"]
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 304
    assert client.get("/", headers={"If-None-Match": '"another"'}).status_code == 200


def test_what_is_no_file_of_the_page_stays_a_problem_in_json(client: Http) -> None:
    version = re.search(r"page/(\w+)/", client.get("/").text)
    assert version is not None
    own = f"/page/{version[1]}"
    for path in ("/page/another/main.js", f"{own}/%2e%2e/pages.py", f"{own}/no.js", "/data", "/v1/no"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


def test_the_whole_page_weighs_less_than_300_kilobytes() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*.*")) < 300_000


def test_files_are_sent_compressed_to_who_takes_that(client: Http) -> None:
    path = re.search(r"page/\w+/style\.css", client.get("/").text)
    assert path is not None
    answer = client.get(f"/{path[0]}", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(gzip.compress(answer.content, 1)) + 100
    assert "content-encoding" not in client.get(f"/{path[0]}", headers={"Accept-Encoding": "identity"}).headers


def test_all_sentences_stand_in_one_file() -> None:
    for script in SCRIPTS:
        if script.name != "text.js":
            code = re.sub(r"^\s*(//|\*|/\*).*$", "", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert not re.search(r"""["'`][A-Z][a-z]+ [a-z]+""", code), script


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=STATIC.parents[2], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"app/web/static/{path.relative_to(STATIC).as_posix()}" for path in STATIC.rglob("*.*")} <= held
