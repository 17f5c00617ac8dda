"""Imports of vision transformers against an independent computation: from the raw tensors, image by image, in numpy."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import Tensor

from app.ml.errors import WeightsError
from app.ml.exports.graph import graph_of
from app.ml.exports.onnx_file import write_onnx
from app.ml.exports.package import write_package
from app.ml.kinds.backbones.vit import ResolvedVit, VitBackbone
from app.ml.kinds.strategies.bias_only import BiasOnly
from app.ml.kinds.strategies.lora import Lora
from app.ml.models.bundle import Bundle, Manifest, golden_rows, json_of, read_bundle, save_bundle
from app.ml.models.imports import ImportRequest, import_model
from tests.support.weights import PIXELS, VIT, as_file, small_vit

Array = np.ndarray[Any, Any]
ROWS = np.random.default_rng(3).integers(0, 256, (3, 8, 8, 3), np.uint8)
SCALES = ("layer_scale1.lambda1", "layer_scale2.lambda1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def imported(path: Path, tensors: dict[str, Tensor], **more: Any) -> Bundle:
    path.write_bytes(as_file(tensors))
    return import_model(ImportRequest("vit", path, **{"config": VIT, "preprocessor": PIXELS, **more}))


def layers_of(bundle: Bundle, rows: Array = ROWS) -> list[Array]:
    with torch.no_grad():
        return [layer.numpy() for layer in bundle.backbone.layers(bundle.manifest.modality.encode(rows))]


def features_of(bundle: Bundle, rows: Array = ROWS) -> Array:
    return layers_of(bundle, rows)[-1]


def reference(
    tensors: dict[str, Tensor],
    rows: Array = ROWS,
    *,
    heads: int = 2,
    eps: float = 1e-12,
    mean: Any = PIXELS["image_mean"],
    std: Any = PIXELS["image_std"],
) -> list[Array]:
    """All tokens after every block, (B, T + P, width), the last ones normalised; names are Hugging Face's of ViT."""
    values = {name: tensor.double().numpy() for name, tensor in tensors.items()}

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * values[f"{name}.weight"] + values[f"{name}.bias"]

    def linear(x: Array, name: str) -> Array:
        return x @ values[f"{name}.weight"].T + values[f"{name}.bias"]

    kernel, bias = (values[f"embeddings.patch_embeddings.projection.{part}"] for part in ("weight", "bias"))
    tokens = [
        values[name][0]
        for name in ("embeddings.cls_token", "embeddings.distillation_token", "embeddings.register_tokens")
        if name in values
    ]
    side = kernel.shape[2]
    outputs: list[list[Array]] = []
    for pixels in (rows / 255 - np.array(mean)) / np.array(std):
        patches = [
            np.einsum("hwc,fchw->f", pixels[top : top + side, left : left + side], kernel) + bias
            for top in range(0, pixels.shape[0], side)
            for left in range(0, pixels.shape[1], side)
        ]
        x = np.concatenate([*tokens, np.stack(patches)]) + values["embeddings.position_embeddings"][0]
        states, block, size = [], 0, x.shape[1] // heads
        while f"encoder.layer.{block}.output.dense.weight" in values:
            begin = f"encoder.layer.{block}."
            y = norm(x, f"{begin}layernorm_before")
            query, key, value = (linear(y, f"{begin}attention.attention.{part}") for part in ("query", "key", "value"))
            seen = []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
                seen.append(scores / scores.sum(1, keepdims=True) @ value[:, part])
            attended = linear(np.concatenate(seen, 1), f"{begin}attention.output.dense")
            x = x + attended * values.get(f"{begin}{SCALES[0]}", 1.0)
            inner = linear(norm(x, f"{begin}layernorm_after"), f"{begin}intermediate.dense")
            inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
            x = x + linear(inner, f"{begin}output.dense") * values.get(f"{begin}{SCALES[1]}", 1.0)
            states.append(x)
            block += 1
        outputs.append([*states[:-1], norm(x, "layernorm")])
    return [np.stack(of_block) for of_block in zip(*outputs, strict=True)]


