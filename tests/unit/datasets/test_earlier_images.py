"""Images that an earlier dataset holds decoded are taken over: the files are those of preparing all anew."""

import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from app.datasets.canonical.rows import open_inputs
from app.datasets.frames import chunks
from app.datasets.frames.decodings import DECODINGS, EarlierImages
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import Earlier, prepare
from app.datasets.readers import csv_parts, jsonl
from app.datasets.readers import images as image_reader
from app.datasets.readers.pixels import DECODING

from .conftest import Outcome, Preparer, picture, zipped

PINNED = "49c771bd3e94df3b828d038dc585a3a04702b4bb2d4d0ffbcac09d50de2fc900"
ID = "ds_" + "0" * 32
Members = dict[str, bytes]


def named(count: int, start: int = 0, **how: Any) -> Members:
    """Pictures of two classes, by the names of their files."""
    kind = how.get("kind", "PNG").lower()
    return {f"{'ab'[i % 2]}/{i:03}.{kind}": picture(i, **how) for i in range(start, start + count)}


def damaged(members: Members) -> Members:
    """Every fourth file is cut short; its header is sound."""
    return {name: data[: len(data) // 2] if i % 4 == 1 else data for i, (name, data) in enumerate(members.items())}


def rotated(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(number, size=(9, 5), kind="JPEG", exif=exif)


def deep(number: int, top: int) -> bytes:
    pixels, buffer = np.random.default_rng(number).integers(0, top, (6, 8), dtype=np.uint16), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(members: Members) -> bytes:
    buffer = io.BytesIO()
    files = [{"bytes": data, "path": name} for name, data in members.items()]
    table = pa.table({"image": files, "label": [name[0] for name in members]})
    pq.write_table(table, buffer)
    return buffer.getvalue()


@dataclass(frozen=True)
class Case:
    """An upload, a later one, and how many images of that are taken over."""

    first: bytes
    second: bytes
    taken: int
    options: dict[str, Any] = field(default_factory=dict)
    later_options: dict[str, Any] = field(default_factory=dict)


GROWN = zipped(named(20)), zipped(named(26))
REPEATED = {f"a/again{i}.png": picture(i) for i in range(0, 8, 2)}
LARGE, SMALL = named(10, size=(20, 16)), named(10, 10, size=(8, 6))
CASES = {
    "further images": Case(*GROWN, 20),
    "the same images": Case(GROWN[0], GROWN[0], 20),
    "fewer images": Case(GROWN[1], GROWN[0], 20),
    "no common image": Case(GROWN[0], zipped(named(10, 20)), 0),
    "other names and classes": Case(
        GROWN[0], zipped({f"c{i % 3}/{24 - i}.png": data for i, data in enumerate(named(22).values())}), 20
    ),
    "resized": Case(
        zipped(named(20, kind="JPEG", size=(30, 22))),
        zipped(named(23, kind="JPEG", size=(30, 22))),
        20,
        {"image": {"height": 11, "width": 9, "resize": "crop"}},
    ),
    "WebP": Case(zipped(named(9, kind="WEBP")), zipped(named(12, kind="WEBP")), 9),
    "rotated by EXIF": Case(*(zipped({f"{'ab'[i % 2]}/{i}.jpg": rotated(i) for i in range(n)}) for n in (8, 11)), 8),
    "damaged": Case(*(zipped(damaged(named(n, kind="JPEG", size=(40, 30)))) for n in (20, 26)), 15),
    "damaged PNG": Case(zipped(damaged(named(20))), zipped(damaged(named(26))), 15),
    "mended": Case(zipped(damaged(named(20))), zipped(named(26)), 15),
    "repeated": Case(zipped(named(20) | REPEATED), zipped(named(26) | REPEATED), 24),
    "removed for contradicting labels": Case(
        zipped(named(20) | {"b/other.png": picture(0)}), zipped(named(26) | {"b/other.png": picture(0)}), 19
    ),
    "duplicates that are kept now": Case(
        zipped(named(20) | REPEATED), zipped(named(26) | REPEATED), 24, later_options={"duplicates": "keep"}
    ),
    "given splits": Case(
        *(
            zipped({f"{('train', 'test')[i % 2]}/{name}": d for i, (name, d) in enumerate(named(n).items())})
            for n in (9, 12)
        ),
        9,
    ),
    "transparent": Case(zipped(named(9, mode="RGBA")), zipped(named(12, mode="RGBA")), 9),
    "16 bits": Case(*(zipped({f"{'ab'[i % 2]}/{i}.png": deep(i, 60_000) for i in range(n)}) for n in (9, 12)), 9),
    "16 bits of another range": Case(
        zipped({f"{'ab'[i % 2]}/{i}.png": deep(i, 900) for i in range(9)}),
        zipped({f"{'ab'[i % 2]}/{i}.png": deep(i, 900 if i < 9 else 20_000) for i in range(12)}),
        0,
    ),
    "another median size": Case(zipped(LARGE | named(3, 30, size=(8, 6))), zipped(LARGE | SMALL | named(9, 40)), 0),
    "a first image with colours": Case(zipped(named(9, mode="L")), zipped(named(9, mode="L") | named(1, 9)), 0),
    "another size is asked for": Case(*GROWN, 0, later_options={"image": {"height": 5, "width": 5}}),
    "another way to resize": Case(
        *GROWN,
        0,
        {"image": {"height": 5, "width": 5}},
        {"image": {"height": 5, "width": 5, "resize": "pad"}},
    ),
    "Parquet": Case(parquet(named(9)), parquet(named(12)), 9),
}


def test_images_of_several_files_are_taken_over(make: Preparer) -> None:
    files = {"train.parquet": parquet(named(9)), "test.parquet": parquet(named(4, 20))}
    first = make(zipped(files))
    grown = zipped(files | {"train.parquet": parquet(named(12))})
    later = make(grown, earlier=Earlier(images=images_of(first)))
    assert digests(later) == digests(make(grown))
    assert sum("taken over" in notice for notice in later.report.notices) == 2, "a notice for each file"


@pytest.mark.parametrize("reader", [csv_parts, jsonl])
def test_processes_read_a_table_that_follows_images(
    reader: ModuleType, make: Preparer, worked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"a": i, "label": "xy"[i % 2]} for i in range(40)]
    csv = "a,label\n" + "".join(f"{row['a']},{row['label']}\n" for row in rows)
    source, out = tmp_path / "table", tmp_path / "prepared"
    source.write_text(csv if reader is csv_parts else "\n".join(map(json.dumps, rows)))
    out.mkdir()
    earlier = Earlier(images=images_of(make(zipped(named(9)))))
    worked.clear()
    monkeypatch.setattr(reader, "_MIN_BYTES", 0)
    monkeypatch.setattr(reader, "PART_BYTES", 100)
    monkeypatch.setattr(jsonl, "HEAD_BYTES", 100)
    prepare(source, "table", PrepareOptions(), out, Limits(), lambda _fraction, _phase: None, earlier, processes=2)
    assert set(worked) == {2}
    np.testing.assert_array_equal(np.load(out / "inputs.npy"), make(csv).array("inputs"))


def digests(done: Outcome) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in done.folder.iterdir()}


def images_of(done: Outcome) -> EarlierImages:
    keys, own_digests, sketches = (done.array(name) for name in ("decodings", "digests", "likeness"))
    return EarlierImages(ID, keys, own_digests, sketches, lambda: open_inputs(done.folder, done.spec))


def taken(done: Outcome) -> int:
    (notice,) = (notice for notice in done.report.notices if "taken over" in notice)
    match = re.match(r"(\d+) of \d+ images were taken over from ds_0+, which holds the same files", notice)
    assert match
    return int(match[1])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shard_bytes", [1 << 20, 1000], ids=["in one piece", "in shards"])
def test_the_files_are_those_of_preparing_all_anew(make: Preparer, name: str, shard_bytes: int) -> None:
    case, limits = CASES[name], Limits(shard_bytes=shard_bytes)
    first = make(case.first, limits, **case.options)
    options = case.options | case.later_options
    anew = make(case.second, limits, **options)
    done = make(case.second, limits, Earlier(images=images_of(first)), **options)
    assert digests(done) == digests(anew)
    assert taken(done) == case.taken
    assert not anew.says("taken over")
    notices = [notice for notice in done.report.notices if "taken over" not in notice]
    assert done.report.model_copy(update={"notices": tuple(notices)}) == anew.report
    last = make(case.second, limits, Earlier(images=images_of(done)), **options)
    assert digests(last) == digests(anew), "a version of a version"


def test_what_is_taken_over_is_not_decoded(make: Preparer, monkeypatch: pytest.MonkeyPatch) -> None:
    first, decoded, decode = make(GROWN[0]), [], image_reader.decode

    def noted(data: bytes, *how: Any) -> Any:
        decoded.append(data)
        return decode(data, *how)

    monkeypatch.setattr(image_reader, "decode", noted)
    make(GROWN[1], earlier=Earlier(images=images_of(first)))
    assert decoded == list(dict(sorted(named(6, 20).items())).values())


def test_images_of_arrays_have_no_record(make: Preparer) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.random.default_rng(0).integers(0, 256, (20, 6, 8, 3), np.uint8))
    first = make(GROWN[0])
    done = make(buffer.getvalue(), earlier=Earlier(images=images_of(first)))
    assert DECODINGS not in done.files
    assert not done.says("taken over")


