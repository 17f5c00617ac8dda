"""Moves aliases: what an alias is to mean is loaded and checked first, then one transaction moves it.

So a request finds either the version before or the new one, and both answer. This process resolves an alias anew at
once, others within 2 s, or as soon as they have loaded what it means (`app.serving.references`).
"""

from dataclasses import dataclass
from unicodedata import normalize

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.aliases import answers, repository
from app.aliases.repository import AliasChangeRow, AliasKey, AliasRow, ModelRow
from app.aliases.schemas import (
    Alias,
    AliasHistory,
    AliasList,
    AliasReport,
    AliasRequest,
)
from app.aliases.traffic import Traffic, traffic_of
from app.db.session import after_commit
from app.dependencies import Services
from app.errors import ConflictError, CorruptError, ErrorItem, NotFoundError, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.kit.conditions import Conditions, etag_of
from app.models import service as models
from app.models.loading import load
from app.models.refs import NAME, is_alias, parse

MAX_ALIASES = 1000  # of one name


def put(state: Services, project_id: str, name: str, alias: str, body: AliasRequest, conditions: Conditions) -> Alias:
    """Let an alias mean a version, or several by weight, once each has answered as when it was made.

    Raises:
        UnprocessableError: the alias is not valid, a model has another name, or they cannot stand together.
        ConflictError: a model cannot answer, another request is making this alias, or the name has too many.
        PreconditionFailedError: the alias is not as the request's conditions say.
    """
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    if not is_alias(key.alias):
        raise _refuse(["path", "alias"], f"an alias has {NAME}; digits alone would be a version")
    with state.database.reading() as session:
        traffic, chosen = _requested(session, key, body)
    for model in chosen:
        _check_answers(state, model)

    def move(session: Session) -> Alias:
        _lock_models(session, key, traffic)
        row = repository.find(session, key, lock=True)
        if row is not None and traffic_of(row.model_id, row.traffic) == traffic:
            return answers.aliases_of(session, [row])[0]  # so that a repeated request is no other change
        conditions.check(_etag(row))
        return _set(session, state, key, row, traffic)

    return state.database.transact(move)


def point(session: Session, state: Services, key: AliasKey, model_id: str) -> Alias:
    """Let an alias mean a model that has just answered; part of the caller's transaction.

    Raises:
        ConflictError: another request is making this alias, or the name has too many.
    """
    return _set(session, state, key, repository.find(session, key, lock=True), Traffic(((model_id, 1.0),)))


def _requested(session: Session, key: AliasKey, body: AliasRequest) -> tuple[Traffic, list[ModelRow]]:
    """Return what a request lets an alias mean, and its models."""
    if body.versions is None:
        weighted = [(_version(session, key, str(body.model), ["body", "model"]), 1.0)]
    else:
        weighted = [(_version(session, key, ref, ["body", "versions", ref]), w) for ref, w in body.versions.items()]
    shadow = None if body.shadow is None else _version(session, key, body.shadow, ["body", "shadow"])
    weighted.sort(key=lambda pair: pair[0].version)
    chosen = [*(model for model, _ in weighted), *([shadow] if shadow else [])]
    if len({model.id for model in chosen}) < len(chosen):
        loc: list[str | int] = ["body", "shadow" if shadow else "versions"]
        raise _refuse(loc, "a version stands here twice: name each once, and another one as shadow")
    if shadow is not None and not all(model.manifest["heads"] for model in chosen):
        raise _refuse(["body", "shadow"], "predictions are compared, and a backbone without heads answers none")
    weights = tuple((model.id, float(weight)) for model, weight in weighted)
    share = body.shadow_share if shadow else 1.0
    if len(weights) == 1:
        weights = ((weights[0][0], 1.0),)
    return Traffic(weights, shadow.id if shadow else None, share), chosen


