"""The base config of backbones over steps; whether they look ahead follows from the method and the heads."""

from abc import ABC
from typing import Annotated, ClassVar, Self

from pydantic import Field

from app.ml.configs.fields import Auto
from app.ml.errors import ConfigError
from app.ml.interfaces import BackboneConfig, Decision, ResolutionContext


class SequenceConfig(BackboneConfig, ABC):
    """A backbone over the steps of a text or series."""

    mixes_rows: ClassVar[bool] = False

    causal: Auto[Annotated[bool, Field(strict=True)]] = Field(
        "auto", description="Whether a step sees only what came before it; auto: only where method or head ask for it."
    )

    def resolve(self, context: ResolutionContext) -> tuple[Self, tuple[Decision, ...]]:
        """Look ahead, unless the method or a head forbids it. Raises `ConfigError`."""
        if self.causal != "auto":
            if context.causal and not self.causal:
                raise ConfigError(("causal",), "what is learned here must not look ahead: set this to true or auto")
            return self, ()
        reason = "what comes next is to be said" if context.causal else "nothing has to be continued"
        decision = Decision(field="causal", value=context.causal, reason=reason)
        return self.model_copy(update={"causal": context.causal}), (decision,)
