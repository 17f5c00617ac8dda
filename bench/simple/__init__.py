"""The service by its defaults beside simple things; what it shares with bench/quality is imported from there."""

import sys
from pathlib import Path

_BENCH = Path(__file__).parents[1]
sys.path[:0] = [str(folder) for folder in (_BENCH / "quality", _BENCH) if str(folder) not in sys.path]
