"""The base config of backbones over steps; whether they look ahead follows from the method and the heads."""

from abc import ABC
from typing import Annotated

from pydantic import Field

from app.ml.errors import ConfigError
from app.ml.fields import Auto
from app.ml.interfaces import BackboneConfig, BackboneRequest, Choices, ResolutionContext

Causal = Annotated[bool, Field(strict=True)]


class SequenceConfig(BackboneRequest, ABC):
    """A backbone over the steps of a text or series."""

    causal: Auto[Causal] = Field(
        "auto", description="Whether a step sees only what came before it; auto: only where method or head ask for it."
    )

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` for looking ahead where the method or a head forbids it."""
        if self.causal is False and context.causal:
            raise ConfigError(("causal",), "what is learned here must not look ahead: set this to true or auto")

    def choices(self, context: ResolutionContext) -> Choices:
        """Look ahead, unless the method or a head forbids it."""
        reason = "what comes next is to be said" if context.causal else "nothing has to be continued"
        return {"causal": (context.causal, reason)}


class ResolvedSequenceConfig(SequenceConfig, BackboneConfig, ABC):
    """The same once it is known whether it looks ahead."""

    causal: Causal
