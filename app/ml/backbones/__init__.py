"""Backbones: networks from rows to features. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.backbones.bert import Bert
from app.ml.backbones.convnet import ConvNet
from app.ml.backbones.efficientnet_lite0 import EfficientNetLite0
from app.ml.backbones.gru import Gru
from app.ml.backbones.kmeans_patches import KMeansPatches
from app.ml.backbones.lstm import Lstm
from app.ml.backbones.mlp import Mlp
from app.ml.backbones.resnet import ResNet
from app.ml.backbones.tabular_resnet import TabularResNet
from app.ml.backbones.tcn import Tcn
from app.ml.backbones.transformer import Transformer
from app.ml.backbones.vit import Vit

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
    | TabularResNet
    | Transformer
    | Bert,
    Field(discriminator="kind"),
]  # fmt: skip
