"""What a column is: text or category, number or code, id or value; what its labels are, and what is asked for."""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.ml.spec import WarningCode

from .conftest import Outcome, Preparer, Refuser

RANDOM = np.random.default_rng(0)
CANNED = ["track my package now", "I want my money back", "hello there my friend", "where is my order today"]
CLAUSES = ["the plot was thin", "we left early", "a fine evening out", "the cast was superb", "not worth the money"]


def csv_of(**columns: list[Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return ",".join(columns) + "\n" + "".join(",".join(f'"{value}"' for value in row) + "\n" for row in rows)


def json_of(**columns: list[Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows)


def numbers(count: int = 60) -> list[float]:
    return [round(value, 4) for value in RANDOM.random(count).tolist()]


def reviews(count: int = 60) -> list[str]:
    return [f"{CLAUSES[row % 5]} and {CLAUSES[row * 3 % 5]} on day {row}" for row in range(count)]


def labels(count: int = 60, names: str = "ab") -> list[str]:
    return [names[row * 7 % 3 % len(names)] for row in range(count)]


def option(done: Outcome, field: str) -> str | None:
    return next(item.option for item in done.report.decisions if item.field == field)


def types(done: Outcome) -> dict[str, str]:
    return {column.name: column.type for column in done.spec.columns}


# Texts and categories


@pytest.mark.parametrize("name", ["text", "review", "customer_message", "x1"])
def test_texts_of_three_words_are_texts_though_they_repeat(make: Preparer, name: str) -> None:
    done = make(csv_of(**{name: CANNED * 15, "label": labels()}), duplicates="keep")
    assert (done.spec.modality, done.report.rows.kept) == ("text", 60)
    assert option(done, "modality") == f'columns={{"{name}": "ignored"}}'


@pytest.mark.parametrize("name", ["text", "reviews", "Message", "tweet_text"])
def test_a_column_that_is_called_text_is_text_though_it_has_one_word(make: Preparer, name: str) -> None:
    done = make(csv_of(**{name: ["great", "awful", "fine"] * 20, "label": labels()}), duplicates="keep")
    assert done.spec.modality == "text"


def test_one_word_under_another_name_is_a_category_which_a_decision_says(make: Preparer) -> None:
    done = make(csv_of(city=["New York", "Lima", "Oslo"] * 20, label=labels()), duplicates="keep")
    assert types(done) == {"city": "category"}
    assert done.decision("types.city") == "category"
    assert option(done, "types.city") == 'modality="text"'


def test_a_table_with_numbers_keeps_categories_of_three_words(make: Preparer) -> None:
    degrees = ["bachelor of science", "master of arts", "no degree at all"]
    done = make(csv_of(degree=degrees * 20, income=numbers(), label=labels()))
    assert types(done) == {"degree": "category", "income": "number"}
    assert WarningCode.TEXT_LEFT_OUT not in [item.code for item in done.report.warnings]


def test_texts_in_a_table_are_columns_of_texts_and_names_are_left_out(make: Preparer) -> None:
    done = make(csv_of(comment=reviews(), income=numbers(), label=labels()))
    assert types(done) == {"comment": "text", "income": "number"}
    assert done.decision("types.comment") == "text"
    assert option(done, "types.comment") == 'columns={"comment": "ignored"}'
    assert done.report.warnings == ()
    names = [f"Ann Marie {chr(65 + row % 26)}. Person{row}" for row in range(60)]
    done = make(csv_of(name=names, income=numbers(), label=labels()))
    assert done.report.warnings == ()


# Texts whose labels are not called label


@pytest.mark.parametrize("name", ["sentiment", "labels", "category", "intent", "target", "y", "topic", "zzz"])
@pytest.mark.parametrize("write", [csv_of, json_of])
def test_the_only_column_of_few_classes_beside_a_text_is_its_target(make: Preparer, write: Any, name: str) -> None:
    done = make(write(**{"review": reviews(), name: labels()}))
    assert done.spec.modality == "text"
    assert [(target.name, target.classes) for target in done.spec.targets] == [(name, ("a", "b"))]
    assert done.decision(f"columns.{name}") == "target"


def test_the_modality_may_be_given_and_numbers_may_be_classes(make: Preparer) -> None:
    done = make(csv_of(review=reviews(), stars=[row % 5 + 1 for row in range(60)]), modality="text")
    assert [(target.name, len(target.classes)) for target in done.spec.targets] == [("stars", 5)]
    done = make(csv_of(id=list(range(60)), review=reviews(), sentiment=labels()))
    assert ([target.name for target in done.spec.targets], done.says("only name the rows: id")) == (["sentiment"], True)


def test_names_of_the_classes_beside_the_label_are_no_inputs(make: Preparer) -> None:
    names = [{"a": "negative", "b": "positive"}[label] for label in labels()]
    done = make(csv_of(text=reviews(), label=labels(), label_text=names))
    assert (done.spec.modality, len(done.spec.targets)) == ("text", 1)
    assert done.says("repeat the target: label_text")


@pytest.mark.parametrize(
    ("columns", "request_"),
    [
        (
            {"review": reviews(), "sentiment": labels(), "topic": labels(names="cde")},
            'columns={"review": "input", "sentiment": "target", "topic": "ignored"}',
        ),
        (
            {"text": reviews(), "length": [len(text) for text in reviews()], "intent": labels()},
            'columns={"text": "input", "intent": "target", "length": "ignored"}',
        ),
        (
            {"title": [f"a title of {row}" for row in range(60)], "text": reviews(), "category": labels()},
            'columns={"title": "input", "text": "ignored", "category": "target"}',
        ),
    ],
)
def test_open_labels_of_texts_are_asked_for(refused: Refuser, columns: dict[str, list[Any]], request_: str) -> None:
    assert request_ in refused(Code.BAD_ROLES, csv_of(**columns)).message


def test_the_request_that_is_asked_for_works(make: Preparer) -> None:
    roles = {"review": "input", "sentiment": "target", "topic": "ignored"}
    content = csv_of(review=reviews(), sentiment=labels(), topic=labels(names="cde"))
    done = make(content, columns=roles)
    assert (done.spec.modality, [target.name for target in done.spec.targets]) == ("text", ["sentiment"])
    as_table = types(make(content, modality="table"))
    assert as_table == {"review": "text", "sentiment": "category", "topic": "category"}


@pytest.mark.parametrize(
    ("question", "answer"), [("prompt", "completion"), ("instruction", "output"), ("question", "answer")]
)
def test_prompts_and_answers_are_named_as_what_they_are(refused: Refuser, question: str, answer: str) -> None:
    for write in (csv_of, json_of):
        error = refused(Code.BAD_ROLES, write(**{question: reviews(), answer: reviews()[::-1]}))
        assert f"prompts and answers ({question}, {answer})" in error.message
        assert f"text = {question} + {answer}" in error.message


# Codes and numbers


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", ["007", "010", "100"], "category"),
        ("x", ["01067", "12345", "99999"], "category"),
        ("x", ["0171", "49", "03012"], "category"),
        ("x", ["12E4", "35E1", "70E2"], "category"),
        ("x", ["12E4", "7842", "3310"], "category"),
        ("zip", ["12345", "54321", "99999"], "category"),
        ("PLZ", ["1067", "54321", "99999"], "category"),
        ("areaCode", ["212", "415", "808"], "category"),
        ("product_code", ["1201", "1330", "4711"], "category"),
        ("phone_number", ["5551234", "5559876", "5550000"], "category"),
        ("x", ["7", "10", "100"], "number"),
        ("x", ["0", "10", "100"], "number"),
        ("x", ["12345", "54321", "99999"], "number"),
        ("x", ["0.5", "0.25", "01.5"], "number"),
        ("x", ["1e+05", "2e+03", "5"], "number"),
        ("x", ["1.5E3", "2E4", "7E2"], "number"),
        ("x", ["-05", "-10", "12"], "number"),
        ("code_count", ["120", "133", "471"], "number"),
        ("zip_rate", ["1.5", "2.5", "3.5"], "number"),
    ],
)
def test_codes_are_no_numbers(make: Preparer, name: str, values: list[str], kind: str) -> None:
    done = make(csv_of(**{name: values * 20, "v": numbers(), "label": labels()}))
    assert types(done)[name] == kind
    if kind == "category":
        assert set(done.spec.columns[0].categories) == set(values)
        assert option(done, f"types.{name}") == f'types={{"{name}": "number"}}'
        declared = make(csv_of(**{name: values * 20, "v": numbers(), "label": labels()}), types={name: "number"})
        assert types(declared)[name] == "number"


def test_codes_that_are_labels_keep_their_zeros(make: Preparer) -> None:
    done = make(csv_of(v=numbers(), code=["007", "010", "100"] * 20), columns={"code": "target"})
    assert done.spec.targets[0].classes == ("007", "010", "100")


def test_one_zero_too_many_among_numbers_is_a_decision(make: Preparer) -> None:
    done = make(csv_of(x=["05", *range(1, 300)], label=labels(300)))
    assert types(done) == {"x": "number"}
    assert option(done, "types.x") == 'types={"x": "category"}'


def test_numbers_as_json_strings_are_numbers(make: Preparer) -> None:
    ages = [str(20 + row % 40) for row in range(60)]
    done = make(json_of(age=ages, income=[f"{value:.2f}" for value in numbers()], size=["1", "2", "3"] * 20))
    assert types(done) == {"age": "number", "income": "number", "size": "category"}
    assert [option(done, f"types.{name}") for name in ("age", "size")] == [
        'types={"age": "category"}',
        'types={"size": "number"}',
    ]
    assert done.says("column age: its numbers are written as text")
    assert types(make(json_of(zip=["01067", "10115", "99999"] * 20, v=numbers())))["zip"] == "category"


# Whole numbers as targets


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("target", [25 + row * 37 % 300 for row in range(442)], "number"),
        ("y", [18 + row % 70 for row in range(700)], "number"),
        ("label", [row % 3 for row in range(60)], "category"),
        ("label", [row % 100 for row in range(600)], "category"),
        ("label", [row + 1 for row in range(15)], "category"),
        ("target", [120_000 + row * 7 for row in range(15)], "number"),
    ],
)
def test_few_whole_numbers_are_classes_and_many_are_not(
    make: Preparer, name: str, values: list[int], kind: str
) -> None:
    content = csv_of(v=numbers(len(values)), **{name: values})
    done = make(content)
    other = "number" if kind == "category" else "category"
    assert (done.spec.targets[0].type, done.decision(f"types.{name}")) == (kind, kind)
    assert option(done, f"types.{name}") == f'types={{"{name}": "{other}"}}'
    assert done.says("is learned as a number") == (kind == "number")
    assert make(content, types={name: other}).spec.targets[0].type == other


