"""`graftwork server storage` and `graftwork gc` as one types them, and what lies in a service's folder."""

import json
import subprocess
import sys

from tests.support.servers import Service


def graftwork_command(running: Service, *words: str, **settings: object) -> str:
    """What a command prints that is run to its end, with the service's settings and others."""
    environment = running.environment | {f"GRAFTWORK_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "app.cli.main", *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def collected(running: Service, *words: str) -> dict[str, str]:
    """Collect garbage at once; what became of each file."""
    told = json.loads(graftwork_command(running, "gc", "--json", *words, gc_grace_seconds=0))
    return {one["name"]: one["action"] for one in told}


def files(running: Service, name: str = "") -> list[str]:
    """The files below a folder of its data folder."""
    folder = running.folder / "data" / name
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
