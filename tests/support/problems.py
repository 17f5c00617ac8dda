"""What every error answer has to look like."""

import httpx

FIELDS = {"type", "title", "status", "code", "detail", "errors", "request_id"}


def check_problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, object]:
    """Check that an answer is a problem of this status and code, and return its body."""
    assert answer.status_code == status, (answer.request.method, answer.request.url, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = answer.json()
    assert set(body) == FIELDS
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["type"] == f"urn:graftwork:problem:{body['code']}"
    if code is not None:
        assert body["code"] == code
    return body


OTHER_PROTOCOLS = ("/v2", "/openai/", "/label-studio/")


def check_refusal(answer: httpx.Response, status: int, code: str | None = None) -> None:
    """Check an error of any path: a problem or, of another protocol, its status and shape for one."""
    if not answer.request.url.path.startswith(OTHER_PROTOCOLS):
        check_problem(answer, status, code)
        return
    assert answer.status_code == (400 if status in (409, 422) else status), (answer.request.url, answer.text)
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert answer.headers["x-request-id"]
