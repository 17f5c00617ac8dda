"""Exit codes by which a trainer tells its supervisor what no row can say any more."""

DEVICE_LOST = 75  # the GPU is gone; no fault of the job
