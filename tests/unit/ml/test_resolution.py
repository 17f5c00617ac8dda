"""What "auto" becomes, and what a dataset refuses in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import ResolutionContext
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.models.bundle import Manifest
from app.ml.resolution.candidates import candidates_of
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.network import resolve_method
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec, TargetSpec
from tests.support import tiny

IMAGES, TABLE, SERIES, TEXTS = (each().spec for each in (tiny.images, tiny.table, tiny.series, tiny.texts))
PHOTOS = IMAGES.model_copy(update={"shape": (96, 96, 3)})
CONVNET: dict[str, Any] = {"backbone": {"kind": "convnet"}}
CLASSIFY = [{"kind": "classifier", "target": "label"}]


def pretraining(spec: DataSpec, **request: Any) -> PretrainingConfig:
    return resolve_pretraining(PretrainingConfig.model_validate(request), spec).config


def fine_tuning(spec: DataSpec, parent: Manifest | None = None, **request: Any) -> FineTuningConfig:
    config = FineTuningConfig.model_validate({"heads": CLASSIFY, **request})
    return resolve_fine_tuning(config, spec, parent).config


def manifest(backbone: AnyBackbone, modality: ImageModality | TableModality) -> Manifest:
    return Manifest(
        kind="backbone",
        preprocessing={"kind": modality.kind},
        modality=modality,
        backbone=backbone,
        encoding=modality.encoding,
        features=8,
    )


def image_parent() -> Manifest:
    return manifest(pretraining(IMAGES, **CONVNET).backbone, ImageModality(height=8, width=8))  # type: ignore[arg-type]


def sized(rows: int, classes: int = 10) -> DataSpec:
    target = TargetSpec(name="label", type="category", classes=tuple(str(code) for code in range(classes)))
    counts: Any = {"train": rows, "validation": 5, "test": 5}
    return DataSpec(modality="image", shape=(28, 28, 1), targets=(target,), rows=counts, labelled={"label": counts})


def test_the_backbone_follows_the_data() -> None:
    assert pretraining(IMAGES).backbone.kind == "kmeans_patches"  # type: ignore[union-attr]
    assert pretraining(IMAGES.model_copy(update={"shape": (96, 96, 3)})).backbone.kind == "convnet"  # type: ignore[union-attr]
    assert pretraining(TABLE).backbone.kind == "mlp"  # type: ignore[union-attr]
    dots = IMAGES.model_copy(update={"shape": (3, 9, 1)})
    assert pretraining(dots).backbone.kind == "mlp"  # type: ignore[union-attr]


@pytest.mark.parametrize("steps", [1, 40])
def test_series_are_convolved_unless_each_step_is_asked_for(steps: int) -> None:
    columns: Any = ({"name": "left", "type": "number"},)
    series = DataSpec.model_validate(
        {**TABLE.model_dump(), "modality": "series", "shape": (steps, 1), "columns": columns}
    )
    found = {kind: pretraining(series, method={"kind": kind}).backbone.kind for kind in ("simclr", "autoencoder")}  # type: ignore[union-attr]
    assert found == {"simclr": "convnet", "autoencoder": "convnet"}
    assert pretraining(series, method={"kind": "masked_steps"}).backbone.kind == "tcn"  # type: ignore[union-attr]


def default_method(spec: DataSpec, backbone: str | None) -> str:
    given = {} if backbone is None else {"backbone": {"kind": backbone}}
    return pretraining(spec, **given).method.kind  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spec", "by_backbone"),
    [
        (
            IMAGES,
            {
                None: "kmeans",
                "kmeans_patches": "kmeans",
                "mlp": "simclr",
                "convnet": "simclr",
                "vit": "masked_autoencoder",
                "resnet": "simclr",
            },
        ),
        (PHOTOS, {None: "simclr", "mlp": "simclr", "convnet": "simclr", "vit": "masked_autoencoder"}),
        (TABLE, dict.fromkeys((None, "mlp", "tabular_resnet"), "denoising_autoencoder")),
        (
            SERIES,
            {
                None: "masked_steps",
                "tcn": "masked_steps",
                "gru": "masked_steps",
                "convnet": "simclr",
                "mlp": "simclr",
            },
        ),
        (TEXTS, dict.fromkeys((None, "transformer", "tcn"), "next_token")),
    ],
    ids=["images", "photos", "table", "series", "texts"],
)
def test_the_method_follows_the_data_and_the_backbone(spec: DataSpec, by_backbone: dict[str | None, str]) -> None:
    assert {backbone: default_method(spec, backbone) for backbone in by_backbone} == by_backbone


def learnable(modality: str) -> list[str]:
    """Kinds of backbones that a pretraining may learn, those of the future among them."""
    backbones: dict[str, Any] = kinds(FAMILIES["backbones"])
    return [kind for kind, backbone in backbones.items() if modality in backbone.accepts and backbone.learns]


@pytest.mark.parametrize(
    ("spec", "backbone"),
    [(spec, kind) for spec in (IMAGES, PHOTOS, TABLE, SERIES) for kind in learnable(spec.modality)],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value.shape)),
)
def test_no_backbone_is_pretrained_by_a_plain_autoencoder_unless_asked_for(spec: DataSpec, backbone: str) -> None:
    request: Any = kinds(FAMILIES["backbones"])[backbone]()
    method, _ = resolve_method("auto", request, ResolutionContext(spec.modality, spec.shape, 100))
    assert method.kind != "autoencoder"


def test_an_autoencoder_that_is_asked_for_is_trained() -> None:
    for spec in (IMAGES, PHOTOS, SERIES):
        asked = pretraining(spec, backbone={"kind": "convnet"}, method={"kind": "autoencoder"})
        assert asked.method.kind == "autoencoder"  # type: ignore[union-attr]


def test_the_report_says_why_views_are_compared() -> None:
    decisions = resolve_pretraining(PretrainingConfig.model_validate(CONVNET), IMAGES).decisions
    reason = next(decision.reason for decision in decisions if decision.field == "method")
    assert reason == "probes mostly learn more from recognising a row in two views than from rebuilding it"


def test_two_views_need_two_rows() -> None:
    with pytest.raises(ConfigError, match="has 1 train row: upload more"):
        pretraining(sized(1), **CONVNET)


def test_wide_tables_get_wide_layers() -> None:
    def hidden(spec: DataSpec, **fields: Any) -> Any:
        return pretraining(spec, backbone={"kind": "mlp", **fields}).backbone.hidden  # type: ignore[union-attr]

    columns = tuple({"name": f"c{index}", "type": "number"} for index in range(300))
    wide = DataSpec.model_validate({**TABLE.model_dump(), "shape": (300,), "columns": columns})
    assert (hidden(IMAGES), hidden(TABLE)) == ((256, 128), (256, 128))
    assert (hidden(sized(100)), hidden(wide)) == ((256, 128), (1024, 1024))
    assert hidden(wide, hidden=[7]) == (7,)


def test_a_given_models_probe_is_tried_first() -> None:
    """Whatever the budget is spent on afterwards."""
    parent = image_parent()
    candidates = candidates_of(fine_tuning(IMAGES, parent), IMAGES, 100, pretrained=True)
    assert [candidate.name for candidate in candidates][:2] == ["linear_probe", "nearest_neighbours"]


def test_labels_do_not_move_typical_patches() -> None:
    parent = manifest(pretraining(IMAGES).backbone, ImageModality(height=28, width=28))  # type: ignore[arg-type]
    candidates = candidates_of(fine_tuning(sized(100), parent), sized(100), 100, pretrained=True)
    names = {candidate.name for candidate in candidates}
    assert names & {"linear_probe", "lp_ft", "full", "scratch"} == {"linear_probe"}
    views: dict[str, Any] = {"augmentations": [{"kind": "noise"}]}
    assert fine_tuning(sized(100), parent, **views).strategy.kind == "full"  # type: ignore[union-attr]


def test_a_given_value_is_never_changed() -> None:
    training = {"epochs": 3, "batch_size": 1000, "optimizer": {"kind": "sgd", "lr": 0.5}, "evaluate_every": 2}
    found = pretraining(IMAGES, training=training).training
    assert (found.epochs, found.batch_size, found.optimizer.lr, found.evaluate_every) == (3, 1000, 0.5, 2)
    assert pretraining(IMAGES, training={"steps": 7}).training.epochs is None


def test_a_long_training_is_measured_about_twenty_times() -> None:
    assert pretraining(sized(100), training={"epochs": 100}).training.evaluate_every == 5
    assert pretraining(sized(100), training={"steps": 400, "batch_size": 100}).training.evaluate_every == 20
    stopping = {"epochs": 100, "early_stopping": {}}
    assert pretraining(sized(100), training=stopping).training.evaluate_every == 1
    very_long = {"steps": 5_000_000, "batch_size": 100}
    assert pretraining(sized(100), training=very_long).training.evaluate_every == 100_000  # the most that may be asked


@pytest.mark.parametrize("rows", [1, 8, 100, 4000, 60_000, 1_000_000])
def test_resolved_trainings_stay_sane_at_every_size(rows: int) -> None:
    compared = pretraining(sized(max(rows, 2)), **CONVNET)
    rebuilt = pretraining(sized(rows), **CONVNET, method={"kind": "autoencoder"})
    for config in (compared.training, rebuilt.training, fine_tuning(sized(rows)).training):
        assert isinstance(config.batch_size, int)
        assert isinstance(config.steps or config.epochs, int)
        assert 1 <= config.batch_size <= min(max(rows, 2), 512)
        assert config.steps is not None or 5 <= config.epochs <= 300  # of very many rows less than a few passes


def test_the_strategy_follows_parent_and_labels() -> None:
    parent = manifest(pretraining(IMAGES, **CONVNET).backbone, ImageModality(height=28, width=28))  # type: ignore[arg-type]
    assert fine_tuning(sized(100), None).strategy.kind == "automatic"  # type: ignore[union-attr]
    for said in ({"backbone": {"kind": "mlp"}}, {"training": {"epochs": 3}}, {"augmentations": [{"kind": "noise"}]}):
        assert fine_tuning(sized(100), None, **said).strategy.kind == "full"  # type: ignore[union-attr, arg-type]
    assert fine_tuning(sized(100), parent).strategy.kind == "automatic"  # type: ignore[union-attr]
    deep = [{**CLASSIFY[0], "hidden": [16]}]  # cannot be solved for
    found = {rows: fine_tuning(sized(rows), parent, heads=deep).strategy.kind for rows in (9, 90, 91, 60_000)}  # type: ignore[union-attr]
    assert found == {9: "linear_probe", 90: "linear_probe", 91: "full", 60_000: "full"}
    augmented: dict[str, Any] = {"augmentations": [{"kind": "noise"}]}
    assert fine_tuning(sized(100), parent, **augmented).strategy.kind == "full"  # type: ignore[union-attr]


def test_a_probe_is_solved_for_where_it_can_be() -> None:
    def resolved(heads: list[dict[str, Any]], **fields: Any) -> tuple[Any, Any]:
        probe = {"kind": "linear_probe", **fields}
        strategy = fine_tuning(IMAGES, image_parent(), heads=heads, strategy=probe).strategy
        return strategy.solver, strategy.layer  # type: ignore[union-attr]

    deep = [{**CLASSIFY[0], "hidden": [16]}]
    assert resolved(CLASSIFY) == ("exact", "best")
    assert resolved(deep) == ("gradient", "last")
    assert resolved(CLASSIFY, solver="gradient") == ("gradient", "last")
    assert resolved(CLASSIFY, layer=0) == ("exact", 0)
    for heads, fields, loc, words in (
        (deep, {"solver": "exact"}, ("strategy", "solver"), "choose gradient"),
        (CLASSIFY, {"solver": "gradient", "layer": "best"}, ("strategy", "layer"), "solver exact"),
        (CLASSIFY, {"layer": 99}, ("strategy", "layer"), "layers: choose 0 to"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            resolved(heads, **fields)
        assert caught.value.loc == loc


@pytest.mark.parametrize("kind", ["lp_ft", "automatic"])
def test_only_linear_heads_are_solved_for(kind: str) -> None:
    with pytest.raises(ConfigError, match="choose full") as caught:
        fine_tuning(IMAGES, image_parent(), heads=[{**CLASSIFY[0], "hidden": [16]}], strategy={"kind": kind})
    assert caught.value.loc == ("strategy", "kind")


def test_a_number_is_not_one_class() -> None:
    parent = manifest(pretraining(IMAGES, **CONVNET).backbone, ImageModality(height=28, width=28))  # type: ignore[arg-type]
    number = sized(60).model_copy(update={"targets": (TargetSpec(name="label", type="number"),)})
    regress = [{"kind": "regressor", "target": "label", "hidden": [16]}]
    assert fine_tuning(number, parent, heads=regress).strategy.kind == "linear_probe"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spec", "request_", "loc", "words"),
    [
        (TABLE, {"backbone": {"kind": "convnet"}}, ("backbone", "kind"), "choose mlp"),
        (
            IMAGES.model_copy(update={"shape": (3, 9, 1)}),
            {"backbone": {"kind": "convnet"}},
            ("backbone", "kind"),
            "at least 4 x 4",
        ),
        (TABLE, {"method": {"kind": "vae", "likelihood": "bernoulli"}}, ("method", "likelihood"), "gaussian"),
        (
            IMAGES.model_copy(update={"shape": (5000, 5000, 3)}),
            {"backbone": {"kind": "mlp", "hidden": [8192, 8192]}},
            ("backbone",),
            "parameters",
        ),
        (
            IMAGES.model_copy(update={"rows": {"train": 9}}),
            {"training": {"early_stopping": {}}},
            ("training", "early_stopping"),
            "validation",
        ),
        (IMAGES.model_copy(update={"rows": {"test": 9}}), {}, ("dataset",), "no training rows"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    spec: DataSpec, request_: dict[str, Any], loc: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        pretraining(spec, **request_)
    assert caught.value.loc == loc


def test_early_stopping_of_a_fine_tuning_needs_labelled_validation_rows() -> None:
    unlabelled = {**IMAGES.labelled, "label": {"train": 32, "validation": 0, "test": 8}}
    spec = IMAGES.model_copy(update={"labelled": unlabelled})
    stopping: dict[str, Any] = {"early_stopping": {}}
    with pytest.raises(ConfigError, match="validation rows that carry a head's target") as caught:
        fine_tuning(spec, training=stopping)
    assert caught.value.loc == ("training", "early_stopping")
    fine_tuning(IMAGES, training=stopping)
    fine_tuning(spec, heads=[*CLASSIFY, {"kind": "regressor", "target": "size"}], training=stopping)
    pretraining(spec, training=stopping)


@pytest.mark.parametrize(
    ("spec", "head", "loc", "words"),
    [
        (IMAGES, {"kind": "classifier", "target": "nope"}, "target", "it has 'label', 'size'"),
        (IMAGES, {"kind": "classifier", "target": "size"}, "kind", "use a regressor"),
        (IMAGES, {"kind": "regressor", "target": "label"}, "kind", "use a classifier"),
        (IMAGES, {"kind": "multi_label", "target": ["label"]}, "kind", "use a classifier"),
        (sized(9, classes=1), {"kind": "classifier", "target": "label"}, "target", "one class only"),
        (sized(0), {"kind": "classifier", "target": "label"}, "target", "no training row"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_in_words(
    spec: DataSpec, head: dict[str, Any], loc: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        fine_tuning(spec, heads=[*CLASSIFY[:0], head])
    assert caught.value.loc == ("heads", 0, loc)


def test_a_parent_that_does_not_fit_is_refused_naming_the_differences() -> None:
    with pytest.raises(ConfigError, match=r"8 x 8 pixels .* 28 x 28 pixels"):
        fine_tuning(sized(100), image_parent())
    with pytest.raises(ConfigError, match="takes images and the dataset is a table"):
        fine_tuning(TABLE, image_parent())
    with pytest.raises(ConfigError, match="brings its own backbone"):
        fine_tuning(IMAGES, image_parent(), backbone={"kind": "mlp"})
    inherited = fine_tuning(IMAGES, image_parent())
    assert inherited.backbone == image_parent().backbone


@pytest.mark.parametrize(
    "training",
    [
        {"epochs": 0},
        {"epochs": 100_001},
        {"epochs": 1.5},
        {"epochs": True},
        {"epochs": "3"},
        {"epochs": 3, "steps": 3},
        {"batch_size": -1},
        {"batch_size": 2**31},
        {"seed": -1},
        {"optimizer": {"kind": "adam", "lr": float("nan")}},
        {"optimizer": {"kind": "adam", "lr": float("inf")}},
        {"optimizer": {"kind": "adam", "lr": "0.1"}},
        {"optimizer": {"kind": "adam", "lr": True}},
        {"optimizer": {"kind": "adam", "lr": 0}},
        {"optimizer": {"kind": "adam", "betas": [0.9, 1.0]}},
        {"optimizer": {"kind": "sgd", "momentum": 0, "nesterov": True}},
        {"optimizer": {"kind": "lion"}},
        {"schedule": {"kind": "cosine", "warmup_steps": -1}},
        {"unknown": 1},
    ],
)
def test_a_bad_training_is_refused(training: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PretrainingConfig.model_validate({"training": training})


@pytest.mark.parametrize(("warmup", "training"), [(8, {"steps": 8}), (5, {"epochs": 1, "batch_size": 10})])
def test_a_warm_up_as_long_as_the_training_is_refused(warmup: int, training: dict[str, Any]) -> None:
    schedule = {"kind": "constant", "warmup_steps": warmup}
    with pytest.raises(ConfigError, match=rf"takes {warmup} steps and the whole training [48]: warm up for") as caught:
        pretraining(IMAGES, training={**training, "schedule": schedule})
    assert caught.value.loc == ("training", "schedule", "warmup_steps")
    shorter = {"kind": "constant", "warmup_steps": 3}
    assert pretraining(IMAGES, training={**training, "schedule": shorter}).training.schedule.warmup_steps == 3


def test_a_wrong_number_is_reported_once() -> None:
    with pytest.raises(ValidationError) as caught:
        PretrainingConfig.model_validate({"training": {"epochs": -1}})
    assert len(caught.value.errors()) == 1


def test_two_heads_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="another name"):
        FineTuningConfig.model_validate({"heads": CLASSIFY * 2})
    FineTuningConfig.model_validate({"heads": [CLASSIFY[0], {**CLASSIFY[0], "name": "second"}]})


def test_a_pretrained_backbone_moves_slowly_and_a_new_one_does_not() -> None:
    def scale(parent: Manifest | None) -> tuple[float, float]:
        config = fine_tuning(IMAGES, parent, strategy={"kind": "full"})
        return config.strategy.backbone_lr_scale, config.training.optimizer.lr  # type: ignore[union-attr,return-value]

    assert scale(image_parent()) == (0.1, 0.01)
    assert scale(None) == (1.0, 0.001)


def test_a_probe_decays_with_the_rows() -> None:
    decays = {
        rows: fine_tuning(sized(rows), None, strategy={"kind": "linear_probe"}).training.optimizer.weight_decay
        for rows in (10, 1000, 10_000_000)
    }
    assert decays == {10: 1.0, 1000: 0.1, 10_000_000: 1e-4}
    assert pretraining(IMAGES, **CONVNET, method={"kind": "autoencoder"}).training.optimizer.weight_decay == 0.01


def test_heads_count_among_the_parameters() -> None:
    wide = {"kind": "classifier", "target": "label", "hidden": [8192] * 8}
    with pytest.raises(ConfigError, match="parameters"):
        fine_tuning(IMAGES, heads=[wide, {**wide, "name": "second"}])


def test_the_largest_encoding_of_a_table_counts() -> None:
    assert TablePreprocessing().largest(TABLE).shape == (3 * 2 + 3,)
    assert ImagePreprocessing().largest(IMAGES).shape == (1, 8, 8)


def test_kinds_reads_unions_and_lone_members() -> None:
    assert next(iter(kinds(AnyBackbone))) == "mlp"
    assert kinds(Mlp) == {"mlp": Mlp}


def binary(counts: tuple[int, int] | None, **head: Any) -> Any:
    """A fine-tuning of a target with two classes, of which so many train rows are known."""
    target = TargetSpec(name="fraud", type="category", classes=("no", "yes"))
    rows = {} if counts is None else {"fraud": counts}
    spec = tiny.table().spec.model_copy(update={"targets": (target,), "labelled": {}, "class_rows": rows})
    heads = [{"kind": "classifier", "target": "fraud", **head}]
    return resolve_fine_tuning(FineTuningConfig.model_validate({"heads": heads}), spec, None)


@pytest.mark.parametrize(("counts", "positive"), [((980, 20), "yes"), ((5, 30), "no"), ((30, 30), "yes")])
def test_the_rarer_of_two_classes_counts_and_a_decision_says_so(counts: tuple[int, int], positive: str) -> None:
    resolved = binary(counts)
    assert resolved.config.heads[0].positive == positive
    (decision,) = [decision for decision in resolved.decisions if decision.field == "heads.0.positive"]
    assert (decision.value, str(sum(counts)) in decision.reason) == (positive, True)
    named = binary(counts, positive="no")
    assert named.config.heads[0].positive == "no"
    assert "heads.0.positive" not in {decision.field for decision in named.decisions}


def test_a_dataset_that_does_not_tell_has_the_second_class_count() -> None:
    assert binary(None).config.heads[0].positive == "yes"


def test_a_positive_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"heads.0.positive.*'no' and 'yes': name one of them"):
        binary((3, 4), positive="fraud")
    heads = [{"kind": "classifier", "target": "label", "positive": "bar"}]
    with pytest.raises(ConfigError, match=r"heads.0.positive.*3 classes"):
        resolve_fine_tuning(FineTuningConfig.model_validate({"heads": heads}), tiny.table().spec, None)
