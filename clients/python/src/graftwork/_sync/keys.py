"""The resource /v1/keys."""

from typing import Unpack

from graftwork import answers, requests
from graftwork._sync.transport import Transport


class Keys:
    """Makes, lists and revokes API keys: /v1/keys. An administrator may name another `project`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, **fields: Unpack[requests.KeyRequest]) -> answers.NewApiKey:
        """Make a key; its secret is answered this once."""
        return answers.NewApiKey.from_json(self._transport.send("POST /v1/keys", json=fields))

    def list(self, *, project: str | None = None) -> list[answers.ApiKey]:
        """Return the keys of a project, newest first, without their secrets."""
        return self._transport.data(answers.ApiKey, "GET /v1/keys", query={"project": project})

    def rotate(
        self, key_id: str, *, project: str | None = None, **fields: Unpack[requests.RotationRequest]
    ) -> answers.NewApiKey:
        """Replace a key by one of the same name and scopes; the old one stays valid for `overlap` seconds."""
        query = {"project": project}
        return self._transport.ask(answers.NewApiKey, "POST /v1/keys/{key_id}/rotate", key_id, json=fields, query=query)

    def revoke(self, key_id: str, *, project: str | None = None) -> answers.ApiKey:
        """Revoke a key: within 5 seconds it opens nothing any more."""
        return self._transport.ask(answers.ApiKey, "DELETE /v1/keys/{key_id}", key_id, query={"project": project})
