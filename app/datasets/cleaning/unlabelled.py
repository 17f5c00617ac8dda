"""Rows without any label: left out, or kept for train, as the option `unlabelled` says. Every list begins with this."""

from typing import Literal

import numpy as np

from app.datasets.cleaning.state import Work


def check_labels(work: Work, choice: Literal["remove", "keep"]) -> None:
    """With one target, mind the rows that lack it; with several, those that lack all of them."""
    specs = work.frame.target_specs
    lacking = np.flatnonzero(np.isnan(work.frame.targets).all(axis=1)) if specs else np.empty(0, np.int64)
    if not len(lacking):
        return
    names = ", ".join(spec.name for spec in specs)
    examples = [work.name(int(place)) for place in lacking[:5]]
    if choice == "keep":
        text = f"{len(lacking)} rows have no value for {names}; they are kept, in train, as unlabelled says"
        work.notes.notice(text)
    else:
        text = f'rows without a value for {names} cannot teach it; unlabelled = "keep" keeps them for learning without'
        work.remove(lacking, "missing_target", f"no value for {names}")
    work.record("missing_target", choice, len(lacking), "rows", text, examples)
