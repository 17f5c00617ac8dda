"""JSON Lines: an input on every line."""

from codecs import BOM_UTF8
from typing import Any

from app.kit import strict_json
from app.kit.json_outline import VALUE_BYTES, count_bytes, parsed_bytes
from app.predictions.bodies.form import BodyForm, check_count, unreadable


def read(content: bytes) -> list[Any]:
    """Return the inputs of all lines that are not blank. Raises UnprocessableError for a line that is no JSON."""
    lines = [
        (number, line) for number, line in enumerate(content.removeprefix(BOM_UTF8).splitlines(), 1) if line.strip()
    ]
    check_count(len(lines))
    inputs = []
    for number, line in lines:
        try:
            inputs.append(strict_json.loads(line))
        except strict_json.StrictJsonError as error:
            msg = f"line {number}: {error}"
            raise unreadable(msg, len(inputs)) from None
    return inputs


FORM = BodyForm(
    ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"),
    (".jsonl", ".ndjson"),
    read,
    parsed_bytes=lambda content: parsed_bytes(content) + VALUE_BYTES * count_bytes(content, b"\n"),
    schema={"type": "string", "description": "An input on each line, as in the list `inputs` of a JSON body."},
)
