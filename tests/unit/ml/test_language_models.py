"""The language models' losses, computed in another way."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from app.ml.errors import ConfigError
from app.ml.interfaces import Batch
from app.ml.interfaces.tokenizer import FIRST, MASK
from app.ml.kinds.methods.masked_language import masked
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data
from worker.training.run import Run

TEXTS = ["a long text about nothing", "b", "cc", "short one", "abc abc"]
TRAINING = {"epochs": 1, "precision": "float32"}


def untrained(method: dict[str, Any], **preprocessing: Any) -> Run:
    request = {
        "backbone": SMALL,
        "method": method,
        "preprocessing": {**CHARACTERS, **preprocessing},
        "training": TRAINING,
    }
    return run_of(text_data(TEXTS, [0, 0, 0, 1, 1]), request, train=False)


def chances(run: Run, text: Tensor) -> list[float]:
    """-log p of every token of one row after its first, each from its own prefix alone."""
    objective: Any = run.state.objective.eval()
    found = []
    for t in range(1, int((text != 0).sum())):
        with torch.no_grad():
            steps = objective.backbone.sequence(text[None, :t])
            logits = objective.layer(steps[0, -1], objective.backbone.embeddings())
        found.append(-math.log(float(logits.double().softmax(0)[text[t]])))
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_next_token_is_the_mean_over_all_tokens_of_a_split(tied: bool) -> None:
    run = untrained({"kind": "next_token", "tied": tied})
    rows = run.examples("train").inputs.take(None)
    nats = [chances(run, row) for row in rows]
    every = [one for row in nats for one in row]
    measured = run.evaluate("train")
    assert measured is not None
    assert measured.losses["loss"] == pytest.approx(sum(every) / len(every), rel=1e-5)
    of_rows = sum(sum(row) / len(row) for row in nats) / len(nats)
    assert measured.losses["loss"] != pytest.approx(of_rows, rel=1e-4), "a mean of rows' means is another number"
    characters = sum(map(len, TEXTS[:3]))
    assert measured.losses["bits_per_character"] == pytest.approx(sum(every) / characters / math.log(2), rel=1e-5)
    assert measured.losses["perplexity"] == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-5)


def test_blocks_of_any_size_measure_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained({"kind": "next_token"})
    whole = run.evaluate("train")
    monkeypatch.setattr("app.ml.data.arrays.rows_per_block", lambda _: 1)
    alone = run.evaluate("train")
    assert whole is not None
    assert alone is not None
    assert alone.losses == pytest.approx(whole.losses, rel=1e-5)


def test_a_bit_is_a_bit_whatever_a_token_is() -> None:
    run = untrained({"kind": "next_token"}, tokenizer="byte")
    row = run.modality.encode(text_data(["\u00e9\u00e9"]).inputs)[0]
    nats = sum(chances(run, row))
    sums = run.state.objective.sums(row[None])  # type: ignore[operator]
    assert sums[0, 3].item() == 2, "two characters in four bytes"
    assert sums[0, 0].item() == pytest.approx(nats, rel=1e-5)


def test_hidden_tokens_are_not_asked_for() -> None:
    run = untrained({"kind": "next_token"})
    objective = run.state.objective.eval()
    rows = run.examples("train").inputs.take(None)
    hidden = rows.clone()
    hidden[0, 3] = MASK
    before, after = (objective.sums(codes) for codes in (rows, hidden))  # type: ignore[operator]
    assert after[0, 1] == before[0, 1] - 1


def test_a_tied_language_model_has_no_layer_of_its_own() -> None:
    names = [
        set(dict(untrained({"kind": "next_token", "tied": tied}).state.objective.named_parameters()))
        for tied in (False, True)
    ]
    assert names[0] - names[1] == {"layer.weight"}


def test_a_backbone_without_vectors_of_tokens_cannot_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ml.kinds.backbones.transformer.TransformerBackbone.embeddings", lambda _: None)
    for kind in ("next_token", "masked_language"):
        with pytest.raises(ConfigError, match="no vectors of tokens to share"):
            untrained({"kind": kind, "tied": True})


def test_tokens_are_hidden_as_published() -> None:
    torch.manual_seed(0)
    codes = torch.randint(FIRST, 1000, (200, 500))
    codes[:, 400:] = 0
    codes[:, 0] = 3
    changed, chosen = masked(codes, 0.15, 1000)
    assert not chosen[:, 400:].any()
    assert not chosen[:, 0].any()
    assert torch.equal(changed[~chosen], codes[~chosen])
    assert chosen[:, 1:400].float().mean().item() == pytest.approx(0.15, abs=0.005)
    became = changed[chosen]
    assert (became == MASK).float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert (became == codes[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert became[became != MASK].min() >= FIRST
    assert became.max() < 1000


def test_masked_language_is_the_mean_over_the_chosen_tokens() -> None:
    run = untrained({"kind": "masked_language", "share": 0.5})
    objective: Any = run.state.objective.eval()
    codes = run.examples("train").inputs.take(None)
    torch.manual_seed(3)
    changed, chosen = masked(codes, 0.5, objective.backbone.encoding.vocabulary)
    with torch.no_grad():
        shares = objective.layer(objective.backbone.sequence(changed)).double().softmax(2)
    expected = [-math.log(float(shares[b, t, codes[b, t]])) for b, t in chosen.nonzero().tolist()]
    torch.manual_seed(3)
    assert objective.loss(Batch(codes))["loss"].item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_where_no_token_is_chosen_the_loss_is_nothing() -> None:
    run = untrained({"kind": "masked_language", "share": 1e-9})
    loss = run.state.objective.loss(run.examples("train").batch(None))["loss"]
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
