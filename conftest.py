"""What tests are run with, set before torch is imported: one thread, and sums in the same order in each run."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO")
