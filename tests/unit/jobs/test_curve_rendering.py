"""Whatever a class or a head is called, a picture stays one."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from app.jobs.curve_rendering import render_curve
from app.ml.evaluation.classification import Classification
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.curve_builders import learning
from app.ml.evaluation.regression import Regression

NASTY = ('<script>alert("x")</script>', "$\\frac{", "_hidden", "a]]>&--b\x07", "名前 שם", "x" * 300)


def curves() -> list[Curve]:
    random = np.random.default_rng(0)
    outcomes = Classification(random.dirichlet(np.ones(len(NASTY)), 60), np.arange(60) % len(NASTY), NASTY)
    numbers = Regression(random.normal(size=9), random.normal(size=9))
    learned = learning([(1, {"val/$loss": 1.0, "val/<b>": 0.5}), (2, {"val/$loss": None})])
    return [*outcomes.curves("<b>$head$"), *numbers.curves("_x"), learned, learning([])]


@pytest.mark.parametrize("curve", curves(), ids=lambda curve: curve.kind)
def test_names_are_text_alone(curve: Curve) -> None:
    drawn = render_curve(curve, "svg")
    document = ET.fromstring(drawn.decode())  # noqa: S314 - it is ours
    names = {element.tag.rpartition("}")[2] for element in document.iter()}
    assert not names & {"script", "a", "foreignObject", "iframe"}
    links = [value for element in document.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert all(value.startswith(("#", "data:image/png")) for value in links)
    assert not any(key.startswith("on") for element in document.iter() for key in element.attrib)
    assert Image.open(io.BytesIO(render_curve(curve, "png"))).size == (640, 480)


def test_the_same_curve_gives_the_same_bytes() -> None:
    curve = learning([(1, {"val/loss": 1.0}), (2, {"val/loss": 0.5})])
    assert render_curve(curve, "svg") == render_curve(curve, "svg")
    assert render_curve(curve, "png") == render_curve(curve, "png")


def test_many_classes_are_drawn_without_names() -> None:
    truth = np.arange(400) % 80
    names = tuple(f"class {index}" for index in range(80))
    outcomes = Classification(np.random.default_rng(0).dirichlet(np.ones(80), 400), truth, names)
    matrix = outcomes.curves("y")[-1]
    assert b"class 3" not in render_curve(matrix, "svg")
