"""Uploads in parts that are complete."""

from tests.support.http import Http


def send(client: Http, content: bytes, filename: str) -> str:
    """Send a file as an upload of one part; return the id of the complete upload."""
    upload = str(client.post("/v1/uploads", json={"filename": filename}).json()["id"])
    headers = {"Content-Type": "application/octet-stream"}
    assert client.put(f"/v1/uploads/{upload}/parts/1", content=content, headers=headers).status_code == 200
    assert client.post(f"/v1/uploads/{upload}/complete", json={}).status_code == 200
    return upload
