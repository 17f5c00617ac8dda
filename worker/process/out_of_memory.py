"""Whether the kernel killed a process because memory ran out."""

from pathlib import Path


def oom_kills(memory_events: Path) -> int:
    """Count the kernel's kills in this control group so far; 0 where that cannot be known."""
    try:
        lines = memory_events.read_text().split("\n")
    except OSError:
        return 0
    counts = dict(line.split() for line in lines if line)
    return int(counts.get("oom_kill", 0))
