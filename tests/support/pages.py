"""Files as people drop them on the page, one of each modality."""

import csv
import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HOSTILE = "<img src=x onerror=alert(1)>"


def people(path: Path, rows: int = 300) -> Path:
    """A table whose column churn follows from plan and age, with missing ages and a city that looks like HTML."""
    draw = random.Random(0)  # noqa: S311 - data, not a secret
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "city", "plan", "churn"])
        for _ in range(rows):
            age, plan = draw.randint(18, 80), draw.choice(["basic", "pro", "team"])
            city = draw.choice(["Bern", "Oslo", "Rome", HOSTILE])
            churn = "yes" if plan == "basic" and age < 50 else "no"
            writer.writerow(["NA" if draw.random() < 0.05 else age, city, plan, churn])
    return path


def tickets(path: Path, rows: int = 200) -> Path:
    """Texts with their topic."""
    draw = random.Random(0)  # noqa: S311 - data, not a secret
    phrases = {
        "billing": ["the invoice is wrong", "refund my card", "I was charged twice"],
        "bug": ["the app crashes", "the login page is blank", "a button does nothing"],
    }
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            topic = draw.choice(list(phrases))
            text = (
                f"{draw.choice(phrases[topic])} since day {number}, {draw.choice(['please help', 'again', 'thanks'])}"
            )
            file.write(json.dumps({"text": text, "topic": topic}) + "\n")
    return path


def pictures(path: Path, rows: int = 200) -> Path:
    """A zip of pictures of digits 0 and 1, a folder each."""
    images, labels = load_digits(n_class=2, return_X_y=True)
    with zipfile.ZipFile(path, "w") as file:
        for number, (image, label) in enumerate(zip(images[:rows], labels[:rows], strict=True)):
            content = io.BytesIO()
            Image.fromarray((image.reshape(8, 8) * 15.9).astype(np.uint8)).resize((16, 16)).save(content, "PNG")
            file.writestr(f"{['zero', 'one'][label]}/{number}.png", content.getvalue())
    return path


def sensors(path: Path, rows: int = 80) -> Path:
    """An archive of series of two channels; those of class 1 swing."""
    draw = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    steps = np.sin(np.arange(24) / 2)[None, :, None] * labels[:, None, None]
    np.savez(path, x=(steps + draw.normal(0, 0.3, (rows, 24, 2))).astype(np.float32), y=labels)
    return path


def sums(path: Path, rows: int = 120) -> Path:
    """A table of four numbers whose column sum is the sum of the first two, with some noise."""
    draw = np.random.default_rng(0)
    numbers = draw.uniform(-1, 1, (rows, 4))
    table = np.column_stack([numbers, numbers[:, 0] + numbers[:, 1] + draw.normal(0, 0.1, rows)])
    np.savetxt(path, table, "%.4f", ",", header="a,b,c,d,sum", comments="")
    return path
