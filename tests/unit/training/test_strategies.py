"""What each strategy says that it does, beside what the contract suite proves of all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.interfaces import Backbone, Encoding
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.mlp import ResolvedMlp
from app.ml.kinds.backbones.resnet import ResNet
from app.ml.kinds.strategies.bias_only import BiasOnly
from app.ml.kinds.strategies.gradual_unfreezing import GradualUnfreezing
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.layerwise_decay import LayerwiseDecay
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.kinds.strategies.lora import Lora, LowRank
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import WarningItem
from tests.support import tiny
from worker.training.events import EpochDone, Evaluated, Finished, Note, Started, StepDone
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run
from worker.training.solve import solve_heads

LABEL, SIZE = {"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}
IMAGE = Encoding(shape=(1, 8, 8))
CONVNET = ConvNet(channels=(8, 12), features=16, norm="group")


def fine_tuned(strategy: dict[str, Any], data: ArrayData, *heads: dict[str, Any], **training: Any) -> Run:
    request = {"heads": heads or [LABEL], "strategy": strategy, "training": training, "backbone": {"kind": "mlp"}}
    return prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)


def pretrained(data: ArrayData, backbone: dict[str, Any]) -> Bundle:
    config = PretrainingConfig.model_validate({"backbone": backbone, "training": {"epochs": 2}})
    run = prepare(resolve_pretraining(config, data.spec).config, data)
    for _ in run.train():
        pass
    return run.bundle()


def backbone(config: Any = CONVNET) -> Backbone:
    torch.manual_seed(0)
    built: Backbone = config.build(IMAGE)
    return built


def test_a_solved_probe_is_one_step_and_tells_its_penalty() -> None:
    run = fine_tuned({"kind": "linear_probe", "layer": "all"}, tiny.table(), LABEL, SIZE)
    before = run.evaluate("train")
    events = list(run.train())
    assert [type(event) for event in events] == [Started, Note, StepDone, EpochDone, Evaluated, Finished]
    note, step = events[1], events[2]
    assert isinstance(note, Note)
    assert isinstance(step, StepDone)
    assert note.kind == "heads.solved"
    assert set(note.data["heads"]) == {"label", "size"}
    for head in note.data["heads"].values():
        assert head["strength"] in [score["strength"] for score in head["scores"]]
    assert step.losses["loss"] < 0.2 * before.losses["loss"]  # type: ignore[union-attr]
    held_out = sum(head["held_out_loss"] for head in note.data["heads"].values())
    assert step.losses["held_out_loss"].item() == pytest.approx(held_out)
    assert run.plan.total_steps == run.plan.steps_per_epoch == 1


def test_rows_without_a_label_do_not_count_where_heads_are_solved_for() -> None:
    data = tiny.table()
    data.targets[::2, 1] = float("nan")
    run = fine_tuned({"kind": "linear_probe", "layer": "last"}, data, LABEL, SIZE)
    list(run.train())
    weights = {name: value.clone() for name, value in run.state.objective.state_dict().items()}
    changed = tiny.table()
    changed.targets[::2, 1] = 1e6
    changed.targets[::2, 1] = float("nan")
    again = fine_tuned({"kind": "linear_probe", "layer": "last"}, changed, LABEL, SIZE)
    list(again.train())
    assert all(torch.equal(weights[name], value) for name, value in again.state.objective.state_dict().items())
    assert run.evaluate("test").heads["size"]["r2"] > 0.3  # type: ignore[union-attr]


@pytest.mark.parametrize("config", [CONVNET, ResolvedMlp(hidden=(12, 7))], ids=["convnet", "mlp"])
def test_a_probe_reads_the_layer_that_it_says(config: Any) -> None:
    built, rows = backbone(config).eval(), torch.rand(3, 1, 8, 8)
    layers = built.layers(rows)
    widths = layer_widths(built)
    assert widths == tuple(layer.shape[1] for layer in layers)
    assert torch.equal(ResolvedLinearProbe(solver="exact", layer="all").features(built, rows), torch.cat(layers, dim=1))
    assert ResolvedLinearProbe(solver="exact", layer="all").widths(built) == widths
    for index, layer in enumerate(layers):
        assert torch.equal(ResolvedLinearProbe(solver="exact", layer=index).features(built, rows), layer)
        assert ResolvedLinearProbe(solver="exact", layer=index).widths(built) == (layer.shape[1],)
    assert torch.equal(ResolvedLinearProbe(solver="exact", layer="last").features(built, rows), built(rows))
    assert len({ResolvedLinearProbe(solver="exact", layer=layer).source for layer in ("last", "all", 0, 1)}) == 4
    built.train()
    layer_widths(built)
    assert built.training


def test_layers_are_scaled_together_so_that_none_drowns_the_others() -> None:
    run = fine_tuned({"kind": "linear_probe", "layer": "all"}, tiny.images())
    list(run.train())
    (head,) = run.bundle().heads.values()
    features = run.examples("train").inputs.take(None)
    parts = head.standardize(features).split([256, 128], dim=1)  # type: ignore[operator]
    variances = [part.var(0, correction=0).sum().item() for part in parts]
    assert variances == pytest.approx([192.0, 192.0], rel=1e-3)
    assert len(head.standardize.std.unique()) == 2  # type: ignore[union-attr]


def test_lp_ft_starts_at_the_probes_optimum() -> None:
    probe = fine_tuned({"kind": "linear_probe", "layer": "last"}, tiny.images())
    list(probe.train())
    run = fine_tuned({"kind": "lp_ft"}, tiny.images(), epochs=1)
    events = run.train()
    assert isinstance(next(events), Note)
    assert isinstance(next(events), Started)
    expected, actual = probe.state.objective.state_dict(), run.state.objective.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in actual.items())
    list(events)
    moved = run.state.objective.state_dict()
    assert not any(torch.equal(expected[name], moved[name]) for name, _ in run.state.objective.named_parameters())


def test_lp_ft_leaves_frozen_stages_and_ends_at_an_optimum() -> None:
    run = fine_tuned({"kind": "lp_ft", "frozen": 1, "again": True}, tiny.images(), epochs=2)
    objective = run.state.objective
    before = [[parameter.clone() for parameter in stage] for stage in objective.backbone.stages()]
    events = list(run.train())
    assert [type(event) for event in events[-2:]] == [Finished, Note]
    for index, stage in enumerate(objective.backbone.stages()):
        same = [torch.equal(old, new) for old, new in zip(before[index], stage, strict=True)]
        assert same == [index == 0] * len(stage)
    once = {name: value.clone() for name, value in objective.heads.state_dict().items()}
    solve_heads(objective, run.examples("train"))
    assert all(torch.allclose(once[name], value) for name, value in objective.heads.state_dict().items())


def test_stages_join_from_the_top_and_the_lowest_by_the_share() -> None:
    built = backbone()
    strategy, stages = GradualUnfreezing(share=0.6), built.stages()
    joined = {}
    for step in range(101):
        strategy.begin(built, step, 101)
        trains = [{parameter.requires_grad for parameter in stage} for stage in stages]
        assert all(len(of_stage) == 1 for of_stage in trains)
        joined[step] = [of_stage.pop() for of_stage in trains]
    assert joined[19] == [False, False, False]
    assert joined[20] == [False, False, True]
    assert joined[40] == [False, True, True]
    assert joined[59] == [False, True, True]
    assert joined[60] == joined[100] == [True, True, True]


@pytest.mark.parametrize("total", [1, 2, 3, 17])
def test_every_stage_has_joined_by_the_last_step(total: int) -> None:
    built = backbone()
    GradualUnfreezing(share=1).begin(built, total - 1, total)
    assert all(parameter.requires_grad for parameter in built.parameters())


def test_a_frozen_stage_stays_bit_identical_and_the_training_resumes_while_it_is(tmp_path: Path) -> None:
    strategy = {"kind": "gradual_unfreezing", "share": 1.0}

    def run() -> Run:
        return fine_tuned(strategy, tiny.images(), epochs=10, batch_size=8)

    first = run()
    before = [parameter.clone() for parameter in first.state.objective.backbone.stages()[0]]
    for event in first.train():
        if isinstance(event, StepDone) and event.step == 30:
            break
    assert all(
        torch.equal(parameter, other)
        for parameter, other in zip(before, first.state.objective.backbone.stages()[0], strict=True)
    )
    top = first.state.objective.backbone.stages()[-1]
    assert not any(
        torch.equal(parameter, other)
        for parameter, other in zip(top, run().state.objective.backbone.stages()[-1], strict=True)
    )
    first.state.save(tmp_path / "state")
    again, undisturbed = run(), run()
    again.state.load(tmp_path / "state")
    list(again.train())
    list(undisturbed.train())
    expected = undisturbed.state.objective.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in again.state.objective.state_dict().items())


def test_lower_stages_move_more_slowly() -> None:
    built = backbone()
    heads = nn.ModuleDict({"0": nn.Linear(16, 3)})
    groups = LayerwiseDecay(decay=0.5, backbone_lr_scale=0.2).groups(built, heads)
    rates = {id(parameter): group.lr_scale for group in groups for parameter in group.params}
    for depth, stage in enumerate(reversed(built.stages())):
        assert {rates[id(parameter)] for parameter in stage} == {0.2 * 0.5**depth}
    assert {rates[id(parameter)] for parameter in heads.parameters()} == {1.0}
    decays = {id(parameter): group.decays for group in groups for parameter in group.params}
    assert all(decays[id(parameter)] == (parameter.ndim > 1) for parameter in built.parameters())


def test_only_vectors_move_with_bias_only() -> None:
    built = backbone()
    groups = BiasOnly().groups(built, nn.ModuleDict({"0": nn.Linear(16, 3)}))
    moved = {id(parameter) for group in groups for parameter in group.params}
    convolutions = [f"blocks.{block}.{part}" for block in (0, 1) for part in ("0.bias", "1.weight", "1.bias")]
    assert [name for name, parameter in built.named_parameters() if id(parameter) in moved] == [
        *convolutions,
        "last.0.bias",
    ]


def test_lora_changes_nothing_before_the_first_step_and_merges_into_the_same_function() -> None:
    built, rows = backbone().eval(), torch.rand(5, 1, 8, 8)
    before, weights = built(rows), {name: parameter.clone() for name, parameter in built.state_dict().items()}
    strategy = Lora(rank=2, alpha=6)
    adapted = strategy.adapt(built)
    assert torch.equal(adapted(rows), before)
    corrections = [module for module in adapted.modules() if isinstance(module, LowRank)]
    assert [tuple(correction.down.shape) for correction in corrections] == [(2, 9), (2, 72), (2, 48)]
    with torch.no_grad():
        for correction in corrections:
            correction.up.normal_()
    expected = weights["last.0.weight"] + 3 * (corrections[-1].up @ corrections[-1].down)
    assert torch.equal(adapted.last[0].weight, expected)  # type: ignore[union-attr, index]
    after, merged = adapted(rows), strategy.merged(adapted)
    assert not torch.allclose(after, before)
    assert torch.equal(merged(rows), after)
    assert merged.state_dict().keys() == weights.keys()
    assert torch.equal(adapted(rows), after), "merging leaves the training as it was"
    frozen = {name: value for name, value in adapted.state_dict().items() if not name.endswith(("up", "down"))}
    assert all(
        torch.equal(value, weights[name.replace("parametrizations.weight.original", "weight")])
        for name, value in frozen.items()
    )


def test_a_rank_that_a_matrix_does_not_have_is_cut() -> None:
    adapted = Lora(rank=512).adapt(backbone(ResolvedMlp(hidden=(12, 7))))
    assert [tuple(module.up.shape) for module in adapted.modules() if isinstance(module, LowRank)] == [(12, 12), (7, 7)]


def test_a_backbone_without_matrices_cannot_be_corrected() -> None:
    built = backbone()
    for block in [*built.blocks, built.last]:  # type: ignore[misc, union-attr]
        block[0] = nn.Identity()
    with pytest.raises(ConfigError, match="choose full"):
        Lora().adapt(built)


def loaded_in_part(parent: Bundle, data: ArrayData, **fields: Any) -> Run:
    request = {
        "heads": [LABEL],
        "strategy": {"kind": "full"},
        "training": {"epochs": 1},
        "loading": "partial",
        **fields,
    }
    config = FineTuningConfig.model_validate(request)
    return prepare(resolve_fine_tuning(config, data.spec, parent.manifest).config, data, parent=parent)


def test_a_deeper_backbone_takes_over_what_fits_and_tells() -> None:
    data = tiny.images()
    parent = pretrained(data, {"kind": "mlp", "hidden": [12, 7]})
    run = loaded_in_part(parent, data, backbone={"kind": "mlp", "hidden": [12, 9, 5]})
    (note,) = run.notes
    assert note.kind == "weights.loaded"
    assert note.data == {
        "matched": ["blocks.0.0.weight", "blocks.0.0.bias"],
        "resized": [],
        "new": ["blocks.1.0.weight", "blocks.1.0.bias", "blocks.2.0.weight", "blocks.2.0.bias"],
        "unused": ["blocks.1.0.weight", "blocks.1.0.bias"],
    }
    weights = run.state.objective.backbone.state_dict()
    assert torch.equal(weights["blocks.0.0.weight"], parent.backbone.state_dict()["blocks.0.0.weight"])


def test_the_answer_says_what_will_be_loaded() -> None:
    data = tiny.images()
    parent = pretrained(data, {"kind": "mlp", "hidden": [12, 7]})
    config = FineTuningConfig.model_validate({"heads": [LABEL], "loading": "partial"})
    decisions = resolve_fine_tuning(config, data.spec, parent.manifest).decisions
    (decision,) = [decision for decision in decisions if decision.field == "loading"]
    assert decision.reason.startswith("4 tensors taken over, 0 resized, 0 new; 0")


def colours(data: ArrayData, channels: int) -> ArrayData:
    spec = data.spec.model_copy(update={"shape": (8, 8, channels)})
    return ArrayData(spec, data.inputs[:].repeat(channels, axis=3), data.targets, data.split)  # type: ignore[union-attr]


def test_grey_pictures_in_colour_give_what_they_gave() -> None:
    grey = tiny.images()
    parent = pretrained(grey, {"kind": "convnet", "channels": [8, 12], "features": 16})
    run = loaded_in_part(parent, colours(grey, 3))
    (note,) = run.notes
    assert note.data["resized"] == ["blocks.0.0.weight"]
    assert note.data["new"] == note.data["unused"] == []
    with torch.no_grad():
        features = run.state.objective.backbone.eval()(run.examples("train").inputs.take(None))
        expected = parent.backbone(parent.manifest.modality.encode(grey.inputs[grey.positions("train")]))
    assert torch.allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "loc", "words"),
    [
        ({"backbone": {"kind": "convnet"}}, ("loading",), "no weights of the model fit"),
        ({"backbone": {"kind": "mlp", "hidden": [13, 7]}}, ("loading",), "no weights of the model fit"),
    ],
)
def test_a_load_that_matches_nothing_is_refused(fields: dict[str, Any], loc: tuple[Any, ...], words: str) -> None:
    data = tiny.images()
    parent = pretrained(data, {"kind": "mlp", "hidden": [12, 7]})
    with pytest.raises(ConfigError, match=words) as caught:
        loaded_in_part(parent, data, **fields)
    assert caught.value.loc == loc


def test_partial_loading_needs_a_model_and_strict_loading_the_same_backbone() -> None:
    data = tiny.images()
    parent = pretrained(data, {"kind": "mlp", "hidden": [12, 7]})
    lone = FineTuningConfig.model_validate({"heads": [LABEL], "loading": "partial"})
    with pytest.raises(ConfigError, match="needs a pretrained model"):
        resolve_fine_tuning(lone, data.spec, None)
    other = FineTuningConfig.model_validate({"heads": [LABEL], "backbone": {"kind": "mlp", "hidden": [12, 9]}})
    with pytest.raises(ConfigError, match="brings its own backbone"):
        resolve_fine_tuning(other, data.spec, parent.manifest)
    with pytest.raises(ConfigError, match="does not fit this dataset"):
        resolve_fine_tuning(FineTuningConfig(heads=lone.heads), colours(data, 3).spec, parent.manifest)


RESNET = {"kind": "resnet", "widths": [4, 8], "stem": "small"}


def statistics(run: Run) -> dict[str, torch.Tensor]:
    """The running means and variances of the backbone's norms."""
    state = run.state.objective.backbone.state_dict()
    return {name: value.clone() for name, value in state.items() if "running_" in name}


