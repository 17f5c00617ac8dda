"""The `graftwork` command where no service is asked: its start, its options, its page, completion, bars."""

import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from app.cli.main import app as server
from graftwork import answers
from graftwork._sync.datasets import Datasets
from graftwork._sync.heads import Heads
from graftwork._sync.keys import Keys
from graftwork._sync.models import Models
from graftwork._sync.webhooks import Webhooks
from graftwork.command.bars import ProgressBars
from graftwork.command.commands import app as commands
from graftwork.command.jobs import searched
from graftwork.command.main import GROUP, MOVED, names
from graftwork.command.session import INTERRUPTED, reporting
from tests.support.servers import HANGS

ROOT = Path(__file__).parents[3]
JOB = {"id": "job_1", "kind": "pretraining", "name": "digits", "status": "queued", "queue_position": 2}


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands of an application with their words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(leaves(get_command(commands)))


def test_every_command_prints_json_and_is_quiet() -> None:
    for words, command in LEAVES.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options, words
        assert "--url" in options or words in {("init",), ("login",), ("version",)}, words
        assert all(parameter.help for parameter in command.params), words


def test_the_page_names_every_command_and_exit_code() -> None:
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    for words in LEAVES:
        assert f"`{' '.join(words)}`" in page, words
    codes = set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE))
    assert codes == {"0", "1", "2", "3", "130"}
    assert codes <= set(re.findall(r"\d+", str(commands.info.epilog)))


WITHOUT = {  # methods of the client that need no command
    "datasets": {"report", "preview", "leaks", "wait"},  # show and warnings print what is in them
    "models": {"get_alias", "predict_by_several", "download"},  # export and `jobs download` write files
}


@pytest.mark.parametrize("resource", [Webhooks, Keys, Heads, Datasets, Models], ids=lambda of: of.__name__.lower())
def test_methods_of_the_client_have_commands(resource: type) -> None:
    folder = ROOT / "clients" / "python" / "src" / "graftwork" / "command"
    source = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    name = resource.__name__.lower()
    methods = {method for method in vars(resource) if not method.startswith("_")}
    called = set(re.findall(rf"graftwork\.{name}\.(\w+)\(", source))
    assert methods - called == WITHOUT.get(name, set())


def test_no_command_has_two_meanings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"][GROUP] == {"server": "app.cli.main:app"}
    assert names(server) == {"up", "api", "worker", "migrate", "backup", "gc", "weights", "server"}
    assert not names(commands) & names(server)
    assert set(MOVED) < names(commands)
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in names(server))


# ---- the start ------------------------------------------------------------------------------------------------------


def imported(code: str) -> set[str]:
    """The packages and modules that a program has imported at its end."""
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


HEAVY = {"rich", "pygments", "click", "numpy", "pandas", "pyarrow", "torch", "graftwork._async", "app", "sqlalchemy"}


def test_it_starts_with_little() -> None:
    """What takes its time is imported where it is used; bench/start.py measures the seconds."""
    of_all = imported("import graftwork.command.commands")
    assert not of_all & (HEAVY | {"httpx", "pydantic", "importlib.metadata", "graftwork.answers", "asyncio"})
    of_help = imported(
        "from typer.testing import CliRunner\n"
        "from graftwork.command.commands import app\n"
        f"assert not any(CliRunner().invoke(app, [*words, '--help']).exit_code for words in {[*LEAVES]})"
    )
    assert not of_help & (HEAVY | {"httpx", "graftwork.answers"})  # pydantic is typer's own
    of_those_that_ask = imported("from graftwork.command.session import client\nclient('http://127.0.0.1:9', 'a-key')")
    assert "httpx" in of_those_that_ask
    assert not of_those_that_ask & HEAVY


# ---- the program, as the distributions install it --------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has the program and the server's distribution, and a home of his own."""
    binaries, packages, home = tmp_path / "bin", tmp_path / "packages", tmp_path / "home"
    information = packages / "graftwork_server-9.dist-info"
    for folder in (binaries, information, home):
        folder.mkdir(parents=True)
    (binaries / "graftwork").write_text(
        f"#!{sys.executable}\nfrom graftwork.command.main import main\nmain()\n", encoding="utf-8"
    )
    (binaries / "graftwork").chmod(0o755)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: graftwork-server\nVersion: 9\n", encoding="utf-8"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = [f"{name} = {place}\n" for name, place in project["entry-points"][GROUP].items()]
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n" + "".join(points), encoding="utf-8")
    path = os.pathsep.join([str(packages), str(ROOT), str(ROOT / "clients" / "python" / "src")])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFTWORK_", "XDG_"))}
    own = {"PYTHONPATH": path, "HOME": str(home), "ZDOTDIR": str(home), "TERM": "dumb", "PS1": "$ "}
    return {**kept, **own, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}


def graftwork(program: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["graftwork", *words], env=program, capture_output=True, text=True, check=False)


def test_the_server_adds_its_commands(program: dict[str, str], tmp_path: Path) -> None:
    listed = graftwork(program, "--help").stdout
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in names(server) | names(commands))
    assert "--port" in graftwork(program, "up", "--help").stdout
    wrong = graftwork(program, "server", "keys", "list", "--data", str(tmp_path / "nothing"))
    assert wrong.returncode == 1
    assert re.fullmatch(r"graftwork.*there is no database in .*\n", wrong.stderr)
    for words in (("keys", "create", "--data", "x"), ("storage", "--json", "--data=x")):
        moved = graftwork(program, *words)
        assert (moved.returncode, moved.stderr.count("\n")) == (1, 1)
        assert f"`graftwork server {words[0]}`" in moved.stderr
    assert "No such command" in graftwork(program, "nothing").stderr