def renamed(tensors: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    def change(name: str) -> str:
        for old, new in pairs:
            name = name.replace(old, new)
        return name

    return {change(name): tensor for name, tensor in tensors.items()}


DINOV2 = (
    ("attention.output", "attention.OUTPUT"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("OUTPUT", "output"),
)
NEWER = (
    *(("attention.query", "q_proj"), ("attention.key", "k_proj"), ("attention.value", "v_proj")),
    *(("attention.output.dense", "attention.o_proj"), ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2")),
)
TIMM = (
    *(("layernorm_before", "norm1"), ("layernorm_after", "norm2"), ("layernorm", "norm")),
    *(("attention.output.dense", "attn.proj"), ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2")),
    *(("encoder.layer", "blocks"), ("patch_embeddings.projection", "patch_embed.proj"), ("embeddings.", "")),
    *(("position_embeddings", "pos_embed"), ("distillation_token", "dist_token"), ("register_tokens", "reg_token")),
    *((SCALES[0], "ls1.gamma"), (SCALES[1], "ls2.gamma")),
)


def with_scales(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    scales = {f"encoder.layer.{block}.{scale}": torch.rand(8) + 0.5 for block in range(2) for scale in SCALES}
    return tensors | scales


def as_timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as timm has them: one tensor for queries, keys and values."""
    tensors = renamed(tensors, *TIMM)
    joined = dict(tensors)
    for name in tensors:
        if ".query." in name:
            parts = [joined.pop(name.replace("query", part)) for part in ("query", "key", "value")]
            joined[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return joined


@pytest.mark.parametrize("prefix", ["", "vit.", "deit."])
def test_features_of_every_layer_are_those_of_the_raw_tensors(path: Path, prefix: str) -> None:
    extra = {f"{prefix}pooler.dense.weight": torch.ones(8, 8), "classifier.bias": torch.ones(9)}
    mask = {f"{prefix}embeddings.mask_token": torch.ones(1, 1, 8), "decoder.decoder_norm.bias": torch.ones(3)}
    bundle = imported(path, small_vit(prefix) | extra | mask)
    for features, expected in zip(layers_of(bundle), reference(small_vit()), strict=True):
        assert features == pytest.approx(expected[:, 0], abs=1e-4)
    assert bundle.manifest.modality.shape == (3, 8, 8)
    assert (bundle.manifest.decisions, bundle.manifest.warnings) == ((), ())
    assert features_of(bundle)[:1] == pytest.approx(features_of(bundle, ROWS[:1]), abs=1e-5)


@pytest.mark.parametrize("tokens", [(), ("cls_token",), ("cls_token", "distillation_token")])
@pytest.mark.parametrize("family", ["hugging_face", "newer", "timm"])
def test_families_and_their_tokens(path: Path, family: str, tokens: tuple[str, ...]) -> None:
    plain = small_vit(tokens=tokens)
    spelled = {"newer": renamed(plain, *NEWER, ("encoder.layer.", "layers.")), "timm": as_timm(plain)}
    bundle = imported(path, spelled.get(family, plain), config={**VIT, "layer_norm_eps": 0.1})
    expected = reference(plain, eps=0.1)[-1]
    expected = expected[:, 0] if tokens else expected.mean(1)  # of I-JEPA, which has no class token, the mean
    assert features_of(bundle) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["dinov2", "newer", "timm"])
@pytest.mark.parametrize("registers", [0, 3])
def test_layer_scale_and_registers(path: Path, family: str, registers: int) -> None:
    plain = with_scales(small_vit())
    expected = dict(plain)
    if registers:
        places, between = plain["embeddings.position_embeddings"], torch.zeros(1, registers, 8)
        plain["embeddings.register_tokens"] = torch.randn(1, registers, 8)
        without_places = torch.cat([places[:, :1], between, places[:, 1:]], 1)
        expected = plain | {"embeddings.position_embeddings": without_places}
    spelled = {
        "dinov2": renamed(plain, *DINOV2) | {"embeddings.mask_token": torch.ones(1, 8)},
        "newer": renamed(plain, *NEWER, *DINOV2),
        "timm": as_timm(plain),
    }
    bundle = imported(path, spelled[family], config={**VIT, "layer_norm_eps": 1e-6})
    assert features_of(bundle) == pytest.approx(reference(expected, eps=1e-6)[-1][:, 0], abs=1e-4)


def wide_vit(tokens: tuple[str, ...] = ("cls_token",)) -> dict[str, Tensor]:
    """Of width 128, which two heads of 64 share."""
    tensors = {}
    for name, tensor in small_vit(tokens=tokens).items():
        shape = [16 * size if size in (8, 16) else size for size in tensor.shape]
        tensors[name] = torch.randn(shape) / 8
    return tensors


def test_what_no_document_says_is_decided_and_said(path: Path) -> None:
    bundle = imported(path, wide_vit(), config={}, preprocessor={})
    decisions = {decision.field: decision for decision in bundle.manifest.decisions}
    assert {field: decision.value for field, decision in decisions.items()} == {
        "heads": 2,
        "epsilon": 1e-12,
        "preprocessor": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    }
    assert all(decision.reason and decision.option for decision in decisions.values())
    (warning,) = bundle.manifest.warnings
    assert (warning.code, warning.count) == ("guessed_scaling", 1)
    assert "preprocessor_config.json" in str(warning.remedy)
    assert features_of(bundle) == pytest.approx(reference(wide_vit(), mean=0.5, std=0.5)[-1][:, 0], abs=1e-4)
    timm = imported(path, as_timm(wide_vit()), config={"pretrained_cfg": {"mean": [0.1] * 3, "std": [2.0] * 3}})
    assert timm.manifest.decisions[1].value == 1e-6


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("tokens", "documents", "pixels"),
    [
        (1, {"config": {**VIT, "model_type": "vit_mae"}, "preprocessor": {}}, IMAGENET),
        (2, {"config": {**VIT, "model_type": "deit"}, "preprocessor": {}}, IMAGENET),
        (2, {"preprocessor": {}}, IMAGENET),
        (1, {"preprocessor": {**PIXELS, "do_normalize": False}}, {"mean": 0, "std": 1}),
        (1, {"config": {**VIT, "pretrained_cfg": {"mean": [0, 0.1, 0.2], "std": [1.0, 2, 3]}}, "preprocessor": {}},
         {"mean": [0, 0.1, 0.2], "std": [1, 2, 3]}),
    ],
)  # fmt: skip
def test_pixels_are_scaled_as_documents_or_the_family_say(
    path: Path, tokens: int, documents: dict[str, Any], pixels: dict[str, Any]
) -> None:
    tensors = small_vit(tokens=("cls_token", "distillation_token")[:tokens])
    bundle = imported(path, tensors, **documents)
    assert features_of(bundle) == pytest.approx(reference(tensors, **pixels)[-1][:, 0], abs=1e-4)
    assert bundle.manifest.warnings == ()


def cubic(offset: float) -> float:
    """The weight of a neighbour at this distance (Keys, 1981, with a = -0.75)."""
    x, a = abs(offset), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_places_are_interpolated_for_images_of_another_size(path: Path) -> None:
    tensors = small_vit()
    places = tensors["embeddings.position_embeddings"].double().numpy()[0]
    matrix = np.zeros((3, 2))  # from 2 to 3 places along a side
    for place in range(3):
        centre = (place + 0.5) * 2 / 3 - 0.5
        for neighbour in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[place, min(max(neighbour, 0), 1)] += cubic(centre - neighbour)
    grid = np.einsum("ai,bj,ijf->abf", matrix, matrix, places[1:].reshape(2, 2, 8)).reshape(9, 8)
    resized = tensors | {"embeddings.position_embeddings": torch.from_numpy(np.vstack([places[:1], grid]))[None]}
    rows = np.random.default_rng(4).integers(0, 256, (2, 12, 12, 3), np.uint8)
    bundle = imported(path, tensors, side=12)
    assert bundle.manifest.modality.shape == (3, 12, 12)
    assert features_of(bundle, rows) == pytest.approx(reference(resized, rows)[-1][:, 0], abs=1e-4)
    (decision,) = bundle.manifest.decisions
    assert (decision.field, decision.value, decision.option) == ("image_size", 12, "image_size=8")


def test_halves_are_read_as_they_are_and_grey_images_too(path: Path) -> None:
    halves = {name: one.to(torch.bfloat16) for name, one in small_vit().items()}
    same = {name: one.to(torch.float32) for name, one in halves.items()}
    assert np.array_equal(features_of(imported(path, halves)), features_of(imported(path, same)))
    grey = small_vit()
    grey["embeddings.patch_embeddings.projection.weight"] = torch.randn(8, 1, 4, 4)
    bundle = imported(path, grey, preprocessor={"image_mean": [0.1], "image_std": [0.3]})
    expected = reference(grey, ROWS[..., :1], mean=0.1, std=0.3)[-1][:, 0]
    assert features_of(bundle, ROWS[..., :1]) == pytest.approx(expected, abs=1e-4)


def changed(**tensors: Tensor | None) -> dict[str, Tensor]:
    names = {
        "places": "embeddings.position_embeddings",
        "token": "embeddings.cls_token",
        "projection": "embeddings.patch_embeddings.projection.weight",
        "bias": "encoder.layer.0.output.dense.bias",
        "inner": "encoder.layer.0.intermediate.dense.weight",
        "relative": "encoder.layer.0.attention.attention.relative_position_bias.table",
        "third": "encoder.layer.2.output.dense.bias",
        "odd": "encoder.layer.x.output.dense.bias",
    }
    found = {**small_vit(), **{names[name]: tensor for name, tensor in tensors.items()}}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


WHOLE = small_vit()


@pytest.mark.parametrize(
    ("tensors", "more", "loc", "words"),
    [
        (WHOLE, {"config": {}}, "config.num_attention_heads", "how many heads share the width 8"),
        (WHOLE, {"config": {**VIT, "hidden_size": 16}}, "config.hidden_size", "is 16, and the tensors have 8"),
        (WHOLE, {"config": {**VIT, "num_hidden_layers": 3}}, "config.num_hidden_layers", "have 2"),
        (WHOLE, {"config": {**VIT, "intermediate_size": 8}}, "config.intermediate_size", "have 16"),
        (WHOLE, {"config": {**VIT, "num_attention_heads": 3}}, "config", "multiple of 4 and of the 3 heads"),
        (WHOLE, {"config": {**VIT, "num_attention_heads": "2"}}, "config.num_attention_heads", "integer"),
        (WHOLE, {"config": {**VIT, "hidden_act": "gelu_new"}}, "config.hidden_act", "another network"),
        (WHOLE, {"config": {**VIT, "qkv_bias": False}}, "config.qkv_bias", "another network"),
        (WHOLE, {"config": {**VIT, "model_type": "swin"}}, "config.model_type", "another network"),
        (WHOLE, {"config": [1]}, "config", "JSON object"),
        (WHOLE, {"preprocessor": {"image_mean": [0.5]}}, "preprocessor.image_mean", "has 1 numbers"),
        (WHOLE, {"preprocessor": {"image_mean": [0.5] * 3}}, "preprocessor.image_std", "has 0 numbers"),
        (WHOLE, {"preprocessor": {"image_mean": [0] * 3, "image_std": [0] * 3}}, "preprocessor.image_std.0", "greater"),
        (WHOLE, {"preprocessor": {"image_mean": "a"}}, "preprocessor.image_mean", "tuple"),
        (WHOLE, {"preprocessor": {**PIXELS, "rescale_factor": 1 / 127.5}}, "preprocessor.rescale_factor", "0..1"),
        (WHOLE, {"side": 10}, "image_size", "multiple of the patch, 4 pixels; 8 is usual"),
        (WHOLE, {"side": 260}, "image_size", "256 pixels a side"),
        (changed(places=torch.ones(1, 7, 8)), {}, "file", "no square of patches and 1 tokens"),
        (changed(places=torch.ones(5, 8)), {}, "file", "not (1, count, width)"),
        (changed(places=torch.ones(1, 5, 9)), {}, "file", "(1, 5, 9), not (1, 5, 8)"),
        (changed(places=torch.ones(1, 65**2 + 1, 8)), {}, "file", "4225 patches; at most 4096"),
        (changed(token=None), {}, "file", "no square of patches and 0 tokens"),
        (changed(projection=torch.ones(8, 3, 4, 5)), {}, "file", "not (width, channels, side, side)"),
        (changed(projection=torch.ones(8, 17, 4, 4)), {}, "file", "17 channels; images have 1 to 16"),
        (changed(projection=torch.ones(8, 0, 4, 4)), {}, "file", "0 channels"),
        (changed(projection=torch.ones(0, 3, 4, 4)), {"config": {}}, "file", "no multiple of the width 0"),
        (changed(projection=torch.ones(8, 3, 0, 0)), {}, "file", "patch"),
        (changed(projection=torch.ones(8, 3, 129, 129)), {}, "file", "patch"),
        (changed(projection=None), {}, "file", "lacks embeddings.patch_embeddings.projection.weight"),
        (changed(inner=torch.ones(17, 8)), {"config": {}}, "file", "no multiple of the width 8"),
        (changed(inner=torch.ones(())), {"config": {}}, "file", "perceptrons of 0"),
        (changed(bias=None), {}, "file", "lacks encoder.layer.0.output.dense.bias (8,)"),
        (changed(bias=torch.ones(9)), {}, "file", "(9,), not (8,)"),
        (changed(bias=torch.ones(8, dtype=torch.float64)), {}, "file", "F64 numbers"),
        (changed(bias=torch.full((8,), torch.nan)), {}, "file", "NaN or infinite"),
        (changed(relative=torch.ones(3)), {}, "file", "unknown encoder.layer.0.attention"),
        (changed(third=torch.ones(8)), {"config": {"num_attention_heads": 2}}, "file", "lacks encoder.layer.2."),
        (changed(odd=torch.ones(8)), {}, "file", "unknown encoder.layer.x"),
        (WHOLE | {"vit.layernorm.bias": torch.ones(8)}, {}, "file", "twice"),
        ({"encoder.layer.x.output.dense.weight": torch.ones(3)}, {}, "file", "lacks"),
        ({"fc.weight": torch.ones(3, 3)}, {}, "file", "lacks"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused_by_name(
    path: Path, tensors: dict[str, Tensor], more: dict[str, Any], loc: str, words: str
) -> None:
    with pytest.raises(WeightsError) as refused:
        imported(path, tensors, **more)
    assert any(".".join(map(str, place)) == loc and words in msg for place, msg in refused.value.errors), refused.value


def test_a_file_of_dinov2_lacks_no_layer_scale(path: Path) -> None:
    plain = renamed(with_scales(small_vit()), *DINOV2)
    for block in range(2):
        with pytest.raises(WeightsError, match=rf"lacks encoder\.layer\.{block}\.layer_scale2\.lambda1"):
            imported(path, {name: one for name, one in plain.items() if f"{block}.{SCALES[1]}" not in name})
    with pytest.raises(WeightsError, match="lacks"):
        imported(path, {name: one for name, one in plain.items() if "lambda1" not in name})


def test_an_imported_model_is_saved_exported_and_adapted(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    bundle = imported(path, small_vit(tokens=("cls_token", "distillation_token")))
    names = save_bundle(folder, bundle)
    again = read_bundle(folder)
    assert np.array_equal(features_of(again), features_of(bundle))
    golden, rows = golden_rows(folder, again.manifest)
    traced = graph_of(again, golden, rows, {"name": "small"})
    assert write_package(traced, folder, names, tmp_path / "model.zip") < 1e-4
    assert write_onnx(traced, tmp_path / "model.onnx") < 1e-4
    network = Lora(rank=2).adapt(again.backbone)
    assert len([name for name, _ in network.named_parameters() if name.endswith("up")]) == 1 + 2 * 4
    moved = [one for group in BiasOnly().groups(bundle.backbone, torch.nn.ModuleDict()) for one in group.params]
    assert len(moved) == 1 + 2 * (4 + 4) + 2  # the patches'; in every block four layers' and two norms; the last norm


def test_a_manifest_of_before_makes_the_same_network(tmp_path: Path) -> None:
    config = ResolvedVit(patch=4, width=8, depth=1, heads=2)
    old = config.model_dump(exclude={"tokens", "pooling", "epsilon"})
    assert ResolvedVit.model_validate(old) == config
    (tmp_path / "x").mkdir()
    document = json_of(imported(tmp_path / "x" / "w", small_vit(tokens=())).manifest)
    for field in ("decisions", "warnings"):
        del document[field]
    for field in ("tokens", "pooling", "epsilon"):
        del document["backbone"][field]
    manifest = Manifest.model_validate_json(json.dumps(document))
    assert (manifest.decisions, manifest.warnings) == ((), ())
    torch.manual_seed(0)
    network = manifest.backbone.build(manifest.encoding)
    assert isinstance(network, VitBackbone)
    assert {module.eps for module in network.modules() if isinstance(module, torch.nn.LayerNorm)} == {1e-5}
    assert "tokens" not in network.state_dict()
