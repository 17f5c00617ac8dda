"""What is written first: FastAPI, pydantic, a plain endpoint, torch.

It computes what the benched models of Graftwork do; its weights are random, since only their cost counts.
"""

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from bench.serving.network import network

torch.set_num_threads(1)
app = FastAPI()
model = network()


class Rows(BaseModel):
    """Rows of 784 numbers."""

    inputs: list[list[float]]


@app.post("/predict")
def predict(rows: Rows) -> dict[str, list[list[float]] | list[int]]:
    """Return probabilities and classes."""
    with torch.inference_mode():
        probabilities = model(torch.tensor(rows.inputs)).softmax(1)
    return {"probabilities": probabilities.tolist(), "classes": probabilities.argmax(1).tolist()}
