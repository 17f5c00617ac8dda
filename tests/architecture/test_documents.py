"""Documents that cannot rot: the reference is what the code says, and the tree in README is the tree."""

import importlib.util
import re
import subprocess
from pathlib import Path

from app.catalogue.service import ALL_FAMILIES
from app.ml.kinds.registry import kinds
from app.ml.kinds.tokenizers import AnyTokenizer

ROOT = Path(__file__).parents[2]


def test_the_reference_is_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == module.reference(), (
        "run: .venv/bin/python docs/generate.py"
    )


def test_the_tree_in_the_readme_names_every_folder() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## The tree")[1]
    named = set(re.findall(r"^ {4}(\.?\w+)/", section, re.MULTILINE))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named == {line.split("/")[0] for line in listed.splitlines() if "/" in line}


def test_the_first_page_names_every_kind() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8").split("## Try it")[0]
    rows = re.findall(r"^\| (\w+)[^|]* \| (`.*`) \|$", page, re.MULTILINE)
    named = {family: set(re.findall(r"`(\w+)`", cell)) for family, cell in rows}
    families = {**ALL_FAMILIES, "tokenizers": AnyTokenizer}
    details = {"preprocessing", "optimizers", "schedules"}  # they follow from the rest, or are fields of a training
    assert named == {family: set(kinds(union)) for family, union in families.items() if family not in details}


def test_the_rooms_in_the_architecture_are_those_of_the_tree() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## The rooms")[1].split("## Three")[0]
    rooms = {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    for room in rooms:
        assert f"{room}/" in text, room


def test_links_between_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_no_document_names_a_path_of_some_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            assert str(ROOT) + "/" not in (ROOT / name).read_text(encoding="utf-8", errors="ignore"), name
