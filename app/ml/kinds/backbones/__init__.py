"""Backbones: networks from rows to features. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.interfaces import BackboneConfig
from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.backbones.bert import Bert
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.efficientnet_lite0 import EfficientNetLite0
from app.ml.kinds.backbones.gru import Gru
from app.ml.kinds.backbones.kmeans_patches import KMeansPatches
from app.ml.kinds.backbones.lstm import Lstm
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.kinds.backbones.random_kernels import RandomKernels
from app.ml.kinds.backbones.raw import Raw
from app.ml.kinds.backbones.resnet import ResNet
from app.ml.kinds.backbones.rocket import Rocket
from app.ml.kinds.backbones.tabular_resnet import TabularResNet
from app.ml.kinds.backbones.tcn import Tcn
from app.ml.kinds.backbones.tfidf import Tfidf
from app.ml.kinds.backbones.transformer import Transformer
from app.ml.kinds.backbones.vit import Vit

AnyBackbone = Annotated[
    Mlp
    | KMeansPatches
    | Vit
    | ConvNet
    | ResNet
    | EfficientNetLite0
    | Gru
    | Lstm
    | Tcn
    | RandomKernels
    | Rocket
    | TabularResNet
    | Raw
    | Transformer
    | Bert
    | Tfidf,
    Field(discriminator="kind"),
]  # fmt: skip
ResolvedBackbone = Annotated[BackboneConfig, ResolvedKinds(AnyBackbone)]