def _version(session: Session, key: AliasKey, ref: str, loc: list[str | int]) -> ModelRow:
    """Return the version of the alias's name that a reference means; digits alone are its number."""
    model = models.resolve(session, key.project_id, f"{key.name}@{ref}" if ref.isascii() and ref.isdigit() else ref)
    if model.name != key.name:
        msg = f"this is a version of {model.name!r}; an alias points at a version of its own name"
        raise _refuse(loc, msg)
    return model


def roll_back(
    state: Services,
    project_id: str,
    name: str,
    alias: str,
    revision: int | None,
    conditions: Conditions,
    idempotency_key: str | None,
) -> Alias:
    """Let an alias mean what it meant before, or at a revision of its history.

    Raises:
        NotFoundError: there is no such alias, or it has no such revision.
        ConflictError: it never meant anything else, or what it meant is deleted or cannot answer; or it moves just now.
        PreconditionFailedError: the alias is not as the request's conditions say.
    """
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    with state.database.reading() as session:
        change = _earlier(session, key, _existing(session, key), revision)
        traffic, chosen = answers.meaning_of(change), _models_of(session, key, change)
    for model in chosen:
        _check_answers(state, model)

    def move(session: Session) -> Alias:
        row = _existing(session, key, lock=True)
        conditions.check(_etag(row))
        repository.note_first(session, row)
        change = _earlier(session, key, row, revision)
        if answers.meaning_of(change) != traffic:
            msg = "Another request moves this alias just now; repeat this one."
            raise ConflictError(msg, code="alias_in_progress")
        _lock_models(session, key, traffic)
        return _moved(session, state, key, row, traffic, action="rolled_back", restores=change.revision)

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
    return answers.aliases_of(session, [row])[0]


def list_all(session: Session, project_id: str, name: str) -> AliasList:
    """Return the aliases of a name. Raises NotFoundError where the name has no model."""
    name = normalize("NFC", name)
    if models.resolve(session, project_id, name).name != name:
        raise _no_alias()  # another reference than a name
    return AliasList(data=answers.aliases_of(session, repository.list_of(session, project_id, name)))


def history(session: Session, project_id: str, name: str, alias: str) -> AliasHistory:
    """Return the newest changes of an alias, also of one that is deleted. Raises NotFoundError."""
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    rows = repository.changes(session, key, limit=repository.MAX_LISTED)
    if not rows:
        rows = [answers.only_change(_existing(session, key))]
    versions = repository.versions_of(
        session, {m for row in rows if row.model_id for m in answers.meaning_of(row).models}
    )
    return AliasHistory(data=[answers.change_of(row, versions) for row in rows])


def report(session: Session, project_id: str, name: str, alias: str) -> AliasReport:
    """Return what the shadows of an alias have shown. Raises NotFoundError."""
    key = AliasKey(project_id, normalize("NFC", name), normalize("NFC", alias))
    row = _existing(session, key)
    reports = repository.shadow_reports(session, key)
    versions = repository.versions_of(session, {m for entry in reports for m in (entry.model_id, entry.shadow_id)})
    return AliasReport(
        name=row.name, alias=row.alias, data=[answers.comparison_of(entry, versions) for entry in reports]
    )


@dataclass(frozen=True, slots=True)
class Dealing:
    """How the requests for an alias are dealt out: models by weight, and a shadow for a share of them."""

    key: AliasKey
    weights: tuple[tuple[ModelRow, float], ...]
    shadow: ModelRow | None
    shadow_share: float


def dealing(session: Session, project_id: str, ref: str) -> Dealing | None:
    """Return how a reference's requests are dealt out; None where all go to the one model that it means."""
    reference = parse(ref)
    if reference is None or reference.alias is None or reference.name is None:
        return None
    key = AliasKey(project_id, reference.name, reference.alias)
    row = repository.find(session, key)
    if row is None or row.traffic is None:
        return None
    traffic = traffic_of(row.model_id, row.traffic)
    rows = {model: repository.find_model(session, project_id, model) for model in traffic.models}
    weights = tuple((model, weight) for id_, weight in traffic.weights if (model := rows[id_]) is not None)
    shadow = rows[traffic.shadow] if traffic.shadow else None
    if not weights or (len(weights) == 1 and shadow is None):
        return None
    return Dealing(key, weights, shadow, traffic.shadow_share)


