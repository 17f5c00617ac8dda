"""Texts: from plain files, folders of files, and columns of tables."""

import io
import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.datasets.frames.digests import digest_rows
from app.datasets.frames.texts import Texts, write_texts
from app.datasets.limits import Limits
from app.datasets.readers import csv_parsing, plain_text

from .conftest import Outcome, Preparer, Refuser, zipped

WORDS = ["root", "branch", "leaf", "graft", "stem", "bark", "bud", "twig"]
SENTENCES = [" ".join(pair) + "." for pair in itertools.permutations(WORDS, 3)][:60]
TABLE = "text,label\n" + "".join(f'"{text}",{"ab"[i % 2]}\n' for i, text in enumerate(SENTENCES))


def texts(done: Outcome) -> list[str]:
    return list(Texts(done.array("text"), done.array("offsets")))


def test_texts_are_written_and_read_back(tmp_path: pytest.TempPathFactory) -> None:
    given = ["a", "", "\u00e4\U0001f600", "x" * 1000, "line\nline"]
    written = write_texts(given, tmp_path)  # type: ignore[arg-type]
    assert list(written) == given
    assert written[np.array([2, 0])].tolist() == [given[2], "a"]
    assert written[1:3].tolist() == given[1:3]
    assert written[np.array([True, False, False, False, True])].tolist() == ["a", "line\nline"]
    assert written.shape == (5, 1000)
    assert written.lengths().tolist() == [1, 0, 2, 1000, 9]
    assert len(np.unique(digest_rows(written), axis=0)) == 5


def test_windows_hold_every_character_but_the_first_once_behind_another(make: Preparer) -> None:
    whole = "".join(f"{i}:\u00e9 " for i in range(3000))
    done = make(whole, modality="text", splits={"train": 1.0})
    pieces = texts(done)
    assert done.spec.modality == "text"
    assert done.decision("text.rows") == "windows"
    assert {len(piece) for piece in pieces[:-1]} == {256}
    assert pieces[0] + "".join(piece[1:] for piece in pieces[1:]) == whole
    assert all(window[-1] == following[0] for window, following in itertools.pairwise(pieces))
    assert done.spec.shape == (256,)


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 100])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_windows_of_any_length(make: Preparer, monkeypatch: pytest.MonkeyPatch, length: int, piece: int) -> None:
    monkeypatch.setattr(plain_text, "CHUNK_CHARS", piece)
    whole = ("abcdefghijklm" * 8)[:length]
    windows = texts(make(whole, text={"rows": "windows", "window": 16}, splits={"train": 1.0}))
    assert windows[0] + "".join(window[1:] for window in windows[1:]) == whole
    assert length == 1 or min(map(len, windows)) > 1
    assert max(map(len, windows)) <= 16


def test_windows_are_never_thinned_out_and_split_by_position(make: Preparer) -> None:
    done = make("ab" * 20_000, modality="text")
    assert done.report.rows.kept == done.report.rows.read
    assert (np.diff(done.array("split").astype(int)) >= 0).all()
    assert min(done.spec.rows.values()) > 0


def test_lines_and_paragraphs(make: Preparer) -> None:
    poem = "\ufeffone\r\n two \r\n\r\n \r\nthree\rfour\n\n\nfive"
    done = make(poem, text={"rows": "lines"}, splits={"train": 1.0})
    assert texts(done) == ["one", "two", "three", "four", "five"]
    assert done.says("4 blank lines")
    done = make(poem, text={"rows": "paragraphs"}, splits={"train": 1.0})
    assert texts(done) == ["one\n two", "three\nfour", "five"]


def test_only_asking_for_text_makes_a_csv_plain(make: Preparer, refused: Refuser) -> None:
    prose = "Once, upon a time\nthere was, they say, a root\nthat grew\n" * 3
    assert "give the modality text" in refused(Code.RAGGED_ROWS, prose).message
    assert make(prose, modality="text").decision("format") == "plain text"
    assert make(TABLE, modality="text").decision("format") == "csv"
    assert make("a,b\n1,2\n3,4\n", text={"rows": "lines"}).report.source.format == "text"
    refused(Code.BAD_OPTION, zipped({"a/1.txt": b"x", "a/2.txt": b"y"}), text={"rows": "lines"})


@pytest.mark.parametrize("content", ['{"a": 1}\nplain\n', "[1] Smith, 2020\n[2] Jones\n", "%PDF-like words\n"])
def test_plain_text_may_begin_like_something_else(make: Preparer, content: str) -> None:
    assert texts(make(content, text={"rows": "lines"}, splits={"train": 1.0}))[0] == content.split("\n", maxsplit=1)[0]


