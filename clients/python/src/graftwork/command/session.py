"""What all commands share: the client, the form of the output, and errors as one line and an exit code."""

import functools
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Concatenate, ParamSpec, TypeAlias

import typer

from graftwork import errors
from graftwork.command import login
from graftwork.connection import checked_url

REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

Parameters = ParamSpec("Parameters")
Cell: TypeAlias = "str | Callable[[Any], object]"
Url = Annotated[
    str | None, typer.Option("--url", help="URL of the service; else GRAFTWORK_URL, or that of `graftwork login`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, whole as the service answers it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids alone, and neither progress nor warnings.")]
NO_LOGIN = (
    "run `graftwork login URL`, or give --url and GRAFTWORK_KEY; "
    "on the service's machine, `graftwork server keys create` makes a key"
)


class Session:
    """One command's client and output."""

    def __init__(self, url: str | None, *, as_json: bool, quiet: bool) -> None:
        self._url, self.as_json, self.quiet = url, as_json, quiet

    @functools.cached_property
    def graftwork(self) -> Any:
        """The client of the service that the options, the environment or the login name."""
        url, key = login.known(self._url)
        if not key:
            url = url and checked_url(url)
            msg = "no URL of a service is known" if not url else f"no key was given for {url}"
            raise errors.ConnectionSettingsError(msg, remedy=NO_LOGIN)
        return client(url, key)

    @functools.cached_property
    def progress(self) -> Any:
        """What is shown of a job that is waited for: bars on a terminal, else lines now and then; quietly nothing."""
        if self.quiet or not sys.stderr.isatty():
            return not self.quiet
        from graftwork.command.bars import ProgressBars  # noqa: PLC0415 - rich takes a tenth of a second

        return ProgressBars()

    def close(self) -> None:
        """Leave the terminal as it was, and close the client's connections, where they were used."""
        if callable(self.__dict__.get("progress")):
            self.progress.stop()
        if "graftwork" in self.__dict__:
            self.graftwork.close()

    def show(self, answer: Any, *fields: str, key: str = "id") -> None:
        """Print some fields of an answer, a line each; as JSON all of it, quietly the key alone."""
        if self.as_json:
            print(json.dumps(answer.to_dict(), indent=2, ensure_ascii=False))
        elif self.quiet:
            print(answer.get(key, ""))
        else:
            width = max(map(len, fields))
            for field in fields:
                if answer.get(field) not in (None, {}, []):
                    print(f"{field.ljust(width)}  {_text(answer[field])}")

    def tell(self, line: str, quietly: str = "", **fields: Any) -> None:
        """Print what was done: a line; as JSON its fields, quietly what a program needs of it, if anything."""
        if self.as_json:
            print(json.dumps(fields, ensure_ascii=False))
        elif not self.quiet:
            print(line)
        elif quietly:
            print(quietly)

    def table(self, answers: Iterable[Any], *, key: str = "id", **columns: Cell) -> None:
        """Print answers as a table of columns: each is a field, or a function of an answer; quietly the key alone."""
        entries = list(answers)
        if self.as_json:
            print(json.dumps([entry.to_dict() for entry in entries], indent=2, ensure_ascii=False))
        elif self.quiet:
            for entry in entries:
                print(entry.get(key, ""))
        else:
            rows = [[_text(_cell(entry, cell)) for cell in columns.values()] for entry in entries]
            print_table([name.upper().replace("_", " ") for name in columns], rows)


@contextmanager
def reporting(*, quiet: bool = False) -> Iterator[None]:
    """Print errors and warnings of the client in one line each, and end with the exit code of an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if quiet else "always", errors.GraftworkWarning)
            warnings.showwarning = _show_warning
            yield
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until the process ends
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except errors.GraftworkError as error:
        raise typer.Exit(_report(error)) from None
    except (OSError, ValueError, TypeError) as error:
        print(f"graftwork: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None


def client(url: str | None, key: str | None) -> Any:
    """Return a client of a service."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its own command would bring rich and pygments
    from graftwork import Graftwork  # noqa: PLC0415 - keeps --help fast

    return Graftwork(url, key)


def tells(command: Callable[Concatenate[Session, Parameters], None]) -> Callable[..., None]:
    """Give a command a session as its first argument, and the options that say in what form it prints."""
    return _with_session(command, {"as_json": (False, AsJson), "quiet": (False, Quiet)})


def asks(command: Callable[Concatenate[Session, Parameters], None]) -> Callable[..., None]:
    """Give a command what `tells` gives it, and the option that says which service is asked."""
    return _with_session(command, {"url": (None, Url), "as_json": (False, AsJson), "quiet": (False, Quiet)})


def _with_session(
    command: Callable[Concatenate[Session, Parameters], None], options: dict[str, tuple[Any, Any]]
) -> Callable[..., None]:

    @functools.wraps(command)
    def run(*arguments: Any, as_json: bool = False, quiet: bool = False, **others: Any) -> None:
        session = Session(others.pop("url") if "url" in options else None, as_json=as_json, quiet=quiet)
        with reporting(quiet=quiet):
            try:
                command(session, *arguments, **others)
            finally:
                session.close()

    signature = inspect.signature(command)
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (default, annotation) in options.items()
    ]
    parameters = [*signature.parameters.values()][1:]
    run.__signature__ = signature.replace(parameters=[*parameters, *own])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, *own]}
    return run


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns that are as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def newest(entries: Iterable[Any], what: str, name: str) -> Any:
    """Return the first entry.

    Raises:
        ValueError: there is none.
    """
    for entry in entries:
        return entry
    msg = f"there is no {what} named {name!r}"
    raise ValueError(msg)


def _report(error: errors.GraftworkError) -> int:
    """Print an error with its places and its remedy, and return the exit code."""
    print(f"graftwork: {error}", file=sys.stderr)
    for place in error.errors:
        where = ".".join(map(str, place.get("loc", ()))) + (
            f" (row {place['row']})" if place.get("row") is not None else ""
        )
        print(f"  {where}: {place.get('msg', '')}", file=sys.stderr)
    if error.remedy and error.remedy not in str(error):
        print(f"  {error.remedy}", file=sys.stderr)
    if isinstance(error, errors.ConnectionSettingsError):
        return USAGE
    return UNREACHABLE if isinstance(error, errors.UnreachableError) else REFUSED


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _cell(entry: Any, cell: Cell) -> object:
    return entry.get(cell) if isinstance(cell, str) else cell(entry)


def _text(value: object) -> str:
    """Return a value as a table shows it, on one line, without what a terminal would obey."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else " " for letter in text)
