"""Moves aliases: what an alias is to mean is loaded and checked first, then one transaction moves it.

So a request finds either the version before or the new one, and both answer. This process resolves an alias anew at
once, others within 2 s.
"""

from unicodedata import normalize

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.aliases import repository
from app.aliases.repository import AliasChangeRow, AliasKey, AliasRow, ModelRow
from app.aliases.schemas import Alias, AliasChange, AliasHistory, AliasList
from app.db.session import after_commit
from app.dependencies import Services
from app.errors import ConflictError, CorruptError, ErrorItem, NotFoundError, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.kit.conditions import Conditions, etag_of
from app.models import service as models
from app.models.loading import load
from app.models.refs import NAME, is_alias

MAX_ALIASES = 1000  # of one name


def put(state: Services, project_id: str, name: str, alias: str, ref: str, conditions: Conditions) -> Alias:
    """Point an alias at a version, once that version has answered as when it was made.

    Raises:
        UnprocessableError: the alias is not valid, or the model has another name.
        ConflictError: the model cannot answer, another request is making this alias, or the name has too many.
        PreconditionFailedError: the alias is not as the request's conditions say.
    """
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    if not is_alias(key.alias):
        raise _refuse(["path", "alias"], f"an alias has {NAME}; digits alone would be a version")
    with state.database.reading() as session:
        model = models.resolve(session, project_id, ref)
    if model.name != key.name:
        msg = f"this is a version of {model.name!r}; an alias points at a version of its own name"
        raise _refuse(["body", "model"], msg)
    _check_answers(state, model)

    def move(session: Session) -> Alias:
        _lock_model(session, key, model.id)
        row = repository.find(session, key, lock=True)
        if row is not None and row.model_id == model.id:
            return _answer(row, model.version)  # so that a repeated request is no other change
        conditions.check(_etag(row))
        if row is None and len(repository.list_of(session, project_id, key.name)) >= MAX_ALIASES:
            msg = f"This name has {MAX_ALIASES} aliases, which is the most: delete one that nobody uses."
            raise ConflictError(msg, code="too_many_aliases")
        return _moved(session, state, key, row, model, action="set")

    return state.database.transact(move)


def roll_back(
    state: Services,
    project_id: str,
    name: str,
    alias: str,
    revision: int | None,
    conditions: Conditions,
    idempotency_key: str | None,
) -> Alias:
    """Point an alias at what it meant before, or at a revision of its history.

    Raises:
        NotFoundError: there is no such alias, or it has no such revision.
        ConflictError: it never meant anything else, or what it meant is deleted or cannot answer; or it moves just now.
        PreconditionFailedError: the alias is not as the request's conditions say.
    """
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    with state.database.reading() as session:
        row = _existing(session, key)
        model = _model_of(session, key, _earlier(session, key, row, revision))
    _check_answers(state, model)

    def move(session: Session) -> Alias:
        row = _existing(session, key, lock=True)
        conditions.check(_etag(row))
        repository.note_first(session, row)
        change = _earlier(session, key, row, revision)
        if change.model_id != model.id:
            raise _moving()
        _lock_model(session, key, model.id)
        return _moved(session, state, key, row, model, action="rolled_back", restores=change.revision)

    request = fingerprint("rollback", key.name, key.alias, str(revision))
    return state.database.transact(
        lambda session: once(session, project_id, idempotency_key, request, lambda: move(session), Alias)
    )


def delete(session: Session, state: Services, project_id: str, name: str, alias: str, conditions: Conditions) -> None:
    """Delete an alias; its history stays. Raises NotFoundError and PreconditionFailedError."""
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    row = _existing(session, key, lock=True)
    conditions.check(_etag(row))
    repository.remove(session, key, row)
    after_commit(session, state.engine.references.clear)


def get(session: Session, project_id: str, name: str, alias: str) -> Alias:
    """Return an alias. Raises NotFoundError."""
    row = _existing(session, AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias)))
    return _answer(row, repository.versions_of(session, {row.model_id})[row.model_id])


def list_all(session: Session, project_id: str, name: str) -> AliasList:
    """Return the aliases of a name. Raises NotFoundError where the name has no model."""
    name = normalize("NFC", name)
    if models.resolve(session, project_id, name).name != name:
        raise _no_alias()  # another reference than a name
    rows = repository.list_of(session, project_id, name)
    versions = repository.versions_of(session, {row.model_id for row in rows})
    return AliasList(data=[_answer(row, versions[row.model_id]) for row in rows])


