"""The resource /v1/heads."""

import builtins
from typing import Any, Unpack

from graftwork import answers, requests
from graftwork._async.transport import AsyncTransport
from graftwork.inputs import to_json


class AsyncHeads:
    """Fits heads while the request waits: /v1/heads."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        model: str,
        dataset: str | None = None,
        rows: Any = None,
        labels: Any = None,
        target: str | builtins.list[str] | None = None,
        **options: Unpack[requests.HeadsOptions],
    ) -> answers.FittedModel:
        """Fit heads on a model's backbone, on a dataset or on rows with labels, and return the model that they make.

        `rows` and `labels` are lists, or NumPy arrays. `options` are the request's other fields.
        """
        body: dict[str, Any] = {"model": model, "dataset": dataset, "target": target, **options}
        if rows is not None:
            body["rows"] = [to_json(row) for row in rows]
        if labels is not None:
            body["labels"] = [to_json(label) for label in labels]
        body = {key: value for key, value in body.items() if value is not None}
        return await self._transport.create(answers.FittedModel, "POST /v1/heads", json=body)