def trained_resnet(strategy: dict[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The statistics of a resnet before a fine-tuning and after it."""
    data = tiny.images()
    request = {"heads": [LABEL], "strategy": strategy, "training": {"epochs": 2}, "backbone": RESNET}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    before = statistics(run)
    for _ in run.train():
        pass
    return before, statistics(run)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize("kind", ["bias_only", "lora"])
def test_a_backbone_whose_matrices_stay_keeps_its_statistics(kind: str) -> None:
    before, after = trained_resnet({"kind": kind})
    assert before
    assert moved(before, after) == set()


def test_statistics_of_frozen_stages_stay_and_the_others_move() -> None:
    stages = len(ResNet.model_validate(RESNET).build(IMAGE).stages())
    before, after = trained_resnet({"kind": "lp_ft", "frozen": stages})
    assert moved(before, after) == set()
    before, after = trained_resnet({"kind": "lp_ft", "frozen": stages - 1})
    assert 0 < len(moved(before, after)) < len(before)
    before, after = trained_resnet({"kind": "full"})
    assert moved(before, after) == set(before)


def test_a_stage_that_has_not_joined_keeps_its_statistics() -> None:
    data = tiny.images()
    strategy = {"kind": "gradual_unfreezing", "share": 1.0}
    request = {"heads": [LABEL], "strategy": strategy, "training": {"steps": 6, "batch_size": 16}, "backbone": RESNET}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    before = statistics(run)
    changed = [len(moved(before, statistics(run))) for event in run.train() if isinstance(event, StepDone)]
    assert changed[0] == 0
    assert changed == sorted(changed)
    assert changed[-1] == len(before)


def test_more_stages_than_there_are_cannot_be_frozen() -> None:
    request = {"heads": [LABEL], "strategy": {"kind": "lp_ft", "frozen": 50}, "backbone": RESNET}
    with pytest.raises(ConfigError, match=r"strategy.frozen.*has \d stages: freeze 0 to \d"):
        resolve_fine_tuning(FineTuningConfig.model_validate(request), tiny.images().spec, None)


@pytest.mark.parametrize(("loss", "remedy"), [("mse", '"loss": "huber"'), ("huber", '"kind": "outliers"')])
def test_a_far_target_is_warned_about(loss: str, remedy: str) -> None:
    data = tiny.table()
    assert not any(isinstance(note, WarningItem) for note in fine_tuned({"kind": "full"}, data, SIZE).notes)
    data.targets[data.positions("train")[3], 1] = 1e9
    run = fine_tuned({"kind": "full"}, data, {**SIZE, "loss": loss})
    (warning,) = [note for note in run.notes if isinstance(note, WarningItem)]
    assert (warning.code, warning.count, remedy in (warning.remedy or "")) == ("far_targets", 1, True)
