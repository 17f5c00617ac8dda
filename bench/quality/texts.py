"""P5: BANKING77 with an imported MiniLM, ten labels a class. P7: tiny Shakespeare, the last tenth held out."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from protocol import DRAWS, Figure, Lab
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sources import Array, Labelled, banking77, few, minilm, shakespeare

from worker.training.precision import multiplies_bfloat16

P7_REQUEST: dict[str, Any] = {
    "preprocessing": {"kind": "text", "tokenizer": "character"},
    "method": {"kind": "next_token"},
    "backbone": {"kind": "transformer", "width": 128, "depth": 4, "heads": 4, "ngrams": 4, "ngram_slots": 65536},
}
P7_WINDOW = 257  # characters of a row: 256 are predicted, each from those before it in the row
P7_STEPS, P7_ROWS = 1000, (4, 8)  # rows per step: 4 where the processor computes in float32, for equal CPU time
# Embeddings and half of the blocks are frozen. Chosen on other draws of the labels, measured on other train rows.
P5_STRATEGY: dict[str, Any] = {"kind": "lp_ft", "frozen": 4, "lr_scale": 0.03, "again": True}
P5_TRAINING: dict[str, Any] = {"epochs": 4, "batch_size": 32, "optimizer": {"kind": "adamw", "lr": 0.003}}
P5_GRAPH: dict[str, Any] = {"answers": "hard", "use": "always", "neighbours": 15, "alpha": 0.9, "rows": 10_003}
P5_OWN_TOKENS: dict[str, Any] = {"kind": "text", "tokenizer": "bpe", "max_tokens": 64}  # the tokenizer of the controls


def banking(lab: Lab, data: Path) -> Iterator[Figure]:
    """P5: the imported encoder, fine-tuned and probed, with and without unlabelled queries; and the defaults."""
    queries = banking77(data)
    model = lab.client.models.create(minilm(), name="minilm", architecture="bert")
    chosen = [few(queries.y, 10, draw) for draw in DRAWS]
    datasets = [_upload(lab, queries, rows) for rows in chosen]
    lab.fresh()
    tuned = [lab.fine_tune(dataset, model["id"], strategy=P5_STRATEGY, training=P5_TRAINING) for dataset in datasets]
    values = [lab.accuracy(fine_tuned, queries.test_x, queries.test_y) for fine_tuned in tuned]
    cpu = lab.cpu_seconds
    new = {"preprocessing": P5_OWN_TOKENS, "backbone": model["backbone"], "strategy": {"kind": "linear_probe"}}
    scratch = {"preprocessing": P5_OWN_TOKENS, "strategy": {"kind": "full"}}
    controls = {
        "TF-IDF": float(np.mean([_tfidf(queries, rows) for rows in chosen])),
        "untrained": float(np.mean(lab.scores(queries, datasets, None, **new))),
        "scratch": float(np.mean(lab.scores(queries, datasets, None, **scratch))),
    }
    reference = "USE+ConveRT 85.19, DNNC 86.71, CPFT 87.20"
    figure = Figure("P5", "accuracy, 10 labels a class, fine-tuned", values, controls, reference, 86.7, cpu)
    yield figure
    unlabelled = _upload_without_labels(lab, queries)
    for what, models in (
        ("accuracy, 10 labels a class, ", [model["id"]] * len(datasets)),
        ("accuracy, 10 labels a class, fine-tuned, ", tuned),
    ):
        lab.fresh()
        values = [_with_unlabelled(lab, queries, unlabelled, *pair) for pair in zip(datasets, models, strict=True)]
        seconds = lab.cpu_seconds + (cpu if models is tuned else 0)
        yield Figure("P5", f"{what}10,003 queries without", values, controls, reference, 86.7, seconds)
    lab.fresh()
    values = lab.scores(queries, datasets, model["id"])
    yield replace(figure, what="accuracy, 10 labels a class").of_defaults(values, lab.cpu_seconds)


def language(lab: Lab, data: Path) -> Iterator[Figure]:
    """P7: the loss of the held-out tenth in adjacent windows, in nats per character."""
    text = shakespeare(data)
    lab.fresh()
    dataset = lab.upload(
        text.encode(),
        filename="shakespeare.txt",
        modality="text",
        text={"rows": "windows", "window": P7_WINDOW},
        splits={"train": 0.9, "validation": 0.1, "test": 0},
    )
    rows = P7_ROWS[multiplies_bfloat16(torch.device("cpu"))]
    training = {"steps": P7_STEPS, "batch_size": rows, "optimizer": {"kind": "adamw", "lr": 3e-3}}
    job = lab.job(kind="pretraining", dataset=dataset, training=training, **P7_REQUEST)
    loss = job["metrics"]["losses"]["loss"]
    reference = "nanoGPT: CPU recipe 1.88, GPU 1.4697"
    yield Figure("P7", "validation loss, nats", [loss], {}, reference, 1.70, lab.cpu_seconds, lower_is_better=True)


def _with_unlabelled(lab: Lab, queries: Labelled, unlabelled: str, dataset: str, model: str) -> float:
    """Return the accuracy of a probe that also uses the train queries without labels."""
    probe = {"strategy": {"kind": "linear_probe", "layer": "last"}, "unlabelled": {"dataset": unlabelled, **P5_GRAPH}}
    (value,) = lab.scores(queries, [dataset], model, **probe)
    return value


def _upload_without_labels(lab: Lab, queries: Labelled) -> str:
    content = _csv(queries.x, np.array(["none"] * len(queries.x)))
    return lab.upload(content, filename="all.csv", modality="text", columns={"text": "input", "label": "ignored"})


def _upload(lab: Lab, queries: Labelled, chosen: Array) -> str:
    content = _csv([queries.x[index] for index in chosen], queries.y[chosen])
    return lab.upload(content, filename="queries.csv", modality="text", columns={"text": "input", "label": "target"})


def _csv(texts: Sequence[str], labels: Array) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("text", "label"))
    writer.writerows(zip(texts, labels.tolist(), strict=True))
    return file.getvalue().encode()


def _tfidf(queries: Labelled, chosen: Array) -> float:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    model.fit([queries.x[index] for index in chosen], queries.y[chosen])
    return 100 * float(model.score(queries.test_x, queries.test_y))
