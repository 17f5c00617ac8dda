"""The protocol of all figures: everything runs over HTTP, and test labels never leave this process.

Jobs get unlabelled rows and labelled train rows. The test inputs are sent to the finished model for prediction, and
only its answers are compared to the test labels. The hashes of all models' files are kept as a proof for `blind`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

import numpy as np
from sources import Array, Labelled

from graftwork import Graftwork

Json = dict[str, Any]
DRAWS = (0, 1, 2)
BATCH_SIZE = 200  # inputs of one request: 1,000 texts may exceed the client's timeout on a busy machine
COUNTED = ("job.running", "training.finished", "model.refitted")  # events that tell CPU seconds, none twice
TRAIN_ONLY = {"train": 1.0, "validation": 0.0, "test": 0.0}


@dataclass(frozen=True)
class Figure:
    """A measured value over label draws, with its controls, a reference and the target."""

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
        """Standard deviation over the draws; 0 for one draw."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.mean <= self.target if self.lower_is_better else self.mean >= self.target

    def of_defaults(self, values: Sequence[float], cpu_seconds: float) -> "Figure":
        """Return the figure of a run with defaults only; its target is halfway from the best control to this target."""
        below = [value for value in self.controls.values() if value < self.target]
        half = round((max(below, default=self.target) + self.target) / 2, 1)
        return Figure(self.row, f"defaults alone: {self.what}", values, self.controls, "", half, cpu_seconds)


@dataclass
class Lab:
    """A client that counts the CPU seconds of its jobs since `fresh`, and keeps the digests of all models' files."""

    client: Graftwork
    cpu_seconds: float = 0.0
    digests: list[dict[str, str]] = field(default_factory=list)
    _uploads: int = 0

    def fresh(self) -> None:
        """Reset the CPU seconds."""
        self.cpu_seconds = 0.0

    def upload(self, source: Any, **options: Any) -> str:
        """Upload a dataset and return its id; by default all rows are train rows."""
        self._uploads += 1
        fields = {"splits": TRAIN_ONLY, "duplicates": "keep", **options}
        dataset = self.client.datasets.create(source, name=f"set-{self._uploads}", **fields)
        return str(dataset["id"])

    def labelled(self, data: Labelled, chosen: Array) -> str:
        """Upload the `chosen` train rows with their labels; return the dataset's id."""
        arrays = {"x": data.x[chosen], "y": data.y[chosen]}
        return self.upload(arrays, modality=data.modality)

    def job(self, **request: Any) -> Json:
        """Run a job to its end and count its CPU seconds."""
        job = self.client.jobs.create(wait=True, **request)
        self.cpu_seconds += self.cpu_seconds_of(job["id"])
        return job

    def cpu_seconds_of(self, job_id: str) -> float:
        """Return the CPU seconds of a job: of what it did before its first step, and of its training."""
        events = self.client.jobs.events(job_id)
        return float(sum(event["data"].get("cpu_seconds", 0.0) for event in events if event["type"] in COUNTED))

    def pretrain(self, dataset: str, **fields: Any) -> str:
        """Pretrain and return the model's id."""
        return self.model_of(self.job(kind="pretraining", dataset=dataset, **fields))

    def fine_tune(self, dataset: str, model: str | None, **fields: Any) -> str:
        """Fine-tune a classifier of `label` and return the model's id."""
        request = {"heads": [{"kind": "classifier", "target": "label"}], "model": model, **fields}
        return self.model_of(self.job(kind="fine_tuning", dataset=dataset, **request))

    def classes(self, model: str, inputs: Any) -> Array:
        """Return the classes (N,) that a model predicts, as text."""
        batches = [inputs[start : start + BATCH_SIZE] for start in range(0, len(inputs), BATCH_SIZE)]
        answers = [answer for batch in batches for answer in self.client.models.predict(model, batch)]
        return np.array([answer["label"]["class"] for answer in answers])

    def accuracy(self, model: str, inputs: Any, truth: Array) -> float:
        """Return the percentage of correct predictions."""
        return accuracy(self.classes(model, inputs), truth)

    def scores(self, data: Labelled, datasets: Sequence[str], model: str | None, **fields: Any) -> list[float]:
        """Fine-tune on each labelled dataset; return the accuracies on the test inputs."""
        accuracies = []
        for dataset in datasets:
            fine_tuned = self.fine_tune(dataset, model, **fields)
            accuracies.append(self.accuracy(fine_tuned, data.test_x, data.test_y))
            print(f"  {accuracies[-1]:.1f} {fields}", file=sys.stderr, flush=True)
        return accuracies

    def model_of(self, job: Json) -> str:
        """Return the id of the model that a job has made, and keep the digests of its files."""
        model = str(job["outputs"][0]["model"])
        files = self.client.models.get(model)["files"]
        self.digests.append({file["name"]: file["sha256"] for file in files})
        return model


def accuracy(answers: Array, truth: Array) -> float:
    """Return the percentage of answers that equal the truth, compared as text."""
    return 100 * float(np.mean(answers.astype(str) == truth.astype(str)))
