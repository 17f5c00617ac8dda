"""What the notebooks share: a service to ask, and the drawing of a transfer report."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from graftwork import Graftwork, UnreachableError

START_SECONDS = 120
# Runs the service until its standard input ends, which it does with the notebook, however that ends.
KEEPER = """
import shutil, subprocess, sys
service = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
sys.stdin.read()
service.terminate()
service.wait()
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""
_keepers: list["subprocess.Popen[bytes]"] = []  # each has an end of the pipe, which must stay open


def connect() -> Graftwork:
    """Return a client of the service of `GRAFTWORK_URL` and `GRAFTWORK_KEY`, or of a new one in a temporary folder.

    A new one ends with the notebook.

    Raises:
        RuntimeError: it does not start; the message says what it wrote.
    """
    return Graftwork() if os.environ.get("GRAFTWORK_URL") else _start()


def draw(report: dict[str, Any]) -> None:
    """Draw the scores of a transfer report: of the pretrained backbone, and of each control that was trained.

    `report` is what a job has of a head: `job.metrics["transfer"]["heads"]["label"]`.
    """
    scores = {name: control["score"] for name, control in report["controls"].items() if control["score"] is not None}
    scores["pretrained"] = report["pretrained"]
    _, axes = plt.subplots(figsize=(5, 2.2), dpi=80, layout="constrained")
    bars = axes.barh(list(scores), list(scores.values()), color=[*["lightgrey"] * (len(scores) - 1), "seagreen"])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlim=(0, 1.1), xlabel=f"{report['score']} of {report['rows']} rows", title=f"Verdict: {report['verdict']}")
    plt.show()


def _start() -> Graftwork:
    from app.kit.process import free_port  # noqa: PLC0415 - the client alone comes without it

    folder = tempfile.mkdtemp(prefix="graftwork-")
    port, key, log = str(free_port()), secrets.token_hex(20), Path(folder) / "service.log"
    command = [sys.executable, "-m", "app.cli.main", "up", "--data", folder, "--port", port]
    with log.open("wb") as file:
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, folder, *command],
            env=os.environ | {"GRAFTWORK_BOOTSTRAP_KEY": key, "GRAFTWORK_BRING_IN_WEIGHTS": "false"},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,  # what interrupts the notebook does not interrupt the service
        )
    _keepers.append(keeper)
    graftwork = Graftwork(f"http://127.0.0.1:{port}", key)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            graftwork.ready()
        except UnreachableError:
            continue
        return graftwork
    msg = f"The service did not start:\n{log.read_text(errors='replace')}"
    raise RuntimeError(msg)