def history(session: Session, project_id: str, name: str, alias: str) -> AliasHistory:
    """Return the newest changes of an alias, also of one that is deleted. Raises NotFoundError."""
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    rows = repository.changes(session, key, limit=repository.MAX_LISTED)
    if not rows:
        rows = [_as_change(_existing(session, key))]
    versions = repository.versions_of(session, {row.model_id for row in rows if row.model_id is not None})
    return AliasHistory(data=[_as_answer(row, versions) for row in rows])


def _check_answers(state: Services, model: ModelRow) -> None:
    """Load a model, which replays its golden rows. Raises ConflictError where it does not answer as it did."""
    try:
        load(state, model.id, model.files)
    except CorruptError as error:
        msg = f"{model.name}@{model.version} cannot answer, so the alias stays as it is: {error.detail}"
        raise ConflictError(msg, code="model_does_not_answer") from error


def _moved(
    session: Session, state: Services, key: AliasKey, row: AliasRow | None, model: ModelRow, **change: str | int
) -> Alias:
    try:
        row = repository.put(session, key, row, model.id, **change)
    except IntegrityError:
        msg = "Another request is making this alias; repeat this one."
        raise ConflictError(msg, code="alias_in_progress") from None
    after_commit(session, state.engine.references.clear)
    return _answer(row, model.version)


def _earlier(session: Session, key: AliasKey, row: AliasRow, revision: int | None) -> AliasChangeRow:
    """Return the change that a rollback goes back to."""
    changes = repository.changes(session, key)
    if revision is not None:
        return _change_at(changes, revision)
    current = next((change for change in changes if change.revision == row.revision), None)
    place = row.revision if current is None else current.restores or current.revision
    for change in changes:
        if change.revision < place and change.model_id not in {None, row.model_id}:
            return change
    msg = "This alias has meant nothing else before; point it at a version with PUT."
    raise ConflictError(msg, code="no_earlier_version")


def _change_at(changes: list[AliasChangeRow], revision: int) -> AliasChangeRow:
    for change in changes:
        if change.revision == revision and change.model_id is not None:
            return change
    msg = f"The history of this alias has no revision {revision} at which it meant a version."
    raise NotFoundError(msg, code="revision_not_found")


def _model_of(session: Session, key: AliasKey, change: AliasChangeRow) -> ModelRow:
    model = repository.find_model(session, key.project_id, str(change.model_id))
    if model is None:
        version = repository.versions_of(session, {str(change.model_id)}).get(str(change.model_id))
        msg = (
            f"Revision {change.revision} meant version {version}, which has been deleted: name another revision of "
            "the alias's history, or point it at a version with PUT."
        )
        raise ConflictError(msg, code="version_deleted")
    return model


def _lock_model(session: Session, key: AliasKey, model_id: str) -> None:
    """Keep a model from being deleted until the transaction ends."""
    if repository.find_model(session, key.project_id, model_id, lock=True) is None:
        msg = "This version is being deleted."
        raise NotFoundError(msg, code="model_not_found")


def _existing(session: Session, key: AliasKey, *, lock: bool = False) -> AliasRow:
    row = repository.find(session, key, lock=lock)
    if row is None:
        raise _no_alias()
    return row


def _no_alias() -> NotFoundError:
    msg = "This name has no such alias; GET /v1/models/{name}/aliases lists them."
    return NotFoundError(msg, code="alias_not_found")


def _moving() -> ConflictError:
    msg = "Another request moves this alias just now; repeat this one."
    return ConflictError(msg, code="alias_in_progress")


def _refuse(loc: list[str | int], msg: str) -> UnprocessableError:
    return UnprocessableError(f"{loc[-1]}: {msg}", errors=[ErrorItem(loc=loc, msg=msg)])


def _etag(row: AliasRow | None) -> str | None:
    return None if row is None else etag_of(row.revision)


def _answer(row: AliasRow, version: int) -> Alias:
    return Alias(
        name=row.name,
        alias=row.alias,
        model=row.model_id,
        version=version,
        revision=row.revision,
        updated_at=row.updated_at,
    )


def _as_change(row: AliasRow) -> AliasChangeRow:
    """Return an alias of an earlier release, whose history is not kept, as its only change."""
    return AliasChangeRow(
        revision=row.revision, action="set", model_id=row.model_id, restores=None, changed_at=row.updated_at
    )


def _as_answer(row: AliasChangeRow, versions: dict[str, int]) -> AliasChange:
    return AliasChange.model_validate(
        {
            "revision": row.revision,
            "action": row.action,
            "model": row.model_id,
            "version": versions.get(row.model_id or ""),
            "restores": row.restores,
            "changed_at": row.changed_at,
        }
    )