def test_prose_with_a_comma_in_many_lines_is_no_csv(make: Preparer) -> None:
    prose = "here, there\n" * 80 + "and nowhere else\n"
    assert make(prose, modality="text").decision("format") == "plain text"


def test_a_column_of_text_with_labels(make: Preparer) -> None:
    done = make(TABLE)
    assert done.spec.modality == "text"
    assert done.decision("modality") == "text"
    assert sorted(texts(done)) == sorted(SENTENCES)
    assert done.spec.targets[0].classes == ("a", "b")
    assert done.array("targets")[:4, 0].tolist() == [0, 1, 0, 1]
    assert done.spec.columns == ()


def test_tables_with_other_columns_stay_tables(make: Preparer) -> None:
    text = "n,text,label\n" + "".join(f'{i % 7},"{text}",{"ab"[i % 2]}\n' for i, text in enumerate(SENTENCES))
    done = make(text)
    assert done.spec.modality == "table"
    assert [(column.name, column.type) for column in done.spec.columns] == [("n", "number"), ("text", "text")]
    done = make(text, modality="text")
    assert done.spec.modality == "text"
    assert done.decision("columns.text") == "input"
    assert done.says("columns left out, as a dataset of texts has one input: n")


def test_ids_alone_are_no_texts(refused: Refuser) -> None:
    refused(Code.NO_INPUTS, "id,label\n" + "".join(f"user{i},{'ab'[i % 2]}\n" for i in range(60)))


def test_the_text_column_may_be_named(make: Preparer, refused: Refuser) -> None:
    two_columns = "title,body,label\n" + "".join(f'"{t[::-1]}","{t}",{"ab"[i % 2]}\n' for i, t in enumerate(SENTENCES))
    message = refused(Code.BAD_ROLES, two_columns, modality="text").message
    assert "title, body" in message
    done = make(two_columns, modality="text", columns={"body": "input"})
    assert sorted(texts(done)) == sorted(SENTENCES)
    ids = "id,label\n" + "".join(f"user{i},{'ab'[i % 2]}\n" for i in range(60))
    assert make(ids, columns={"id": "input"}).spec.modality == "text"
    refused(Code.BAD_ROLES, "a,b\n1,2\n3,4\n", modality="text")


def test_json_lines_and_parquet_hold_texts_too(make: Preparer) -> None:
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(SENTENCES)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    from_json = make("\n".join(map(json.dumps, rows)))
    for other in (make(sink.getvalue()), make(TABLE)):
        assert texts(other) == texts(from_json)
        np.testing.assert_array_equal(other.array("split"), from_json.array("split"))


def test_groups_splits_and_missing_labels_follow_their_texts(make: Preparer) -> None:
    lines = [f'"{text}",{"ab"[i % 2] if i % 5 else ""},{["train", "test"][i % 2]}' for i, text in enumerate(SENTENCES)]
    lines[7] = ",a,train"
    done = make("text,label,split\n" + "\n".join(lines) + "\n")
    rows = done.array("rows")
    assert rows.tolist() == [i for i in range(60) if i % 5 and i != 7]
    assert done.array("split").tolist() == [2 * (i % 2) for i in rows]
    assert [removal.row for removal in done.report.removals if removal.reason == "corrupt"] == [7]


def test_empty_rows_are_removed_and_odd_ones_stay(make: Preparer) -> None:
    rows = [*SENTENCES, "", " \t ", "\U0001f600\U0001f680", "bell\x07 and escape\x1b[0m"]
    done = make("\n".join(json.dumps({"text": row}) for row in rows))
    assert done.report.rows.removed["corrupt"] == 2
    assert texts(done)[-2:] == rows[-2:]
    assert done.report.text is not None
    assert done.report.text.non_ascii > 0


