import pytest

from app.kit.ids import new_id
from app.models.refs import Ref, as_name, is_alias, parse


def test_each_form_of_a_reference_is_told_apart() -> None:
    model_id = new_id("mdl")
    assert parse(model_id) == Ref(id=model_id)
    assert parse("fashion") == Ref(name="fashion")
    assert parse("fashion@3") == Ref(name="fashion", version=3)
    assert parse("fashion@2024-best") == Ref(name="fashion", alias="2024-best")
    assert parse("mdl_short") == Ref(name="mdl_short")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@1",
        "a@b@c",
        "-a",
        ".",
        "..",
        "a/b",
        "a b",
        "a\n",
        "a@1\n",
        "a@x\n",
        "ä",
        "a" * 101,
        "a@99999999999",
        "a@-1",
    ],
)
def test_what_nothing_can_be_called_is_no_reference(text: str) -> None:
    assert parse(text) is None


def test_an_alias_is_never_mistaken_for_a_version() -> None:
    assert is_alias("production")
    assert is_alias("1a")
    assert not is_alias("17")
    assert not is_alias("")
    assert not is_alias("a@b")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Fashion MNIST (60k)", "Fashion-MNIST-60k"),
        ("../../etc", "etc"),
        ("日本", "model"),
        ("", "model"),
        ("a" * 300, "a" * 100),
    ],
)
def test_any_text_becomes_a_name(text: str, name: str) -> None:
    assert as_name(text) == name
    assert parse(as_name(text)) == Ref(name=name)