# Ids


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("id", RANDOM.permutation(300).tolist()),
        ("customer_id", [f"C{100_000 + row}" for row in range(300)]),
        ("PassengerId", RANDOM.choice(10**7, 300, replace=False).tolist()),
    ],
)
def test_ids_are_left_out_with_a_notice(make: Preparer, name: str, ids: list[Any]) -> None:
    done = make(csv_of(**{name: ids, "v": numbers(300), "label": labels(300)}))
    assert types(done) == {"v": "number"}
    assert done.says(f"column {name} is left out: it is called an id")
    assert option(done, f"columns.{name}") == f'columns={{"{name}": "input"}}'
    assert done.report.warnings == ()


def test_dates_under_the_name_of_an_index_are_dates(make: Preparer) -> None:
    days = [f"2020-{1 + row // 28:02d}-{1 + row % 28:02d}" for row in range(60)]
    assert types(make(csv_of(index=days, v=numbers(), label=labels())))["index"] == "date"


def test_numbers_of_rows_are_warned_of_in_any_order(make: Preparer) -> None:
    for order in (list(range(300)), RANDOM.permutation(400)[:300].tolist()):
        done = make(csv_of(x=order, v=numbers(300), label=labels(300)))
        assert done.warning(WarningCode.ROW_IDS).remedy == 'columns={"x": "ignored"} leaves them out'
    given = make(csv_of(id=list(range(300)), v=numbers(300), label=labels(300)), columns={"id": "input"})
    assert given.warning(WarningCode.ROW_IDS).count == 1