def _check_answers(state: Services, model: ModelRow) -> None:
    """Load a model, which replays its golden rows. Raises ConflictError where it does not answer as it did."""
    try:
        load(state, model.id, model.files)
    except CorruptError as error:
        msg = f"{model.name}@{model.version} cannot answer, so the alias stays as it is: {error.detail}"
        raise ConflictError(msg, code="model_does_not_answer") from error


def _set(session: Session, state: Services, key: AliasKey, row: AliasRow | None, traffic: Traffic) -> Alias:
    """Note a new meaning; a new alias needs room among those of its name."""
    if row is None and len(repository.list_of(session, key.project_id, key.name)) >= MAX_ALIASES:
        msg = f"This name has {MAX_ALIASES} aliases, which is the most: delete one that nobody uses."
        raise ConflictError(msg, code="too_many_aliases")
    return _moved(session, state, key, row, traffic, action="set")


def _moved(
    session: Session, state: Services, key: AliasKey, row: AliasRow | None, traffic: Traffic, **change: str | int
) -> Alias:
    try:
        row = repository.put(session, key, row, traffic, **change)
    except IntegrityError:
        msg = "Another request is making this alias; repeat this one."
        raise ConflictError(msg, code="alias_in_progress") from None
    after_commit(session, state.engine.references.clear)
    return answers.aliases_of(session, [row])[0]


def _earlier(session: Session, key: AliasKey, row: AliasRow, revision: int | None) -> AliasChangeRow:
    """Return the change that a rollback goes back to."""
    changes = repository.changes(session, key)
    if revision is not None:
        return _change_at(changes, revision)
    current = next((change for change in changes if change.revision == row.revision), None)
    place = row.revision if current is None else current.restores or current.revision
    for change in changes:
        if (
            change.revision < place
            and change.model_id
            and answers.meaning_of(change) != traffic_of(row.model_id, row.traffic)
        ):
            return change
    msg = "This alias has meant nothing else before; point it at a version with PUT."
    raise ConflictError(msg, code="no_earlier_version")


def _change_at(changes: list[AliasChangeRow], revision: int) -> AliasChangeRow:
    for change in changes:
        if change.revision == revision and change.model_id is not None:
            return change
    msg = f"The history of this alias has no revision {revision} at which it meant a version."
    raise NotFoundError(msg, code="revision_not_found")


def _models_of(session: Session, key: AliasKey, change: AliasChangeRow) -> list[ModelRow]:
    """Return the models that an alias meant from a change on."""
    rows = {model: repository.find_model(session, key.project_id, model) for model in answers.meaning_of(change).models}
    gone = {model for model, row in rows.items() if row is None}
    if gone:
        versions = ", ".join(str(version) for version in sorted(repository.versions_of(session, gone).values()))
        msg = (
            f"Revision {change.revision} meant version {versions}, which has been deleted: name another revision of "
            "the alias's history, or point it at a version with PUT."
        )
        raise ConflictError(msg, code="version_deleted")
    return [row for row in rows.values() if row is not None]


def _lock_models(session: Session, key: AliasKey, traffic: Traffic) -> None:
    """Keep models from being deleted until the transaction ends."""
    for model in sorted(traffic.models):
        if repository.find_model(session, key.project_id, model, lock=True) is None:
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


def _refuse(loc: list[str | int], msg: str) -> UnprocessableError:
    return UnprocessableError(f"{loc[-1]}: {msg}", errors=[ErrorItem(loc=loc, msg=msg)])


def _etag(row: AliasRow | None) -> str | None:
    return None if row is None else etag_of(row.revision)
