"""How a figure is reached: everything over HTTP, and the test labels stay here.

A job is given unlabelled rows and labelled training rows. The test inputs are sent to the finished model as any user's
would be; only its answers meet the test labels. What every model's files hash to is kept, so that `blind` can prove it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

import numpy as np
from sources import Array, Labelled

from app.client import Graftwork

Json = dict[str, Any]
DRAWS = (0, 1, 2)
AT_ONCE = 200  # inputs of one request: a thousand texts may take longer than a client waits on a busy machine
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

    def of_defaults(self, values: Sequence[float], cpu_seconds: float) -> "Figure":
        """What a user gets who chooses nothing: at least half of the way from the best control to the target."""
        below = [value for value in self.controls.values() if value < self.target]
        half = round((max(below, default=self.target) + self.target) / 2, 1)
        return Figure(self.row, f"defaults alone: {self.what}", values, self.controls, "", half, cpu_seconds)


@dataclass
class Lab:
    """The service, how many CPU seconds its jobs have taken since `fresh`, and the digests of all models' files."""

    client: Graftwork
    cpu_seconds: float = 0.0
    digests: list[dict[str, str]] = field(default_factory=list)
    _uploads: int = 0

    def fresh(self) -> None:
        """Begin to count anew."""
        self.cpu_seconds = 0.0

    def upload(self, source: Any, **options: Any) -> str:
        """Upload a dataset all of whose rows train, unless told otherwise; returns its id."""
        self._uploads += 1
        fields = {"splits": TRAIN_ONLY, "duplicates": "keep", **options}
        dataset = self.client.datasets.create(source, name=f"set-{self._uploads}", **fields)
        return str(dataset["id"])

    def labelled(self, data: Labelled, chosen: Array) -> str:
        """Upload the chosen rows of what is trained on, with their labels."""
        arrays = {"x": data.x[chosen], "y": data.y[chosen]}
        return self.upload(arrays, modality=data.modality)

    def job(self, **request: Any) -> Json:
        """Run a job to its end and count its CPU seconds."""
        job = self.client.jobs.create(wait=True, **request)
        spent = [one["data"].get("cpu_seconds", 0.0) for one in self.client.jobs.events(job["id"])]
        self.cpu_seconds += sum(spent)
        return job

    def pretrain(self, dataset: str, **fields: Any) -> str:
        """Pretrain and return the model's id."""
        return self._model(self.job(kind="pretraining", dataset=dataset, **fields))

    def fine_tune(self, dataset: str, model: str | None, **fields: Any) -> str:
        """Fine-tune a classifier of `label` and return the model's id."""
        request = {"heads": [{"kind": "classifier", "target": "label"}], "model": model, **fields}
        return self._model(self.job(kind="fine_tuning", dataset=dataset, **request))

    def classes(self, model: str, inputs: Any) -> Array:
        """The classes that a model answers, as text (N,)."""
        parts = [inputs[start : start + AT_ONCE] for start in range(0, len(inputs), AT_ONCE)]
        answers = [one for part in parts for one in self.client.models.predict(model, part)]
        return np.array([one["label"]["class"] for one in answers])

    def accuracy(self, model: str, inputs: Any, truth: Array) -> float:
        """Percent of the answers that are right."""
        return accuracy(self.classes(model, inputs), truth)

    def scores(self, data: Labelled, datasets: Sequence[str], model: str | None, **fields: Any) -> list[float]:
        """Accuracies on the test inputs, fine-tuned on one labelled dataset after the other."""
        found = []
        for dataset in datasets:
            fine_tuned = self.fine_tune(dataset, model, **fields)
            found.append(self.accuracy(fine_tuned, data.test_x, data.test_y))
            print(f"  {found[-1]:.1f} {fields}", file=sys.stderr, flush=True)
        return found

    def _model(self, job: Json) -> str:
        model = str(job["outputs"][0]["model"])
        files = self.client.models.get(model)["files"]
        self.digests.append({one["name"]: one["sha256"] for one in files})
        return model


def accuracy(answers: Array, truth: Array) -> float:
    """Percent."""
    return 100 * float(np.mean(answers.astype(str) == truth.astype(str)))
