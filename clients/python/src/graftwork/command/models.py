"""The commands on models, and those that ask one."""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.command.references import ModelRef, Settings, fields_of
from graftwork.command.session import Session, asks, print_table
from graftwork.files import CONTENT_TYPES

asking = typer.Typer()
models = typer.Typer(
    help="Models: import, published, bring, list, show, predict, embed, generate, lineage, alias, unalias, aliases, "
    "history, rollback, report, export, delete.",
    no_args_is_help=True,
)

Inputs = Annotated[
    list[str], typer.Argument(help="A file of rows, pictures, texts, or - for standard input.", show_default=False)
]

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Alias = Annotated[str, typer.Argument(help="The alias, such as production.")]

ALIAS = ("name", "alias", "version", "revision")


@models.command("list")
@asks
def list_models(
    at: Session, name: Annotated[str | None, typer.Option(help="Only versions of this name.")] = None
) -> None:
    """List the models, newest first."""
    at.table(
        at.graftwork.models.list(name=name),
        id="id",
        name="name",
        version="version",
        kind="kind",
        modality="modality",
        aliases="aliases",
        created="created_at",
    )


@models.command("show")
@asks
def show_model(at: Session, model: ModelRef) -> None:
    """Print a model."""
    at.show(
        at.graftwork.models.get(model),
        "id",
        "name",
        "version",
        "kind",
        "modality",
        "aliases",
        "heads",
        "metrics",
        "warnings",
    )


@models.command("alias")
@asks
def alias_model(
    at: Session,
    name: Name,
    alias: Alias,
    version: Annotated[str, typer.Argument(help="Number of the version, or id of the model.")],
) -> None:
    """Point an alias of a name at one of its versions, once that has answered."""
    at.show(at.graftwork.models.alias(name, alias, version), *ALIAS)


@models.command("rollback")
@asks
def roll_back(at: Session, name: Name, alias: Alias) -> None:
    """Point an alias at the version that it meant before."""
    at.show(at.graftwork.models.roll_back(name, alias), *ALIAS)


@models.command("aliases")
@asks
def list_aliases(at: Session, name: Name) -> None:
    """List the aliases of a name."""
    at.table(at.graftwork.models.aliases(name), key="alias", **{field: field for field in ALIAS})


@models.command("unalias")
@asks
def delete_alias(at: Session, name: Name, alias: Alias) -> None:
    """Delete an alias; the version that it means stays."""
    at.graftwork.models.delete_alias(name, alias)
    at.tell(f"deleted  {name}@{alias}", f"{name}@{alias}", name=name, alias=alias, deleted=True)


@models.command("history")
@asks
def show_history(at: Session, name: Name, alias: Alias) -> None:
    """List what an alias has meant, newest first."""
    fields = ("revision", "action", "version", "model", "restores")
    columns = {field: field for field in fields}
    at.table(at.graftwork.models.alias_history(name, alias), key="revision", **columns, changed="changed_at")


@models.command("report")
@asks
def show_report(at: Session, name: Name, alias: Alias) -> None:
    """List how the predictions of an alias differ from those of its shadows, newest first."""
    fields = ("version", "shadow_version", "requests", "rows", "dropped", "errors", "heads")
    columns = {field: field for field in fields}
    at.table(at.graftwork.models.alias_report(name, alias), key="shadow", **columns, updated="updated_at")


@models.command("lineage")
@asks
def show_lineage(at: Session, model: ModelRef) -> None:
    """Print the ancestors of a model, the model, and the models that were made from it."""
    lineage = at.graftwork.models.lineage(model)
    if at.as_json:
        at.show(lineage)
        return
    family = [
        *(("ancestor", entry) for entry in reversed(lineage["ancestors"])),
        ("model", lineage["model"]),
        *(("child", entry) for entry in lineage["children"]),
    ]
    entries = [{"relation": relation, **entry} for relation, entry in family]
    fields = ("relation", "id", "name", "version", "kind", "job", "dataset", "deleted")
    at.table(entries, **{field: field for field in fields})


@models.command("export")
@asks
def export_model(
    at: Session,
    model: ModelRef,
    out: Annotated[Path, typer.Option(help="File to write: .onnx or .zip.")],
) -> None:
    """Write a model as a file that needs nothing of the service: .onnx for any ONNX runtime, .zip for torch."""
    forms = {".onnx": ("onnx", "model.onnx"), ".zip": ("safetensors", "model.zip")}
    if out.suffix not in forms:
        msg = f"--out {out}: a model is written as {' or '.join(forms)}"
        raise ValueError(msg)
    form, file = forms[out.suffix]
    job = at.graftwork.jobs.create(kind="export", model=model, format=form, wait=True, progress=at.progress)
    job.download(file, out)
    at.tell(str(out), str(out), file=str(out), job=job["id"])


@models.command("delete")
@asks
def delete_model(at: Session, model: ModelRef) -> None:
    """Delete one version of a model; a name alone means its newest one."""
    deleted = at.graftwork.models.get(model)
    at.graftwork.models.delete(deleted["id"])
    what = f"{deleted['name']}@{deleted['version']}"
    at.tell(f"deleted  {deleted['id']}  {what}", deleted["id"], id=deleted["id"], deleted=True)


@models.command()
@asking.command()
@asks
def predict(
    at: Session,
    model: ModelRef,
    inputs: Inputs,
    out: Annotated[Path | None, typer.Option(help="File to write: .csv, .json or .jsonl.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Only so many of the most probable classes.", min=1)] = None,
) -> None:
    """Ask a model about rows, pictures or texts."""
    _check(out)
    _write(at, at.graftwork.models.predict(model, _inputs(inputs), top_k=top_k), out)


