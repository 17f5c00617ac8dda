"""Takes uploads in parts: makes them, stores their parts, puts the parts together."""

import hashlib
from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from app import failpoints
from app.artifacts import ArtifactStore, Blob, blob_key, put_blob
from app.dependencies import Services
from app.errors import BadRequestError, ConflictError, CorruptError, ErrorItem, NotFoundError, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.kit.ids import new_id
from app.kit.pages import Listing, Page, listing
from app.kit.streaming import Limit, ReceivedFile, display_name
from app.storage.quotas import refuse_exceeded
from app.storage.service import upload_limit
from app.uploads import repository
from app.uploads.repository import UploadPartRow, UploadRow
from app.uploads.schemas import MAX_FILENAME, CompleteRequest, Part, Status, Upload, UploadLinks, UploadRequest

MAX_OPEN = 100  # of one project
_DAY_SECONDS = 86_400
_CHUNK = 1 << 20
_SHOWN = 10  # numbers of parts that a message names


def create(state: Services, project_id: str, body: UploadRequest, key: str | None) -> Upload:
    """Make an upload without parts.

    Raises:
        GraftworkError: its file would be larger than the service takes, or than what is left of the project's quota.
        ConflictError: the project has as many open uploads as it may have.
    """
    _refuse_too_large(upload_limit(state, project_id), body.bytes or 0)

    def make(session: Session) -> Upload:
        if repository.count_open(session, project_id) >= MAX_OPEN:
            msg = f"This project has {MAX_OPEN} open uploads, which is the most: complete or delete some."
            raise ConflictError(msg, code="too_many_uploads")
        columns = {"filename": display_name(body.filename)[:MAX_FILENAME], "bytes": body.bytes, "sha256": body.sha256}
        return _answer(state, repository.add(session, project_id, **columns), [])

    request = fingerprint("POST /v1/uploads", body.model_dump_json())
    return state.database.transact(
        lambda session: once(session, project_id, key, request, lambda: make(session), Upload)
    )


def get(state: Services, project_id: str, upload_id: str) -> Upload:
    """Return an upload. Raises NotFoundError."""
    with state.database.reading() as session:
        return _answer(state, _find(session, project_id, upload_id), repository.parts(session, [upload_id]))


def list_page(
    state: Services, project_id: str, page: Page, status: Status | None, sha256: str | None
) -> Listing[Upload]:
    """Return one page of the project's uploads."""
    with state.database.reading() as session:
        rows, has_more = repository.page(session, project_id, page, status, sha256)
        parts = repository.parts(session, [row.id for row in rows])
        answers = [_answer(state, row, [part for part in parts if part.upload_id == row.id]) for row in rows]
    return Listing[Upload].model_validate(listing(answers, has_more=has_more))


def delete(state: Services, project_id: str, upload_id: str) -> None:
    """Delete an upload and its parts; datasets that were made from it stay. Raises NotFoundError."""

    def remove(session: Session) -> None:
        repository.remove(session, _find(session, project_id, upload_id, lock=True).id)

    state.database.transact(remove)


def part_limit(state: Services, project_id: str, upload_id: str, number: int) -> Limit:
    """Return how large a part may be.

    Raises:
        NotFoundError: the project has no such upload.
        ConflictError: it is complete.
        QuotaError: nothing is left of the project's quota.
    """
    with state.database.reading() as session:
        upload = _open(session, project_id, upload_id)
        _refuse_too_large(Limit(state.settings.max_upload_bytes), _bytes_beside(session, upload, number) + 1)
    limit, largest = upload_limit(state, project_id), state.settings.max_part_bytes
    return limit if limit.bytes <= largest else Limit(largest)


def put_part(state: Services, project_id: str, upload_id: str, number: int, file: ReceivedFile) -> Part:
    """Store a part, in place of an earlier one of its number.

    Raises:
        NotFoundError: the project has no such upload.
        ConflictError: it is complete.
        UnprocessableError: the part is empty.
        GraftworkError: the upload is larger than the service takes, or than what is left of the project's quota.
    """
    if not file.bytes:
        msg = "the part is empty"
        raise UnprocessableError(msg, errors=[ErrorItem(loc=["body"], msg=msg)])
    put_blob(state.artifacts, file.path, file.sha256)
    failpoints.reach("upload.part_stored")

    def note(session: Session) -> Part:
        upload = _open(session, project_id, upload_id, lock=True)
        limit = Limit(state.settings.max_upload_bytes)
        _refuse_too_large(limit, _bytes_beside(session, upload, number) + file.bytes)
        part = repository.put_part(session, upload, number, file.sha256, file.bytes)
        refuse_exceeded(session, project_id)
        return _part(part)

    return state.database.transact(note)


