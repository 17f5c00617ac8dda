"""Resolves references to models; registers, lists and deletes models. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.session import Database, after_commit
from app.dependencies import Services
from app.errors import ConflictError, NotFoundError
from app.kit.pages import Listing, Page, View, listing, summary_of
from app.ml.spec import Split, WarningItem
from app.models import repository
from app.models.refs import Ref, parse
from app.models.repository import ModelRow
from app.models.schemas import FileSummary, Lineage, LineageModel, Model, ModelLinks, ModelSummary, Origin
from app.models.signatures import heads_of, signature_of, warn_of_changes

MAX_ANCESTORS = 1000
MAX_CHILDREN = 1000
_MAX_NAMED_VERSIONS = 20
_MAX_ATTEMPTS = 5  # at a version that other requests want, too
Answer = TypeVar("Answer")


def register(  # noqa: PLR0913 - the fields of a model, all by keyword
    session: Session,
    *,
    project_id: str,
    name: str,
    kind: str,
    job_id: str | None,
    dataset_id: str | None,
    parent_id: str | None,
    manifest: dict[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    metrics: dict[str, Any],
    warnings: Sequence[WarningItem] = (),
) -> ModelRow:
    """Add a model as the next version of its name; part of the caller's transaction.

    `files` is `{name: {"sha256", "bytes"}}` of blobs that are already stored; `warnings` are its own, where no job has
    any.

    Raises:
        IntegrityError: another transaction took this version, so that the caller retries; or the job has registered
            a model before.
    """
    older = repository.find(session, project_id, Ref(name=name))
    changes = [] if older is None else warn_of_changes(manifest, older.manifest, older.version)
    return repository.add(
        session,
        warnings=[warning.model_dump(mode="json") for warning in (*warnings, *changes)],
        project_id=project_id,
        name=name,
        kind=kind,
        job_id=job_id,
        dataset_id=dataset_id,
        parent_id=parent_id,
        manifest=manifest,
        files={file: {"sha256": blob["sha256"], "bytes": blob["bytes"]} for file, blob in files.items()},
        metrics=metrics,
    )


def add(session: Session, **fields: Any) -> Model:
    """Register a model as `register` does, and return it as a response."""
    row = register(session, **fields)
    return _signed(_answer(row, [], has_job=fields["job_id"] is not None), row)


def with_next_version(database: Database, register: Callable[[Session], Answer]) -> Answer:
    """Run what registers a model as a transaction; again where another request took its version meanwhile.

    Raises:
        ConflictError: other requests keep registering versions of this name.
    """
    for _ in range(_MAX_ATTEMPTS):
        try:
            return database.transact(register)
        except IntegrityError:
            continue
    msg = "Other requests are making versions of this name; repeat this one."
    raise ConflictError(msg, code="version_in_progress")


def revision(session: Session) -> tuple[Any, ...]:
    """Return what is another whenever a reference may mean another model than before."""
    return repository.revision(session)


def resolve(session: Session, project_id: str, ref: str, *, light: bool = False) -> ModelRow:
    """Return the model that a reference resolves to; of a `light` one, what is large is read when it is asked for.

    Raises:
        NotFoundError: the project has no such model.
    """
    reference = parse(ref)
    row = repository.find(session, project_id, reference, light=light) if reference is not None else None
    if row is None:
        msg = "There is no such model. A reference is an id, a name, name@version or name@alias."
        raise NotFoundError(msg, code="model_not_found")
    return row


def named(session: Session, project_id: str) -> list[tuple[str, ModelRow]]:
    """Return every name, with its newest version, and every name@alias with its own, in the order of references."""
    newest = {row.name: row for row in repository.newest_of_names(session, project_id)}
    aliased = repository.aliased(session, project_id)
    return sorted([*newest.items(), *aliased], key=itemgetter(0))


def versions(session: Session, project_id: str, name: str) -> list[int]:
    """Return the versions of a name, the oldest first."""
    return repository.versions(session, project_id, name)[::-1]


def list_page(
    session: Session, project_id: str, page: Page, view: View, name: str | None, kind: str | None
) -> Listing[Model] | Listing[ModelSummary]:
    """Return one page of models."""
    rows, more = repository.page(session, project_id, page, name, kind)
    models = _answers(session, project_id, rows)
    if view == "full":
        return Listing[Model](**listing(models, has_more=more))
    summaries = [summary_of(model, ModelSummary) for model in models]
    return Listing[ModelSummary](**listing(summaries, has_more=more))


def get(session: Session, project_id: str, ref: str) -> Model:
    """Return one model."""
    row = resolve(session, project_id, ref)
    return _signed(_answers(session, project_id, [row])[0], row)


def find_published(session: Session, project_id: str, name: str, source: str) -> Model | None:
    """Return the newest version of a name that was brought in from this source of published weights."""
    row = repository.find_published(session, project_id, source, name)
    return None if row is None else _signed(_answers(session, project_id, [row])[0], row)


def was_brought_in(session: Session, project_id: str, source: str) -> bool:
    """Return whether the project has had a model of this source, which may have been deleted since."""
    return repository.find_published(session, project_id, source, deleted=True) is not None


def delete(session: Session, state: Services, project_id: str, ref: str) -> None:
    """Delete one version and its aliases. Models made from it keep working: they name the files they share.

    Raises:
        ConflictError: the reference is a bare name, or an unfinished job starts from this model.
    """
    row = resolve(session, project_id, ref)
    if (reference := parse(ref)) is not None and reference.is_bare_name:
        raise _which_version(row, repository.versions(session, project_id, row.name))
    job_id = repository.job_using(session, project_id, row.id)
    if job_id is not None:
        msg = f"The job {job_id} starts from this model; wait for it or cancel it first."
        raise ConflictError(msg, code="in_use")
    alias = repository.alias_sharing(session, project_id, row.name, row.id)
    if alias is not None:
        msg = f"{row.name}@{alias} deals requests to this version, too; take it out of that alias first."
        raise ConflictError(msg, code="in_use")
    repository.mark_deleted(session, project_id, row.id)
    after_commit(session, state.engine.references.clear)
    after_commit(session, lambda: state.engine.unload(row.id))


def _which_version(newest: ModelRow, versions: list[int]) -> ConflictError:
    """Return the refusal to delete by a bare name: each repetition would delete one version more."""
    name, named = newest.name, versions[:_MAX_NAMED_VERSIONS]
    listed = ", ".join(f"{name}@{version}" for version in named)
    more = f" and {len(versions) - len(named)} older ones" if len(versions) > len(named) else ""
    msg = (
        f"Which version? There are {listed}{more}: name one of them, or a model's id, such as {newest.id} for "
        f"{name}@{newest.version}. A name alone would mean another version each time."
    )
    return ConflictError(msg, code="which_version")


def lineage(session: Session, project_id: str, ref: str) -> Lineage:
    """Return a model's ancestors up to the root, and its children."""
    row = resolve(session, project_id, ref)
    ancestors: list[ModelRow] = []
    parent = row.parent_id
    while parent is not None and len(ancestors) < MAX_ANCESTORS:
        ancestor = repository.by_id(session, project_id, parent)
        if ancestor is None:
            break
        ancestors.append(ancestor)
        parent = ancestor.parent_id
    children = repository.children(session, project_id, row.id, MAX_CHILDREN)
    return Lineage(
        model=_relative(row),
        ancestors=[_relative(ancestor) for ancestor in ancestors],
        children=[_relative(child) for child in children],
    )


