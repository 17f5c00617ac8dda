"""The guide as `make guide` builds it, and as the service serves it."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from tests.support.http import Http

pytestmark = pytest.mark.one_database("sqlite")  # no page asks a database

ROOT = Path(__file__).parents[3]
ELSEWHERE = re.compile(r"""(?:src|href|url|action)\s*[=(:]\s*["']?(?:https?:)?//""")


def build(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the guide out of the docs in a folder."""
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide of this repository; a link that leads nowhere, to a page or into one, breaks the build."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "guide"


@pytest.fixture
def reader(settings: Settings, built: Path) -> Http:
    """Somebody without a key."""
    return Http(create_app(settings.model_copy(update={"guide": built})), "")


def test_a_link_that_leads_nowhere_breaks_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "Links"\n')
    for text, code in (("[x](other.md)", 1), ("[x](#y)", 1), ("# y\n\n[x](#y)", 0)):
        (tmp_path / "docs" / "index.md").write_text(text)
        assert build(tmp_path).returncode == code, text


def test_every_page_is_in_the_navigation() -> None:
    navigation = str(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    for page in (ROOT / "docs").glob("*.md"):
        assert f"'{page.name}'" in navigation, page.name


def test_each_page_is_served_and_loads_nothing_of_another_host(reader: Http, built: Path) -> None:
    pages = sorted(built.glob("*.html"))
    assert len(pages) > 25
    for page in pages:
        answer = reader.get(f"/guide/{page.name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), page.name
        policy = answer.headers["content-security-policy"]
        assert [rule.split()[0] for rule in policy.split(";") if "unsafe" in rule] == ["style-src-elem"]
        assert "http" not in policy
        for script in re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        assert not re.findall(r'<[^>]* (?:style|on\w+)="', answer.text), page.name
        loaded = re.findall(r"<(?:script|link|img|iframe|form|source)\b[^>]*>", answer.text)
        assert not [tag for tag in loaded if ELSEWHERE.search(tag)], page.name
        for tag in loaded:
            for address in re.findall(r'(?:src|href)="\./([^"]+)"', tag):
                assert reader.get(f"/guide/{address}").status_code == 200, address
    for sheet in built.rglob("*.css"):
        assert not ELSEWHERE.search(sheet.read_text(encoding="utf-8")), sheet.name


def test_the_guide_begins_with_its_first_page(reader: Http, built: Path) -> None:
    start = (built / "start.html").read_bytes()
    answer = reader.get("/guide")
    assert (answer.status_code, answer.headers["location"]) == (
        307,
        "guide/start.html",
    )  # relative: behind a prefix, too
    assert reader.get("/guide/").content == reader.get("/guide/start.html").content == start
    tag = reader.get("/guide/start.html").headers["etag"]
    assert reader.get("/guide/start.html", headers={"If-None-Match": tag}).status_code == 304


def test_nothing_but_the_guide_is_served(reader: Http, built: Path) -> None:
    (built.parent / "secret.json").write_text("{}")
    (built / "away.json").symlink_to(built.parent / "secret.json")
    (built / "generate.py").write_text("")
    for path in ("../secret.json", "%2e%2e/secret.json", "away.json", "generate.py", "nothing.html", "assets"):
        answer = reader.get(f"/guide/{path}")
        assert answer.status_code == 404, path
    assert "no such page" in reader.get("/guide/nothing.html").json()["detail"]


def test_where_no_guide_was_built_the_answer_says_how(settings: Settings, tmp_path: Path) -> None:
    reader = Http(create_app(settings.model_copy(update={"guide": tmp_path / "nowhere"})), "")
    for path in ("/guide/", "/guide/start.html"):
        answer = reader.get(path)
        assert answer.status_code == 404
        assert "`make guide`" in answer.json()["detail"]


def test_the_page_leads_to_the_guide_where_it_is_built(settings: Settings, reader: Http, tmp_path: Path) -> None:
    link = '<link rel="help" href="guide/">'
    assert link in reader.get("/").text
    folder = tmp_path / "later"
    other = Http(create_app(settings.model_copy(update={"guide": folder})), "")
    before = other.get("/")
    assert "guide" not in before.text
    folder.mkdir()
    (folder / "start.html").write_text("<title>Start</title>")  # while the service runs
    after = other.get("/", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, link in after.text) == (200, True)