def complete(state: Services, project_id: str, upload_id: str, body: CompleteRequest) -> Upload:
    """Put the parts of an upload together; that of a complete one changes nothing.

    Raises:
        NotFoundError: the project has no such upload.
        UnprocessableError: a part is missing, or their sizes do not add up to that of the file.
        BadRequestError: the SHA-256 of the file is another.
        ConflictError: a part was replaced meanwhile.
    """
    with state.database.reading() as session:
        upload, parts = _find(session, project_id, upload_id), repository.parts(session, [upload_id])
        blobs = [(part.number, part.sha256, part.bytes) for part in parts]
        is_complete, announced, expected = upload.status == "complete", upload.bytes, body.sha256 or upload.sha256
        if is_complete and expected == upload.sha256:
            return _answer(state, upload, [])
    if not is_complete:
        _check_whole([number for number, *_ in blobs], sum(size for *_, size in blobs), announced)
    blob = None if is_complete else _assemble(state, [Blob(sha256=sha256, bytes=size) for _, sha256, size in blobs])
    if blob is None or (expected is not None and blob.sha256 != expected):
        msg = f"The parts together have another SHA-256 than {expected}. Send those anew whose digests differ."
        raise BadRequestError(msg, code="digest_mismatch")
    failpoints.reach("upload.assembled")

    def end(session: Session) -> Upload:
        upload = _find(session, project_id, upload_id, lock=True)
        now = [(part.number, part.sha256, part.bytes) for part in repository.parts(session, [upload_id])]
        if upload.status == "open" and now != blobs:
            msg = "A part was replaced while the parts were put together; complete the upload again."
            raise ConflictError(msg, code="upload_changed")
        if upload.status == "open":
            repository.complete(session, upload, blob.sha256, blob.bytes)
        return _answer(state, upload, [])

    return state.database.transact(end)


def source_of(session: Session, project_id: str, upload_id: str) -> tuple[Blob, str]:
    """Return the file of a complete upload, and its name.

    Raises:
        UnprocessableError: the project has no such upload, or it is not complete.
    """
    upload = repository.find(session, project_id, upload_id)
    if upload is None:
        msg = f"upload: there is no upload {upload_id}: make one by POST /v1/uploads"
    elif upload.status == "open" or upload.sha256 is None or upload.bytes is None:
        msg = f"upload: {upload_id} is not complete: send its parts, then POST /v1/uploads/{upload_id}/complete"
    else:
        return Blob(sha256=upload.sha256, bytes=upload.bytes), upload.filename
    raise UnprocessableError(msg, errors=[ErrorItem(loc=["body", "upload"], msg=msg.removeprefix("upload: "))])


def _find(session: Session, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow:
    upload = repository.find(session, project_id, upload_id, lock=lock)
    if upload is None:
        msg = f"There is no upload {upload_id}."
        raise NotFoundError(msg)
    return upload


def _open(session: Session, project_id: str, upload_id: str, *, lock: bool = False) -> UploadRow:
    upload = _find(session, project_id, upload_id, lock=lock)
    if upload.status != "open":
        msg = "The upload is complete, and takes no further parts; make another one."
        raise ConflictError(msg, code="upload_complete")
    return upload


def _bytes_beside(session: Session, upload: UploadRow, number: int) -> int:
    """Return the bytes of the other parts."""
    return sum(part.bytes for part in repository.parts(session, [upload.id]) if part.number != number)


def _refuse_too_large(limit: Limit, size: int) -> None:
    if size > limit.bytes:
        raise limit.error(limit.bytes)


def _check_whole(numbers: Sequence[int], size: int, announced: int | None) -> None:
    """Refuse parts with a gap, and parts that do not add up to what the upload has announced."""
    missing = sorted(set(range(1, max(numbers, default=1) + 1)) - set(numbers))
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (" and more" if len(missing) > _SHOWN else "")
        msg = f"parts are missing: {shown}. Send them, and complete the upload again"
    elif announced is not None and size != announced:
        msg = f"the parts have {size} bytes together, and the upload announced {announced}. Send what is missing"
    else:
        return
    raise UnprocessableError(msg, code="incomplete_upload", errors=[ErrorItem(loc=["parts"], msg=msg)])


def _assemble(state: Services, parts: Sequence[Blob]) -> Blob:
    """Store the parts, one behind the other, as one file."""
    if len(parts) == 1:
        return parts[0]
    folder = state.settings.data_folder / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    path, whole = folder / new_id("upload"), hashlib.sha256()
    try:
        with path.open("wb") as target:
            for part in parts:
                for chunk in _chunks(state.artifacts, part):
                    whole.update(chunk)
                    target.write(chunk)
        return put_blob(state.artifacts, path, whole.hexdigest())
    finally:
        path.unlink(missing_ok=True)


def _chunks(store: ArtifactStore, part: Blob) -> Iterator[bytes]:
    """Yield the bytes of a part. Raises CorruptError behind them where they are not those of its digest."""
    own = hashlib.sha256()
    with store.fetch(blob_key(part.sha256)).open("rb") as file:
        while chunk := file.read(_CHUNK):
            own.update(chunk)
            yield chunk
    if own.hexdigest() != part.sha256:
        msg = f"The stored bytes of a part ({part.sha256[:12]}) are damaged; send it again."
        raise CorruptError(msg)


def _part(row: UploadPartRow) -> Part:
    return Part(number=row.number, bytes=row.bytes, sha256=row.sha256)


def _answer(state: Services, row: UploadRow, parts: Sequence[UploadPartRow]) -> Upload:
    is_complete = row.status == "complete"
    return Upload(
        id=row.id,
        status="complete" if is_complete else "open",
        filename=row.filename,
        bytes=row.bytes,
        sha256=row.sha256,
        parts=[_part(part) for part in parts],
        received_bytes=(row.bytes or 0) if is_complete else sum(part.bytes for part in parts),
        max_part_bytes=state.settings.max_part_bytes,
        created_at=row.created_at,
        expires_at=row.changed_at + state.settings.upload_days * _DAY_SECONDS,
        links=UploadLinks(self=f"/v1/uploads/{row.id}"),
    )