def test_whole_numbers_that_happen_to_differ_are_no_ids(make: Preparer) -> None:
    incomes = RANDOM.permutation(np.arange(60) * 613 + 20_000).tolist()
    assert make(csv_of(income=incomes, v=numbers(), label=labels())).report.warnings == ()


# Spellings of labels


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["Yes", "yes", "No", "no"], {"Yes", "No"}),
        (["YES", "no", "No", "no"], {"YES", "no"}),
        (["Y", "y", "N", "n"], {"Y", "N"}),
        (["m", "M", "f", "F"], {"m", "f"}),
        (["True", "true", "False", "FALSE"], {"True", "False"}),
    ],
)
def test_spellings_of_yes_and_no_are_one_class(make: Preparer, names: list[str], classes: set[str]) -> None:
    spelt = names[::2] * 20 + names  # the first spellings are the most frequent
    done = make(csv_of(v=numbers(len(spelt)), label=spelt))
    assert len(done.spec.targets[0].classes) == 2
    assert {name.casefold() for name in done.spec.targets[0].classes} == {name.casefold() for name in classes}
    assert WarningCode.SIMILAR_CLASSES not in [item.code for item in done.report.warnings]


def test_letters_that_may_be_two_classes_are_warned_of(make: Preparer) -> None:
    done = make(csv_of(v=numbers(), label=["a", "A", "b"] * 20))
    assert len(done.spec.targets[0].classes) == 3
    assert "'A' = 'a'" in done.warning(WarningCode.SIMILAR_CLASSES).message