def find_model_trained_on(session: Session, model: ModelRow, source_sha256: str) -> ModelRow | None:
    """Return the model, or its nearest ancestor, whose backbone was trained on labels of this upload; else None."""
    row: ModelRow | None = model
    for _ in range(MAX_ANCESTORS):
        if row is None:
            return None
        if _trained_by_labels(row) and repository.source_of(session, row) == source_sha256:
            return row
        row = repository.by_id(session, row.project_id, row.parent_id) if row.parent_id else None
    return None


def learned_splits(session: Session, model: ModelRow) -> dict[str, set[Split]]:
    """Return the splits whose labels the model has learned, itself or by an ancestor's backbone, by dataset id."""
    found: dict[str, set[Split]] = {}
    row: ModelRow | None = model
    while row is not None and len(found) < MAX_ANCESTORS:
        if row.dataset_id is not None and (_trained_by_labels(row) or (row is model and row.kind == "fine_tuned")):
            found.setdefault(row.dataset_id, set()).update(row.manifest.get("learned_splits", ("train",)))
        row = repository.by_id(session, row.project_id, row.parent_id) if row.parent_id else None
    return found


def _trained_by_labels(model: ModelRow) -> bool:
    """Whether labels have moved its backbone."""
    strategy, labels = model.manifest.get("strategy"), model.manifest.get("labels")
    return labels is not None or (strategy is not None and strategy["kind"] != "linear_probe")


