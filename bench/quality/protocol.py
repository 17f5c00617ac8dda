"""How a figure is reached: everything over HTTP, and the test labels stay here.

A job is given unlabelled rows and labelled training rows. The test inputs are sent to the finished model as any user's
would be; only its answers meet the test labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

import numpy as np
from sources import Array

from app.client import Graftwork

Json = dict[str, Any]
DRAWS = (0, 1, 2)
TRAIN_ONLY = {"train": 1.0, "validation": 0.0, "test": 0.0}


@dataclass(frozen=True)
class Figure:
    """One measured value: over label draws, beside its controls and what was asked."""

    row: str
    what: str
    values: Sequence[float]
    controls: dict[str, float]
    reference: str
    target: float
    cpu_seconds: float
    lower_is_better: bool = False
    note: str = ""

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return mean(self.values)

    @property
    def std(self) -> float:
        """Deviation over the draws; 0 for one."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.mean <= self.target if self.lower_is_better else self.mean >= self.target


@dataclass
class Lab:
    """The service, and how many CPU seconds its jobs have taken since `fresh`."""

    client: Graftwork
    say: Callable[[str], None]
    cpu_seconds: float = 0.0
    _uploads: int = field(default=0)

    def fresh(self) -> None:
        """Begin to count anew."""
        self.cpu_seconds = 0.0

    def upload(self, source: Any, **options: Any) -> str:
        """Upload a dataset all of whose rows train, unless told otherwise; returns its id."""
        self._uploads += 1
        fields = {"splits": TRAIN_ONLY, "duplicates": "keep", **options}
        dataset = self.client.datasets.create(source, name=f"set-{self._uploads}", **fields)
        return str(dataset["id"])

    def job(self, **request: Any) -> Json:
        """Run a job to its end and count its CPU seconds."""
        job = self.client.jobs.create(wait=True, **request)
        spent = [one["data"].get("cpu_seconds", 0.0) for one in self.client.jobs.events(job["id"])]
        self.cpu_seconds += sum(spent)
        return job

    def pretrain(self, dataset: str, **fields: Any) -> str:
        """Pretrain and return the model's id."""
        return _model(self.job(kind="pretraining", dataset=dataset, **fields))

    def fine_tune(self, dataset: str, model: str | None, **fields: Any) -> str:
        """Fine-tune a classifier of `label` and return the model's id."""
        request = {"heads": [{"kind": "classifier", "target": "label"}], "model": model, **fields}
        return _model(self.job(kind="fine_tuning", dataset=dataset, **request))

    def classes(self, model: str, inputs: Any) -> Array:
        """The classes that a model answers, as text (N,)."""
        return np.array([one["label"]["class"] for one in self.client.models.predict(model, inputs)])

    def accuracy(self, model: str, inputs: Any, truth: Array) -> float:
        """Percent of the answers that are right."""
        return accuracy(self.classes(model, inputs), truth)


def accuracy(answers: Array, truth: Array) -> float:
    """Percent."""
    return 100 * float(np.mean(answers.astype(str) == truth.astype(str)))


def _model(job: Json) -> str:
    return str(job["outputs"][0]["model"])
