"""What a type checker makes of users' programs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent / "example"


def test_mypy_finds_nothing_in_a_users_program_and_every_mistake_of_another(tmp_path: Path) -> None:
    """The folder has no configuration but --strict, as a user's new project."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "uses.py", "misuses.py"]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout
    errors = {(name, int(line)) for name, line in re.findall(r"^(\S+):(\d+): error", output, re.MULTILINE)}
    lines = (EXAMPLE / "misuses.py").read_text(encoding="utf-8").splitlines()
    mistakes = {("misuses.py", number) for number, line in enumerate(lines, 1) if number > 5 and line}
    assert len(mistakes) == 10
    assert errors == mistakes, output
