"""docker-compose.yml, without Docker: the commands and settings that it names, against a real PostgreSQL and a real
Valkey. The image: tests/integration/test_image.py. On machines that share no folder but a bucket: test_machines.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from app.kit.process import free_port
from tests.support.servers import HANGS, KEY, Postgres, Service, service, valkey

EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.fixture
def settings(postgres: Postgres) -> Iterator[dict[str, str]]:
    """The environment that compose gives, with the addresses of servers that run here."""
    given: dict[str, str] = COMPOSE["services"]["api"]["environment"]
    assert given == COMPOSE["services"]["worker"]["environment"] == COMPOSE["services"]["migrate"]["environment"]
    assert COMPOSE["services"]["predictor"]["environment"] == {**given, "GRAFTWORK_PREDICTOR": ""}
    with valkey() as broker:
        real = {
            "http://predictor:8000": f"http://127.0.0.1:{free_port()}",
            "postgresql://graftwork:graftwork@postgres/graftwork": postgres.url(postgres.create()),
            "redis://redis:6379/0": broker,
        }
        names = {key.removeprefix("GRAFTWORK_").lower(): value for key, value in given.items()}
        yield {key: real.get(value, KEY) for key, value in names.items()}


def command(part: str) -> list[str]:
    """The part's command as compose says it, without the program's name."""
    program, *arguments = COMPOSE["services"][part]["command"]
    assert program == "graftwork"
    return list(arguments)


def start(running: Service) -> None:
    migration = running.run(*command("migrate"))
    assert migration.wait(HANGS) == 0, running.log.read_text()
    running.run(*command("worker"))
    start_predictor(running)
    start_api(running)


def start_predictor(running: Service) -> None:
    """The API that the other one asks for predictions, on the same volume."""
    assert command("predictor") == command("api")
    url = running.environment["GRAFTWORK_PREDICTOR"]
    running.environment["GRAFTWORK_PREDICTOR"] = ""
    running.run("api", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1])
    running.environment["GRAFTWORK_PREDICTOR"] = url


def start_api(running: Service) -> None:
    """As compose does, on the loopback and a free port."""
    program, *_ = arguments = command("api")
    assert arguments == [program, "--host", EVERYWHERE, "--port", "8000"]
    running.run(program, "--host", "127.0.0.1", "--port", str(running.port))
    running.wait_ready()


def main_job(running: Service) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 5)), np.arange(80) % 2
    x[:, 0] += 4 * y
    with running.client() as graftwork:
        dataset = graftwork.datasets.create({"x": x, "y": y}, name="rows")["id"]
        training = {"epochs": 2, "batch_size": 16, "checkpoint_steps": 2}
        graftwork.jobs.create(kind="pretraining", dataset=dataset, name="root", training=training, wait=True)
        heads = [{"kind": "classifier", "target": "label"}]
        fields = {"model": "root", "heads": heads, "strategy": {"kind": "linear_probe"}, "name": "probe"}
        graftwork.jobs.create(kind="fine_tuning", dataset=dataset, **fields, wait=True)
        answers = graftwork.models.predict("probe", x[:4])
        assert [set(answer["label"]["probabilities"]) for answer in answers] == [{"0", "1"}] * 4


def test_the_balancer_finds_the_apis_by_name_and_nobody_else_is_reached_from_outside() -> None:
    services = COMPOSE["services"]
    published = {name: part["ports"] for name, part in services.items() if "ports" in part}
    assert published == {"balancer": ["127.0.0.1:8000:8000"]}
    file, place, _ = services["balancer"]["volumes"][0].split(":")
    assert place == "/etc/caddy/Caddyfile"
    assert "dynamic a api 8000" in (ROOT / file).read_text(encoding="utf-8")
    assert {name: part["deploy"]["replicas"] for name, part in services.items() if "deploy" in part} == {
        "api": 2,
        "worker": 2,
    }


@pytest.mark.slow
def test_the_parts_do_the_main_job_on_postgresql_and_redis(settings: dict[str, str], tmp_path: Path) -> None:
    with service(tmp_path, **settings) as running:
        start(running)
        main_job(running)
        assert not list(tmp_path.rglob("*.db"))
