"""BERT-family encoders by the names that Hugging Face gives their tensors, with `bert.` before them or without.

Of a config.json some numbers are taken and checked; what would make another network (another activation, relative
positions) is refused, everything else is passed over. The vector of the first segment, which every text of one segment
gets, is added to the places. Word vectors are put into the order of our codes: padding, unknown, mask, begin ([CLS]),
end ([SEP]), then the other tokens as vocab.txt has them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pydantic
import torch
from pydantic import Field

from app.ml.errors import WeightsError
from app.ml.fields import Integer, Real
from app.ml.interfaces import Encoding
from app.ml.interfaces.tokenizer import MAX_TOKENS
from app.ml.kinds.backbones.bert import Bert, BertBackbone
from app.ml.kinds.modalities.text import TextModality
from app.ml.kinds.preprocessing.text import MIN_TOKENS, ResolvedTextPreprocessing
from app.ml.kinds.tokenizers.wordpiece import WordPieceTokenizer
from app.ml.models.imports.documents import refuse_others, validated
from app.ml.models.imports.weights import Weights
from app.ml.spec import Frozen

COMMON = ("[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]")  # in the order of our codes 0 to 4
_KNOWN = {"hidden_act": ("gelu",), "position_embedding_type": ("absolute",), "model_type": ("bert",)}
_PASSED_OVER = ("pooler.", "cls.", "embeddings.position_ids")
_LINEARS = {"out": "attention.output.dense", "mlp.0": "intermediate.dense", "mlp.2": "output.dense"}
_NORMS = {"norm_attention": "attention.output.LayerNorm", "norm_mlp": "output.LayerNorm"}


class BertNumbers(Frozen):
    """What is taken from a config.json."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    hidden_size: Integer = Field(ge=2, le=4096, description="Features of every token.")
    num_hidden_layers: Integer = Field(ge=1, le=48, description="Blocks.")
    num_attention_heads: Integer = Field(ge=1, le=64, description="Ways in which a token looks at the others.")
    intermediate_size: Integer = Field(ge=1, le=16_384, description="Width of the perceptron in a block.")
    max_position_embeddings: Integer = Field(512, ge=1, le=8192, description="Places that have a vector.")
    layer_norm_eps: Real = Field(1e-12, gt=0, le=0.1, description="Added to the variance in every norm.")


def numbers_of(document: Any) -> BertNumbers:
    """The numbers of a config.json. Raises `WeightsError` naming those that are missing or wrong."""
    refuse_others(document, _KNOWN)
    return validated(BertNumbers, document, "config")


def vocabulary_of(text: str) -> tuple[str, ...]:
    """The tokens of a vocab.txt, one a line. Raises `WeightsError`."""
    tokens = tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))
    lacking = [token for token in COMMON if token not in tokens]
    if lacking:
        _refuse_vocabulary(f"there is no line {lacking[0]}: send the vocab.txt of a BERT model")
    if len(set(tokens)) < len(tokens):
        _refuse_vocabulary("a token stands twice in it")
    if len(tokens) > MAX_TOKENS:
        _refuse_vocabulary(f"it has {len(tokens)} lines; at most {MAX_TOKENS}")
    return tokens


def modality(
    tokens: tuple[str, ...], max_tokens: int, *, uncased: bool
) -> tuple[ResolvedTextPreprocessing, TextModality]:
    """Texts of at most so many tokens, with this vocabulary. Raises `WeightsError`."""
    rest = tuple(token for token in tokens if token not in COMMON)
    try:
        tokenizer = WordPieceTokenizer(tokens=rest, uncased=uncased)
    except pydantic.ValidationError as error:
        _refuse_vocabulary(str(error.errors()[0]["msg"]))
    known = max(tokenizer.size, MIN_TOKENS)
    chosen = ResolvedTextPreprocessing(
        tokenizer="wordpiece", vocabulary=known, max_tokens=max_tokens, limits="marked", form="none"
    )
    return chosen, TextModality(tokens=max_tokens, vocabulary=tokenizer.size, form="none", tokenizer=tokenizer)