def test_who_reads_the_output_may_stop(program: dict[str, str]) -> None:
    script = "from graftwork.command.session import Session, reporting\n"
    script += "with reporting():\n    for number in range(100_000):\n"
    script += "        Session(None, as_json=False, quiet=False).tell(str(number))"
    for program_line in ("graftwork --help", shlex.join([sys.executable, "-c", script])):
        line = f"{program_line} | head -1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], env=program, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) == 1


# ---- completion in real shells --------------------------------------------------------------------------------------

SHELLS = {"bash": ["bash", "--noprofile"], "zsh": ["zsh"], "fish": ["fish"]}
LINES = {"graftwork jobs estim": "estimate", "graftwork vers": "version", "graftwork up --por": "--port"}


class Terminal:
    """A program on a terminal: what is typed, and what has been shown."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        spawn = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *command]
        self._process = subprocess.Popen(
            spawn, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._keyboard, self._screen = self._process.stdin, self._process.stdout
        self.shown = ""

    def type(self, text: str) -> None:
        self._keyboard.write(text.encode())
        self._keyboard.flush()

    def wait_for(self, pattern: str) -> None:
        until = time.monotonic() + HANGS
        while not re.search(pattern, self.shown):
            assert time.monotonic() < until, self.shown
            if select.select([self._screen], [], [], 1)[0]:
                shown = os.read(self._screen.fileno(), 65536)
                assert shown, f"it has ended: {self.shown}"
                self.shown += shown.decode(errors="replace")

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(HANGS)
        self._keyboard.close()
        self._screen.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands(shell: str, program: dict[str, str]) -> None:
    """`graftwork --install-completion` is typed in a shell, and Tab in the next one."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    line = "graftwork --install-completion; true"  # the shell stays, so that it is seen who asks
    done = subprocess.run([shell, "-c", line], env=program, capture_output=True, text=True, check=False)
    assert "installed" in done.stdout, done.stderr
    terminal = Terminal([*SHELLS[shell], "-i"], program)
    try:
        terminal.type("echo rea''dy\n")
        terminal.wait_for("ready")
        if shell == "zsh":
            terminal.wait_for(r"(?s)ready.*\$ ")
            terminal.type("graftwork \t")
            terminal.wait_for("\x07")  # the first Tab reads the script, the next one completes
            terminal.type("\x15")
        for begun, completed in LINES.items():
            terminal.type(f"{begun}\t")
            terminal.wait_for(rf"{begun.split()[-1]}\S*{completed[-1]} ")
            terminal.type("\x15")
    finally:
        terminal.close()


# ---- small parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=[1, 2]", {"kind": "choice", "values": [1, 2]}),
        ("a.b=1..5", {"kind": "integer", "low": 1, "high": 5, "log": False}),
        ("a.b=1..64:log", {"kind": "integer", "low": 1, "high": 64, "log": True}),
        ("a.b=0.1..0.5", {"kind": "uniform", "low": 0.1, "high": 0.5}),
        ("a.b=1e-4..1e-1:log", {"kind": "log_uniform", "low": 1e-4, "high": 0.1}),
        ('a.b={"kind": "uniform", "low": -1, "high": 1}', {"kind": "uniform", "low": -1, "high": 1}),
    ],
)
def test_a_search_is_written_in_short(text: str, values: dict[str, Any]) -> None:
    assert searched(text) == ("a.b", values)


@pytest.mark.parametrize("text", ["a", "a=", "=[1]", "a=3", "a=1..", "a=x..y", "a=1..2:exp"])
def test_a_search_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"FIELD=VALUES, such as .*1e-4\.\.1e-1:log"):
        searched(text)


def test_a_terminal_shows_bars_with_loss_and_time_left() -> None:
    shown = io.StringIO()
    bars = ProgressBars(Console(file=shown, force_terminal=True, width=120))
    running = {"fraction": 0.25, "step": 5, "total_steps": 20, "epoch": 1, "eta_seconds": 200.0, "loss": 0.51234}
    named = {**JOB, "name": "[red]\x1b[31m", "status": "running", "phase": "training", "progress": running}
    bars(answers.Job.from_json(JOB))
    bars(answers.Job.from_json({**JOB, "status": "succeeded", "progress": {**running, "fraction": 1.0}}))
    text = shown.getvalue()
    assert "pretraining digits" in text
    assert "100%" in text
    assert "succeeded, loss 0.5123" in text
    assert text.endswith("\x1b[?25h"), "the cursor is there again"
    bars = ProgressBars(Console(file=shown, force_terminal=True, width=120))
    bars(answers.Job.from_json(named))
    bars.stop()
    text = shown.getvalue()
    assert "training, step 5 of 20, loss 0.5123, 3:20 min left" in text
    assert "[red] [31m" in text, "a name is shown as it is, and commands the terminal nothing"


def test_an_interrupt_has_an_exit_code() -> None:
    with pytest.raises(BaseException, match=str(INTERRUPTED)) as caught, reporting():
        raise KeyboardInterrupt
    assert getattr(caught.value, "exit_code", None) == INTERRUPTED


def test_forms_of_what_was_done(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert json.loads(run(commands, ["version", "--json"]).stdout).keys() == {"version"}
    assert run(commands, ["version", "-q"]).stdout == run(commands, ["version"]).stdout
    assert json.loads(run(commands, ["init", str(tmp_path / "a"), "--json"]).stdout)["files"]
    assert run(commands, ["init", str(tmp_path / "b"), "--quiet"]).stdout == f"{tmp_path / 'b'}\n"
