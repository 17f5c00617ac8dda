"""The outputs of a model as named tensors."""

import pytest

from app.errors import ConflictError
from app.ml.interfaces.answers import AnswerPart
from app.predictions.protocols.open_inference.outputs import outputs_of

PARTS = (
    AnswerPart("", "text", (1,), lambda answer: answer["class"]),
    AnswerPart("probabilities", "probability", (2,), lambda answer: answer["probabilities"]),
)


def test_each_part_of_a_head_has_a_name_and_then_come_the_embeddings() -> None:
    assert list(outputs_of({"a": PARTS, "b": PARTS}, 4)) == [
        "a",
        "a.probabilities",
        "b",
        "b.probabilities",
        "embeddings",
    ]


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(ConflictError, match=r"a\.probabilities"):
        outputs_of({"a": PARTS, "a.probabilities": PARTS}, 4)
