"""The learning half of a job's request."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.configs.training import TrainingConfig
from app.ml.configs.transfer_report import TransferReport
from app.ml.errors import Location
from app.ml.fields import Auto, Name
from app.ml.kinds.augmentations import AnyAugmentation
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.balancing import AnyBalancing
from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.preprocessing import AnyPreprocessing
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.supervision import AnySupervision
from app.ml.spec import Frozen

HeadsOrInherit = Annotated[
    Annotated[tuple[AnyHead, ...], Field(min_length=1, max_length=64), Tag("listed")]
    | Annotated[Literal["inherit"], Tag("inherit")],
    Discriminator(lambda heads: "inherit" if isinstance(heads, str) else "listed"),
]
Augmentations = Annotated[tuple[AnyAugmentation, ...], Field(max_length=16)]


class PretrainingConfig(Frozen):
    """Learn a backbone from rows without labels, or with few."""

    preprocessing: Auto[AnyPreprocessing] = Field("auto", description="How rows become numbers; auto: as data is.")
    backbone: Auto[AnyBackbone] = Field("auto", description="The network; auto: one that suits data and method.")
    method: Auto[AnyMethod] = Field("auto", description="What it learns from; auto: one that suits the data.")
    augmentations: Auto[Augmentations] = Field(
        "auto", description="Random changes of every batch, in order; auto: none, or what the method needs."
    )
    labels: AnySupervision | None = Field(
        None, description="What the labels of some rows add to the loss; null: no label is looked at."
    )
    watch: Auto[OnlineProbeConfig] | None = Field(
        "auto",
        description="What is looked at at each evaluation, and whether it chooses the weights; auto: where train rows "
        "carry a target, a probe of the first such target on a few of them, which warns where pretraining loses what "
        "the target needs; null: nothing.",
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How it is trained.")

    @property
    def auxiliary_dataset(self) -> tuple[Location, str] | None:
        """Another dataset that is looked at, and the field that names it."""
        watch = self.watch
        return (("watch", "dataset"), watch.dataset) if watch and watch != "auto" and watch.dataset else None


class FineTuningConfig(Frozen):
    """Learn heads, on a pretrained backbone or from scratch."""

    heads: HeadsOrInherit = Field(description="What to predict; inherit: what the model predicts, and more classes.")
    inherited_heads: Auto[tuple[Name, ...]] = Field(
        "auto",
        description="Keys of the heads that go on from the weights of the model's head for the same target; auto: "
        "where the dataset has all of its classes, and the strategy does not solve for heads; an empty list: none.",
    )
    strategy: Auto[AnyStrategy] = Field(
        "auto",
        description="How it learns; auto: automatic, which compares several ways by cross-validation on the labels, "
        "and full where the request says how a network is trained.",
    )
    preprocessing: Auto[AnyPreprocessing] = Field(
        "auto", description="How rows become numbers, when no pretrained model is given."
    )
    backbone: Auto[AnyBackbone] = Field("auto", description="The network, when no pretrained model is given.")
    loading: Literal["strict", "partial"] = Field(
        "strict",
        description="How the pretrained model's weights are loaded: strict takes its backbone and preprocessing as "
        "they are; partial lets another backbone take over what fits, and tells what did.",
    )
    balancing: AnyBalancing = Field(
        default_factory=Fixed, description="How several heads share the backbone: whose loss counts how much."
    )
    augmentations: Augmentations = Field((), description="Random changes of every training batch, in order.")
    unlabelled: Auto[LabelPropagationConfig | None] = Field(
        "auto",
        description="Rows without labels that join a linear probe by pseudo-labels; null: none; auto: those of this "
        "dataset, where cross-validation on the labels says that they pay.",
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How it is trained.")
    transfer_report: TransferReport | None = Field(
        None, description="Also find out what the pretrained weights are worth, compared with controls; null does not."
    )

    @property
    def auxiliary_dataset(self) -> tuple[Location, str] | None:
        """Another dataset that is looked at, and the field that names it."""
        chosen = self.unlabelled
        named = isinstance(chosen, LabelPropagationConfig) and chosen.dataset
        return (("unlabelled", "dataset"), named) if named else None

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if self.heads == "inherit":
            return self
        keys = [head.key for head in self.heads]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            msg = f"two heads answer under the name {twice[0]!r}: give one of them another name"
            raise ValueError(msg)
        return self
