"""How an attempt learns that its worker is to end."""


class DrainedError(Exception):
    """The worker shuts down; the job goes back to the queue as it stands."""
