"""Exit codes by which a trainer tells its supervisor how it ended when it cannot write that into the job's row."""

DEVICE_LOST = 75  # the GPU is gone; no fault of the job
RANK_LOST = 76  # another rank of the same training has ended
RANK_OUT_OF_MEMORY = 77  # the device of another rank has too little memory
