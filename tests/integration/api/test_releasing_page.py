"""The commands and the Python of docs/releasing.md, run in their order against four versions of a model."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.dependencies import Services
from graftwork import Graftwork
from tests.support.live import served
from tests.support.models import add_model
from tests.support.servers import HANGS

PAGE = (Path(__file__).parents[3] / "docs" / "releasing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """The application on a port of its own."""
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.one_database
def test_the_page_on_releasing(url: str, key: str, services: Services, project_id: str) -> None:
    for seed in range(4):
        add_model(services, project_id, "churn", seed=seed)
    environment = {"PATH": "/usr/bin:/bin", "URL": url, "AUTH": f"Authorization: Bearer {key}"}
    with Graftwork(url, key) as graftwork:
        for language, block in BLOCKS:
            if language == "bash":
                command = block.replace("curl -s", "curl -sS --fail-with-body")
                subprocess.run(["/bin/bash", "-ec", command], env=environment, check=True, timeout=HANGS)
            else:
                for line in block.splitlines():
                    eval(line, {"graftwork": graftwork})  # noqa: S307 - the page of this repository
        aliases = {alias["alias"]: alias for alias in graftwork.models.aliases("churn")}
        assert {name: alias["version"] for name, alias in aliases.items()} == {"production": 4, "trial": 3}
        assert aliases["trial"]["shadow"]["version"] == 2
        graftwork.models.delete_alias("churn", "production")
        assert [alias["alias"] for alias in graftwork.models.aliases("churn")] == ["trial"]