def test_spellings_of_an_input_are_warned_of(make: Preparer) -> None:
    done = make(csv_of(v=numbers(), member=["Gold", "gold", "Blue"] * 20, label=labels()))
    assert "member" in done.warning(WarningCode.SIMILAR_CLASSES).message


# Lists in JSON Lines


@pytest.mark.parametrize("message", [{"role": "user", "content": "hi"}, {"from": "human", "value": "hi"}])
def test_chat_messages_are_named_as_what_they_are(refused: Refuser, message: dict[str, str]) -> None:
    content = "\n".join(json.dumps({"messages": [message, message]}) for _ in range(20))
    for options in ({}, {"modality": "text"}):
        error = refused(Code.UNSUPPORTED_COLUMN, content, **options)
        assert "chat messages" in error.message
        assert '{"text": ' in error.message


def test_a_list_of_objects_may_be_left_out(make: Preparer, refused: Refuser) -> None:
    content = json_of(v=numbers(), items=[[{"id": row}] for row in range(60)])
    assert 'columns={"items": "ignored"}' in refused(Code.UNSUPPORTED_COLUMN, content).message
    assert types(make(content, columns={"items": "ignored"})) == {"v": "number"}


def test_lists_of_numbers_are_series_or_columns_which_a_decision_says(make: Preparer, refused: Refuser) -> None:
    lists = [[row, row + 1.5, row * 2] for row in range(60)]
    done = make(json_of(wave=lists, activity=labels(), hour=numbers()))
    assert (done.spec.modality, option(done, "modality")) == ("series", 'modality="table"')
    assert done.says("columns left out, as the rows are series: activity, hour")
    for name, options in (("x", {"modality": "table"}), ("embedding", {})):
        table = make(json_of(**{name: lists}, hour=numbers(), label=labels()), **options)
        assert list(types(table)) == ["hour", f"{name}0", f"{name}1", f"{name}2"]
        np.testing.assert_array_equal(table.array("inputs")[:, 1:], lists)
    labelled = make(json_of(wave=lists, activity=labels()))
    assert [target.name for target in labelled.spec.targets] == ["activity"]
    unequal = json_of(x=[row[: 1 + k % 3] for k, row in enumerate(lists)])
    assert make(unequal).decision("modality") == "series"
    assert "1 to 3 numbers" in refused(Code.BAD_SERIES, unequal, modality="table").message


RANDOM = np.random.default_rng(0)
WAVES = np.sin(np.arange(24) / 3 + RANDOM.uniform(0, 6, (60, 1))) + RANDOM.normal(0, 0.1, (60, 24))
NOISE = RANDOM.normal(size=(60, 24)) * RANDOM.uniform(0.1, 100, 24) + RANDOM.uniform(-100, 100, 24)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
@pytest.mark.parametrize(
    ("name", "values", "modality"),
    [
        ("x", WAVES, "series"),
        ("x", NOISE, "table"),
        ("values", WAVES + np.arange(60)[:, None], "series"),
        ("values", NOISE + np.arange(60)[:, None], "table"),
        ("position", WAVES[:, :3], "table"),
        ("embedding", WAVES, "table"),
        ("ecg_features", WAVES, "table"),
        ("signal", NOISE, "series"),
    ],
)
def test_lists_of_one_length_are_read_alike_from_every_format(
    make: Preparer, kind: str, name: str, values: Any, modality: str
) -> None:
    rows = [{name: numbers.tolist(), "label": "xy"[row % 2]} for row, numbers in enumerate(values)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    content = {
        "jsonl": "\n".join(map(json.dumps, rows)),
        "parquet": sink.getvalue(),
        "csv": f"{name},label\n" + "".join(f'"{row[name]}",{row["label"]}\n' for row in rows),
    }[kind]
    done = make(content)
    assert done.spec.modality == modality
    other = "series" if modality == "table" else "table"
    (decision,) = (item for item in done.report.decisions if item.option == f'modality="{other}"')
    assert f"every row holds {values.shape[1]} numbers" in decision.reason
    assert make(content, modality=other).spec.modality == other
    np.testing.assert_array_equal(done.array("inputs").reshape(values.shape), values)


def test_rows_without_a_list_are_kept_where_lists_are_columns(make: Preparer) -> None:
    rows = [{"embedding": [row, 2.5, None], "hour": row % 7} for row in range(20)]
    rows[3]["embedding"] = None
    done = make("\n".join(map(json.dumps, rows)))
    assert done.report.rows.kept == 20
    assert np.isnan(done.array("inputs")).any(axis=1).sum() == 1
