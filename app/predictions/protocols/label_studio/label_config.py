"""The labelling config of a project: an XML document, of which one question of choices and its object are read.

https://labelstud.io/tags/choices: <Choices name="..." toName="..." choice="single|single-radio|multiple"> with <Choice
value="..." alias="..."/>; toName is the name of an object tag, whose value="$key" says where a task holds the row.
"""

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from app.errors import ErrorItem, UnprocessableError

_KEY = re.compile(r"\$([^\s{}]+)")
_NAMES = 10


@dataclass(frozen=True, slots=True)
class Question:
    """One question of choices: its tag's name, the object's, the key of the row, and the answers that there are."""

    name: str
    object: str
    object_tag: str
    key: str
    choices: tuple[str, ...]
    is_multiple: bool

    def is_a_choice(self, label: str) -> bool:
        """Whether Label Studio takes this label; a config whose choices come from the tasks takes any."""
        return not self.choices or label in self.choices


def questions_of(text: str) -> list[Question]:
    """Return the questions of choices of a config, in its order.

    Raises:
        UnprocessableError: it is no XML, or declares entities; or it has no choices.
    """
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        msg = "a labelling config declares no document type and no entities"
        raise _refusal(msg)
    try:
        root = ET.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
    except ET.ParseError:
        msg = "the labelling config is no XML: take it as Label Studio shows it under Settings, Labeling Interface"
        raise _refusal(msg) from None
    objects = {tag.get("name"): tag for tag in root.iter() if tag.get("name") and tag.get("value", "").startswith("$")}
    questions = []
    for tag in root.iter("Choices"):
        target = objects.get(tag.get("toName", "").split(",")[0])
        match = None if target is None else _KEY.match(target.get("value", ""))
        if target is None or match is None or not tag.get("name"):
            continue
        choices = tuple(
            value for choice in tag.iter("Choice") if (value := choice.get("alias") or choice.get("value")) is not None
        )
        questions.append(
            Question(
                name=tag.get("name", ""),
                object=target.get("name", ""),
                object_tag=target.tag,
                key=match[1],
                choices=choices,
                is_multiple=tag.get("choice") == "multiple",
            )
        )
    if not questions:
        msg = 'models answer choices: the labelling config has no <Choices name="..." toName="..."> of a value="$..."'
        raise _refusal(msg)
    return questions


def question_for(questions: list[Question], heads: list[str]) -> tuple[Question, str | None]:
    """Return the question that a model answers, and its head: those of one name, or else the only ones.

    A model without heads answers nothing yet: what people say to the first question will be its first head.
    """
    for question in questions:
        if question.name in heads:
            return question, question.name
    if not heads:
        return questions[0], None
    if len(heads) == 1 and len(questions) == 1:
        return questions[0], heads[0]
    asked = ", ".join(repr(question.name) for question in questions[:_NAMES])
    have = ", ".join(map(repr, heads[:_NAMES]))
    msg = (
        f"none of the choices {asked} is called as a head of the model, which has {have}: give one of them such a name"
    )
    raise _refusal(msg)


def _refusal(msg: str) -> UnprocessableError:
    return UnprocessableError(
        f"label_config: {msg}", code="invalid_request", errors=[ErrorItem(loc=["body", "label_config"], msg=msg)]
    )
