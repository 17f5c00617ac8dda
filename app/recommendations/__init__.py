"""Which backbone for which labels."""