@pytest.mark.parametrize(
    ("code", "content", "options", "row"),
    [
        (Code.BAD_TEXT, "one\ntwo\n\nth\0ree\n" * 30, {"text": {"rows": "lines"}}, 2),
        (Code.BAD_TEXT, "a" * 5000 + "\0" + "b" * 90, {"text": {"window": 100}}, 50),
        (Code.TOO_LARGE, "one\n" + "x" * 200, {"text": {"rows": "lines"}}, 1),
        (Code.TOO_LARGE, "one\n\n" + "x y\n" * 60, {"text": {"rows": "paragraphs"}}, 1),
        (Code.TOO_LARGE, "x" * 2001, {"modality": "text"}, None),
        (Code.ENCODING, b"one\ntwo \xff\n", {"modality": "text"}, 1),
        (Code.ENCODING, "one".encode("utf-16") + b"\0", {"modality": "text"}, None),
        (Code.EMPTY_DATASET, '{"text": ""}\n{"text": " "}\n', {"modality": "text"}, None),
    ],
)
def test_refused(
    refused: Refuser, code: Code, content: str | bytes, options: dict[str, object], row: int | None
) -> None:
    limits = Limits(field_chars=110, text_bytes=2000) if code is Code.TOO_LARGE else Limits()
    error = refused(code, content, limits, **options)
    assert row is None or error.errors[0].row == row


def test_a_zip_of_text_files(make: Preparer) -> None:
    members = {f"docs/{'ab'[i % 2]}/{i:02d}.txt": f"{text}\r\n".encode() for i, text in enumerate(SENTENCES)}
    done = make(zipped(members | {"__MACOSX/._x": b"", "docs/a/empty.TXT": b"\n"}))
    assert done.spec.modality == "text"
    assert done.spec.targets[0].classes == ("a", "b")
    assert sorted(texts(done)) == sorted(SENTENCES)
    assert done.report.rows.removed["corrupt"] == 1
    flat = make(zipped({f"{i}.txt": text.encode() for i, text in enumerate(SENTENCES)}))
    assert flat.spec.targets == ()


def test_zips_of_text_files_that_are_refused(refused: Refuser) -> None:
    refused(Code.ENCODING, zipped({"a/1.txt": b"\xff", "b/1.txt": b"x"}))
    refused(Code.MIXED_LAYOUT, zipped({"a/1.txt": b"x", "1.txt": b"y"}))
    refused(Code.BAD_TEXT, zipped({"1.txt": b"x\0", "2.txt": b"y"}))
    refused(Code.TOO_LARGE, zipped({"1.txt": b"x" * 20, "2.txt": b"y"}), Limits(field_chars=10))
    refused(Code.BAD_IMAGE, zipped({"1.txt": b"x", "2.png": b"y"}))


def test_the_profile_counts(make: Preparer) -> None:
    done = make("na\u00efve caf\u00e9\nab\n\u65e5\u672c\u8a9e\n", text={"rows": "lines"}, splits={"train": 1.0})
    profile = done.report.text
    assert profile is not None
    assert (profile.characters, profile.words, profile.shortest, profile.longest) == (15, 4, 2, 10)
    assert profile.mean == 5
    assert profile.distinct_characters == len(set("na\u00efve caf\u00e9ab\u65e5\u672c\u8a9e"))
    assert profile.non_ascii == pytest.approx(5 / 15)


def test_long_texts_of_a_table_wait_on_disk(make: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(TABLE)
    monkeypatch.setattr(csv_parsing, "BATCH_CELLS", 4)
    monkeypatch.setattr("app.datasets.frames.spill.MIN_SPILLED_BYTES", 1)
    assert texts(make(TABLE)) == texts(whole)


@pytest.mark.parametrize("magic", ["PAR1", "Rar!", "%PDF", "SQLite format 3", "ARROW1", "7z", "GIF8", "BM", "RIFF"])
def test_a_name_that_begins_like_a_magic_number_is_a_name(make: Preparer, magic: str) -> None:
    tail = "PAR1" if magic == "PAR1" else "0"
    done = make(f"{magic}x,b\n" + "".join(f"{i},{i * i}\n" for i in range(9)) + f"9,{'1' if tail == '0' else '2'}\n")
    assert done.spec.columns[0].name == f"{magic}x"


def test_an_id_next_to_the_text_is_no_reason_to_learn_from_the_id(make: Preparer) -> None:
    rows = [{"id": 99 - k, "text": f"these are some words, {k} of them", "label": "ab"[k % 2]} for k in range(40)]
    done = make("\n".join(map(json.dumps, rows)))
    assert (done.spec.modality, [target.name for target in done.spec.targets]) == ("text", ["label"])
    assert done.says("only name the rows: id")
    weighed = [{**row, "weight": k / 3} for k, row in enumerate(rows)]
    assert make("\n".join(map(json.dumps, weighed))).spec.modality == "table"
    twice = [{**row, "id": k // 2} for k, row in enumerate(rows)]
    assert make("\n".join(map(json.dumps, twice))).spec.modality == "table"