def test_several_processes_take_over_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Preparer) -> None:
    for module, name in ((chunks, "_MIN_BYTES"), (image_reader, "_MIN_PIXELS")):
        monkeypatch.setattr(module, name, 0)  # nothing is too little for several processes
    monkeypatch.setattr(chunks, "SMALL_CHUNK_BYTES", 400)
    monkeypatch.setattr(chunks, "_PART_BYTES", 400)
    first, anew = make(GROWN[0]), make(GROWN[1])
    source, out = tmp_path / "more.zip", tmp_path / "several"
    source.write_bytes(GROWN[1])
    out.mkdir()
    earlier = Earlier(images=images_of(first))
    done = prepare(source, "upload", PrepareOptions(), out, Limits(), lambda _fraction, _phase: None, earlier, 2)
    assert digests(Outcome(done.spec, done.report, out, done.files)) == digests(anew)


def test_a_change_of_decoding_is_another_decoding(make: Preparer) -> None:
    """Where this fails, raise `DECODING`, so that images of before are decoded anew, and write the new digest down."""
    members = {}
    for number, (colour, size) in enumerate(
        (((10, 200, 30), (12, 6)), ((250, 0, 90, 128), (8, 8)), ((7, 7, 99), (6, 9)))
    ):
        buffer, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 6
        Image.new("RGBA" if len(colour) > 3 else "RGB", size, colour).save(buffer, "PNG", exif=exif)
        members[f"a/{number}.png"] = buffer.getvalue()
    done = make(zipped(members), image={"height": 12, "width": 10, "resize": "pad", "background": "white"})
    content = b"".join(done.array(name).tobytes() for name in ("inputs", "digests", "likeness"))
    assert hashlib.sha256(content).hexdigest() == {1: PINNED}[DECODING]
