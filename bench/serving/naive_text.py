"""A text model as one would serve it by hand: FastAPI, pydantic and torch, with our tokenizer and network.

MODEL names the folder of the model's files.
"""

import os
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from app.ml.models.predictor import load_bundle

torch.set_num_threads(1)
app = FastAPI()
predictor = load_bundle(Path(os.environ["MODEL"]))


class Texts(BaseModel):
    """Texts to predict."""

    inputs: list[str]


@app.post("/predict")
def predict(body: Texts) -> list[dict[str, Any]]:
    """Return the answer to each text."""
    return predictor.predict(predictor.decode(body.inputs))
