"""Weights that are refused over HTTP, and how; what a package may hold."""

import json
import pickle  # noqa: TID251 - made here to see it refused, never read
import zipfile
from io import BytesIO
from typing import Any

import pytest
import torch
from sqlalchemy import func, select

from app.db.tables import ModelRow
from app.dependencies import Services
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.weights import COMMON, CONFIG, VOCAB, as_file, send_weights, small_bert

pytestmark = pytest.mark.one_database

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
SMALL = as_file(small_bert())


def packed(**members: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def nothing_is_left(services: Services) -> bool:
    folder = services.settings.data_folder / "tmp"
    with services.database.reading() as session:
        rows = session.execute(select(func.count()).select_from(ModelRow)).scalar_one()
    return rows == 0 and not (folder.exists() and list(folder.iterdir()))


def test_a_package_is_read_by_known_names(client: Http) -> None:
    parts = {
        "my__model_safetensors": SMALL,
        "my__vocab_txt": VOCAB.encode(),
        "my__config_json": json.dumps(CONFIG).encode(),
    }
    plain, whole = send_weights(client).json(), send_weights(client, packed(**parts), vocab=None, config=None).json()
    assert {file["name"]: file["sha256"] for file in plain["files"]} == {
        file["name"]: file["sha256"] for file in whole["files"]
    }
    elsewhere = packed(**{**parts, "other__vocab_txt": b"x"})
    assert send_weights(client, elsewhere, vocab=None, config=None).status_code == 201
    check_problem(send_weights(client, packed(my__model_safetensors=SMALL), vocab=None), 422, "bad_vocabulary")
    check_problem(send_weights(client, packed(my__vocab_txt=b"x")), 415, "unsupported_format")
    bad = {**parts, "my__config_json": b'{"a": 1, "a": 2}'}
    check_problem(send_weights(client, packed(**bad), vocab=None, config=None), 422)
    check_problem(send_weights(client, packed(**{**parts, "my__vocab_txt": b"\xff"}), vocab=None), 422)
    check_problem(send_weights(client, packed(**parts)[:-30]), 422, "bad_archive")


def damaged(change: Any) -> bytes:
    """The small file with another header."""
    size = int.from_bytes(SMALL[:8], "little")
    header = json.loads(SMALL[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + SMALL[8 + size :]


def offsets(begin: int, end: int) -> Any:
    return lambda header: header["embeddings.LayerNorm.bias"].update(data_offsets=[begin, end])


PICKLES = [pickle.dumps({"weight": [1.0]}, protocol=protocol) for protocol in range(6)]
FOREIGN = [
    *PICKLES,
    b"\x89HDF\r\n\x1a\n" + bytes(64),
    b"GGUF\x03\0\0\0" + bytes(64),
    b"\x08\x07\x12\x07pytorch:" + bytes(64),
    packed(archive__data_pkl=PICKLES[2], archive__version=b"3"),
    b"short",
]
DAMAGED = [
    SMALL[: len(SMALL) // 2],
    SMALL[:60],
    (2**60).to_bytes(8, "little") + SMALL[8:],
    (101 << 20).to_bytes(8, "little") + SMALL[8:],
    damaged(offsets(0, 10)),
    damaged(offsets(0, 2**62)),
    damaged(lambda header: header["embeddings.LayerNorm.bias"].update(shape=[2**62, 2**62])),
    damaged(lambda header: header.update({"more": {"dtype": "F9", "shape": [1], "data_offsets": [0, 4]}})),
    SMALL + b"\0",
]


@pytest.mark.parametrize("content", FOREIGN)
def test_other_formats_are_refused_and_never_opened(client: Http, services: Services, content: bytes) -> None:
    check_problem(send_weights(client, content), 415, "unsupported_format")
    assert nothing_is_left(services)


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_headers_are_refused(client: Http, services: Services, content: bytes) -> None:
    check_problem(send_weights(client, content), 422, "damaged_weights")
    assert nothing_is_left(services)


def test_tensors_that_do_not_fit_are_listed(client: Http, services: Services) -> None:
    tensors = small_bert()
    tensors["embeddings.LayerNorm.bias"] = torch.ones(9)
    del tensors["embeddings.LayerNorm.weight"]
    body = check_problem(send_weights(client, as_file(tensors)), 422, "weights_do_not_fit")
    assert body["errors"] == [
        {"loc": ["body", "file"], "msg": "lacks embeddings.LayerNorm.weight (8,)", "row": None},
        {"loc": ["body", "file"], "msg": "embeddings.LayerNorm.bias has the shape (9,), not (8,)", "row": None},
    ]
    check_problem(send_weights(client, architecture="efficientnet_lite0"), 422, "weights_do_not_fit")
    huge = {name: value * 1e30 for name, value in small_bert().items()}
    check_problem(send_weights(client, as_file(huge)), 422, "weights_do_not_fit")
    assert nothing_is_left(services)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"name": None}, ["body", "name"]),
        ({"name": "../x"}, ["body", "name"]),
        ({"architecture": "resnet50"}, ["body", "architecture"]),
        ({"architecture": "https://example.org/model"}, ["body", "architecture"]),
        ({"config": "{"}, ["body", "config"]),
        ({"config": "[1]"}, ["body", "config"]),
        ({"config": {**CONFIG, "num_attention_heads": "2"}}, ["body", "config", "num_attention_heads"]),
        ({"max_tokens": "1"}, ["body", "max_tokens"]),
        ({"max_tokens": "512"}, ["body", "max_tokens"]),
        ({"image_size": "1e9"}, ["body", "image_size"]),
        ({"trust_remote_code": "true"}, ["body", "trust_remote_code"]),
        ({"vocab": "\n".join(COMMON)}, ["body", "file"]),
        ({"vocab": "x" * (2 << 20) + "\n"}, ["body", "vocab"]),
    ],
)
def test_a_wrong_field_is_named(client: Http, services: Services, more: dict[str, Any], place: list[str]) -> None:
    body: Any = check_problem(send_weights(client, **more), 422)
    assert body["errors"][0]["loc"] == place
    assert nothing_is_left(services)


def test_metadata_is_passed_over_and_a_config_says_numbers_alone(client: Http) -> None:
    size = int.from_bytes(SMALL[:8], "little")
    header = json.loads(SMALL[8 : 8 + size]) | {"__metadata__": {"html": "<script>" * 100_000}}
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + SMALL[8 + size :]
    code = {"auto_map": {"AutoModel": "evil.py"}, "_attn_implementation_internal": "evil", "vocab_size": 10**9}
    found = send_weights(client, content, config={**CONFIG, **code}).json()
    plain = send_weights(client).json()
    assert found["files"][0]["sha256"] == plain["files"][0]["sha256"]
    assert "evil" not in client.get(f"/v1/models/{found['id']}/files/manifest.json").text
