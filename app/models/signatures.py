"""Signatures of registered models, read from their manifests."""

from typing import Any

from pydantic import TypeAdapter

from app.ml.interfaces.signature import Signature
from app.ml.kinds.modalities import AnyModality
from app.ml.spec import WarningCode, WarningItem

MAX_CHANGES = 5
_MODALITY: TypeAdapter[AnyModality] = TypeAdapter(AnyModality)


def signature_of(manifest: dict[str, Any]) -> Signature:
    """Return what a model takes."""
    return _MODALITY.validate_python(manifest["modality"]).signature()


def warn_of_changes(manifest: dict[str, Any], older: dict[str, Any], version: int) -> list[WarningItem]:
    """Return a warning where a model takes other inputs than the `older` version of its name, else nothing."""
    if manifest["modality"] == older["modality"]:
        return []
    changes = signature_of(manifest).changes_from(signature_of(older))
    if not changes:
        return []
    more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    return [
        WarningItem(
            code=WarningCode.SIGNATURE_CHANGED,
            message=f"Requests for version {version} may not fit: {'; '.join(changes[:MAX_CHANGES])}{more}.",
            count=len(changes),
            remedy="ask for the version or an alias that clients were written for, or give the model another name",
        )
    ]