@models.command()
@asking.command()
@asks
def embed(
    at: Session,
    model: ModelRef,
    inputs: Inputs,
    out: Annotated[Path | None, typer.Option(help="File to write: .csv, .json or .jsonl.")] = None,
) -> None:
    """Compute the features of rows, pictures or texts."""
    _check(out)
    _write(at, at.graftwork.models.embed(model, _inputs(inputs)), out)


@models.command()
@asking.command()
@asks
def generate(  # noqa: PLR0913 - the options of a command
    at: Session,
    model: ModelRef,
    beginnings: Annotated[
        list[str],
        typer.Argument(metavar="BEGINNING...", help="Texts, files that hold one each, or - for standard input."),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write: .json or .jsonl.")] = None,
    *,
    max_tokens: Annotated[int | None, typer.Option(help="How many tokens at most; else 64.", min=1)] = None,
    temperature: Annotated[float | None, typer.Option(help="Of sampling; else 0, the most probable.", min=0)] = None,
    n: Annotated[int | None, typer.Option("--n", help="Continuations of each text; else 1.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling; equal seeds give equal texts; else 0.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A text before which a continuation ends.")] = None,
    options: Settings = None,
) -> None:
    """Let a model continue texts, and print the continuations as they grow, an empty line between two."""
    _check(out, (".json", ".jsonl"))
    given = {"max_tokens": max_tokens, "temperature": temperature, "n": n, "seed": seed, "stop": stop or None}
    fields = fields_of(options) | {field: value for field, value in given.items() if value is not None}
    texts = [*map(_beginning, beginnings)]
    if out is not None or at.as_json:
        _write(at, at.graftwork.models.generate(model, texts, **fields), out)
    elif fields.get("beams", 1) == 1:
        _print_growing(at.graftwork.models.stream(model, texts, **fields), len(texts), fields.get("n", 1))
    else:  # a beam search knows its texts at its end
        generations = at.graftwork.models.generate(model, texts, **fields)
        print("\n\n".join(_printable(whole["text"]) for entry in generations for whole in entry["continuations"]))


def _print_growing(pieces: Iterable[Any], prompts: int, n: int) -> None:
    """Print `n` continuations of each prompt in their order, each piece of the first unfinished one at once.

    Prompts are continued one after another, the continuations of one together: pieces of later ones wait.
    """
    waiting: defaultdict[tuple[int, int], str] = defaultdict(str)
    shown, begun = (0, 0), False

    def show_next() -> tuple[int, int]:
        prompt, continuation = shown
        following = (prompt, continuation + 1) if continuation + 1 < n else (prompt + 1, 0)
        print(f"\n\n{waiting.pop(following, '')}", end="", flush=True)
        return following

    try:
        for piece in pieces:
            begun, place = True, (piece["prompt"], piece["continuation"])
            while shown[0] < place[0]:
                shown = show_next()
            if place == shown:
                print(_printable(piece["text"]), end="", flush=True)
            else:
                waiting[place] += _printable(piece["text"])
        begun = True
        while shown != (prompts - 1, n - 1):
            shown = show_next()
    finally:
        if begun:
            print()


def _beginning(word: str) -> str:
    """Return the text of standard input or of a file, without its last line end, or else the word itself.

    Raises:
        ValueError: it is a file of rows.
    """
    if word == "-":
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    file = _existing(word)
    if file is None:
        return word
    if file.suffix.lower() in CONTENT_TYPES:
        msg = f"{file}: a file holds one text here; give the texts of its rows one by one"
        raise ValueError(msg)
    return file.read_text(encoding="utf-8").removesuffix("\n")


def _printable(text: str) -> str:
    """Return a text with its lines, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in text)


def _inputs(words: Sequence[str]) -> Any:
    """Return what the words name: standard input, one file of rows, or pictures, texts and rows as JSON."""
    if [*words] == ["-"]:
        return sys.stdin.buffer.read()
    if len(words) == 1 and (file := _existing(words[0])):
        return file
    return [_existing(word) or _row(word) for word in words]


def _row(word: str) -> Any:
    """Return a row that is written as JSON, else the word as a text."""
    if word.startswith(("{", "[")):
        try:
            return json.loads(word)
        except ValueError:
            return word
    return word


def _existing(path: str) -> Path | None:
    try:
        return Path(path) if Path(path).is_file() else None
    except OSError:  # a text that is too long to be a path
        return None


def _check(out: Path | None, suffixes: Sequence[str] = (".csv", ".json", ".jsonl")) -> None:
    """Refuse a file whose form is not known, before a model is asked."""
    if out is not None and out.suffix not in suffixes:
        msg = f"--out {out}: answers are written as {', '.join(suffixes[:-1])} or {suffixes[-1]}"
        raise ValueError(msg)


def _write(at: Session, answers: Any, out: Path | None) -> None:
    """Print answers, or write them as the suffix of `out` says."""
    if out is None:
        if at.as_json:
            print(json.dumps([*answers], ensure_ascii=False))
        else:
            rows = answers.to_rows()
            header = list(dict.fromkeys(name for row in rows for name in row))
            print_table(header, [[_short(row.get(name)) for name in header] for row in rows])
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        if out.suffix == ".csv":
            rows = answers.to_rows()
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
        elif out.suffix == ".json":
            json.dump([*answers], file, ensure_ascii=False)
        else:
            file.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
