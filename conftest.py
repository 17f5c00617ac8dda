"""What tests are run with: one thread, sums in the same order in each run, and folders in memory where there is room.

It is set before torch is imported, and before a first temporary folder is made; processes of tests inherit it.
"""

import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO")

_MEMORY = Path("/dev/shm")  # noqa: S108 - each test has a folder of its own there
_ENOUGH_MEMORY = 4 << 30

if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_MEMORY:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)  # no test cuts the power
