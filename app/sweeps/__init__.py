"""Sweeps: which values are tried for which fields, what trials have come to, and how they rank."""