def file_sha256(state: Services, project_id: str, ref: str, name: str) -> str:
    """Return the sha256 of one file of a model. Raises NotFoundError: the model has no such file."""
    with state.database.reading() as session:
        row = resolve(session, project_id, ref)
    if name not in row.files:
        msg = f"This model has the files {', '.join(sorted(row.files))}."
        raise NotFoundError(msg, code="file_not_found")
    sha256: str = row.files[name]["sha256"]
    return sha256


def _relative(row: ModelRow) -> LineageModel:
    return LineageModel.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "version": row.version,
            "kind": row.kind,
            "job": row.job_id,
            "dataset": row.dataset_id,
            "origin": _origin(row),
            "created_at": row.created_at,
            "deleted": row.deleted_at is not None,
        }
    )


def _origin(row: ModelRow) -> Origin:
    if row.job_id is not None:
        return "job"
    if row.parent_id is None:
        return "import"
    return "rows" if row.dataset_id is None else "dataset"


def _answers(session: Session, project_id: str, rows: Sequence[ModelRow]) -> list[Model]:
    aliases = repository.aliases_of(session, project_id, [row.id for row in rows])
    jobs = repository.jobs_kept(session, rows)
    return [_answer(row, aliases[row.id], has_job=row.job_id in jobs) for row in rows]


def _signed(answer: Model, row: ModelRow) -> Model:
    """Return an answer with the signature, which lists do without: a table may have a thousand columns."""
    return answer.model_copy(update={"signature": signature_of(row.manifest)})


def _answer(row: ModelRow, aliases: list[str], *, has_job: bool) -> Model:
    manifest, path = row.manifest, f"/v1/models/{row.id}"
    links = ModelLinks(
        self=path,
        lineage=f"{path}/lineage",
        predictions=f"{path}/predictions" if manifest["heads"] else None,
        embeddings=f"{path}/embeddings",
        evaluations=f"/v1/jobs?kind=evaluation&model={row.id}" if manifest["heads"] else None,
        job=f"/v1/jobs/{row.job_id}" if has_job else None,
        dataset=row.dataset_id and f"/v1/datasets/{row.dataset_id}",
        parent=row.parent_id and f"/v1/models/{row.parent_id}",
    )
    return Model.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "version": row.version,
            "kind": row.kind,
            "modality": manifest["modality"]["kind"],
            "backbone": manifest["backbone"],
            "heads": heads_of(manifest),
            "method": manifest.get("method"),
            "labels": manifest.get("labels"),
            "watch": manifest.get("watch"),
            "strategy": manifest.get("strategy"),
            "published": manifest.get("published"),
            "decisions": manifest.get("decisions", []),
            "job": row.job_id,
            "dataset": row.dataset_id,
            "parent": row.parent_id,
            "origin": _origin(row),
            "metrics": row.metrics,
            "warnings": row.warnings,
            "files": [FileSummary(name=n, url=f"{path}/files/{n}", **blob) for n, blob in sorted(row.files.items())],
            "aliases": aliases,
            "created_at": row.created_at,
            "links": links,
        }
    )