def load(
    weights: Weights, tokens: tuple[str, ...], numbers: BertNumbers, encoding: Encoding
) -> tuple[Bert, BertBackbone]:
    """The backbone with these weights. Raises `WeightsError`."""
    try:
        config = Bert(
            width=numbers.hidden_size,
            depth=numbers.num_hidden_layers,
            heads=numbers.num_attention_heads,
            hidden=numbers.intermediate_size,
            positions=numbers.max_position_embeddings,
            epsilon=numbers.layer_norm_eps,
        )
    except pydantic.ValidationError as error:
        raise WeightsError([(("config",), error.errors()[0]["msg"])], code="weights_do_not_fit") from None
    with torch.device("meta"):
        backbone = config.build(encoding)
    weights = weights.renamed(_plain_name)
    weights.check(dict(_expected(config, len(tokens))), lambda name: name.startswith(_PASSED_OVER))
    backbone.load_state_dict(dict(_translated(weights, config, tokens)), assign=True)
    return config, backbone


def _refuse_vocabulary(msg: str) -> NoReturn:
    raise WeightsError([(("vocab",), msg)], code="bad_vocabulary") from None


def _plain_name(name: str) -> str:
    """Without `bert.`, and the norms' figures as they are called today."""
    name = name.removeprefix("bert.")
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(f"LayerNorm{old}"):
            name = name.removesuffix(old) + new
    return name


def _expected(config: Bert, words: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of the file, for a vocabulary of so many words."""
    width, hidden = config.width, config.hidden
    yield "embeddings.word_embeddings.weight", (words, width)
    yield "embeddings.position_embeddings.weight", (config.positions, width)
    yield "embeddings.token_type_embeddings.weight", (2, width)
    shapes = {"mlp.0": (hidden, width), "mlp.2": (width, hidden), "out": (width, width)}
    yield from _pair("embeddings.LayerNorm", (width,))
    for block in range(config.depth):
        source = f"encoder.layer.{block}."
        for part in ("query", "key", "value"):
            yield from _pair(f"{source}attention.self.{part}", (width, width))
        for target, name in _LINEARS.items():
            yield from _pair(source + name, shapes[target])
        for name in _NORMS.values():
            yield from _pair(source + name, (width,))


def _pair(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _translated(weights: Weights, config: Bert, tokens: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """The name of every tensor in our backbone, and its value from the file."""
    yield "words.weight", weights.take("embeddings.word_embeddings.weight")[_order(tokens)]
    segment = weights.take("embeddings.token_type_embeddings.weight")[0]
    yield "places", weights.take("embeddings.position_embeddings.weight") + segment
    yield from _both(weights, {"norm": "embeddings.LayerNorm"}, "", "")
    for block in range(config.depth):
        target, source = f"blocks.{block}.", f"encoder.layer.{block}."
        for figure in ("weight", "bias"):
            parts = [weights.take(f"{source}attention.self.{part}.{figure}") for part in ("query", "key", "value")]
            yield f"{target}to_all.{figure}", torch.cat(parts)
        yield from _both(weights, _LINEARS | _NORMS, target, source)


def _both(weights: Weights, names: Mapping[str, str], target: str, source: str) -> Iterator[tuple[str, torch.Tensor]]:
    for own, name in names.items():
        for figure in ("weight", "bias"):
            yield f"{target}{own}.{figure}", weights.take(f"{source}{name}.{figure}")


def _order(tokens: tuple[str, ...]) -> torch.Tensor:
    """The line in vocab.txt of each of our codes, int64 (V,)."""
    places = {token: place for place, token in enumerate(tokens)}
    rest = [place for place, token in enumerate(tokens) if token not in COMMON]
    return torch.tensor([*(places[token] for token in COMMON), *rest])
