"""docs/glossary.md against the code: each word has a place that carries it, and retired words have none."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+)` \|$")
LINES = [line for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
ENTRIES = [match.groups() for line in LINES[2:] if (match := ROW.match(line))]
SOURCES = [path for folder in ("app", "worker") for path in sorted((ROOT / folder).rglob("*.py"))]
RETIRED = r"told|insist|bark|wishes|gains|Ground|beside"


def test_every_line_is_an_entry() -> None:
    assert len(ENTRIES) == len(LINES) - 2


def test_words_are_in_order_and_each_is_there_once() -> None:
    words = [word.lower() for word, _, _ in ENTRIES]
    assert words == sorted(set(words))


@pytest.mark.parametrize(("word", "meaning", "code"), ENTRIES, ids=[word for word, _, _ in ENTRIES])
def test_a_word_is_one_sentence_and_the_code_carries_it(word: str, meaning: str, code: str) -> None:
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert not re.search(r"\.\s", meaning), "one sentence"
    module, name = code.rsplit(".", 1) if code.rsplit(".", 1)[1][0].isupper() else (code, None)
    carrier = importlib.import_module(module)
    assert name is None or hasattr(carrier, name)
    text = f"{code} {Path(str(carrier.__file__)).read_text(encoding='utf-8')}".lower()
    stem = re.split(r"[ -]", word.lower())[-1][:6].rstrip("sy")
    assert stem in text.replace("_", " "), f"{code} speaks of no {word}"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_retired_words_do_not_come_back(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(rf"\b(?:{RETIRED})\b", text)
    assert not re.findall(r"\b_(?:MOST|FEWEST|LEAST)_\w*", text)


@pytest.mark.parametrize("room", ["app/ml", "worker"])
def test_few_modules_lie_loose_in_a_room(room: str) -> None:
    loose = [path.name for path in (ROOT / room).glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= 3, loose
