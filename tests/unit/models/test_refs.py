# ruff: noqa: RUF001 - names of other scripts
from unicodedata import normalize

import pytest
from pydantic import TypeAdapter, ValidationError

from app.kit.ids import new_id
from app.models.refs import ModelName, Ref, as_name, is_alias, parse


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
        "a" * 101,
        "ä" * 101,
        "\u0301a",
        "🙂",
        "a\u200b",
        "a\u202eb",
        "a\u200d",
        "a@99999999999",
        "a@-1",
    ],
)
def test_what_nothing_can_be_called_is_no_reference(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("name", ["рыбы", "ψάρια", "魚", "물고기", "أسماك", "דגים", "मछलियाँ", "ปลา", "ñandú"])
def test_names_are_of_any_script_in_composed_form(name: str) -> None:
    written = TypeAdapter(ModelName).validate_python(normalize("NFD", name))
    assert written == normalize("NFC", name)
    for form in ("NFC", "NFD"):
        ref = normalize(form, f"{name}@{name}")  # type: ignore[arg-type]
        assert parse(ref) == Ref(name=written, alias=written)
    assert as_name(name) == written


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a@b", "-a", "a\0", "a\n", "x" * 101, "🙂", "mdl_" + "0" * 32])
def test_what_could_not_be_asked_for_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ModelName).validate_python(name)


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
        ("日本", "日本"),
        ("Рыбы Байкала", "Рыбы-Байкала"),
        ("हिन्दी पाठ", "हिन्दी-पाठ"),
        ("داده\u200cها", "داده\u200cها"),
        ("u\u0308ber", "über"),
        ("🙂🙂", "model"),
        ("\u0301-x", "x"),
        ("a" * 99 + "-\u200d-b", "a" * 99),
        ("", "model"),
        ("a" * 300, "a" * 100),
    ],
)
def test_any_text_becomes_a_name(text: str, name: str) -> None:
    assert as_name(text) == name
    assert parse(as_name(text)) == Ref(name=name)
