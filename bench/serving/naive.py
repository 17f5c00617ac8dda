"""What is written first: FastAPI, pydantic, a plain endpoint, torch.

uvicorn bench.serving.naive:app
"""

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from bench.serving.network import MODELS, network

app = FastAPI()
networks = {name: network(name) for name in MODELS}
Answer = dict[str, list[list[float]] | list[int]]


class Rows(BaseModel):
    """Rows of 784 numbers."""

    inputs: list[list[float]]


class Images(BaseModel):
    """Pictures of 28 x 28 bytes."""

    inputs: list[list[list[int]]]


@app.post("/table")
def predict_table(rows: Rows) -> Answer:
    """Return probabilities and classes."""
    return answer("table", torch.tensor(rows.inputs))


@app.post("/image")
def predict_image(images: Images) -> Answer:
    """Return probabilities and classes."""
    return answer("image", torch.tensor(images.inputs).float().flatten(1))


def answer(model: str, rows: torch.Tensor) -> Answer:
    """Rows (N, 784) to probabilities and classes."""
    with torch.inference_mode():
        probabilities = networks[model](rows).softmax(1)
    return {"probabilities": probabilities.tolist(), "classes": probabilities.argmax(1).tolist()}
