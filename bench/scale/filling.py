"""Fills a database with copies of real rows, by statements that the database runs by itself.

A job, its model and its dataset are made by the service once, on a few rows; what is copied has their manifests, specs
and configs, so that rows are as wide as real ones. Ids are UUIDv7 of the time at which each row would have been made.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text
from sqlalchemy.orm import Session

from app.db import named_files
from app.db.session import Database
from app.db.tables import AliasRow, AttemptRow, Base, DatasetRow, EventRow, JobRow, ModelRow, ProjectRow

_SPAN_MS = 90 * 86_400_000
_CHUNK = 200_000  # rows of one statement
_ENDINGS = "CASE WHEN i / 2 % 50 = 7 THEN 'failed' WHEN i / 2 % 100 = 3 THEN 'cancelled' ELSE 'succeeded' END"
_COUNTED_BY_TRIGGERS = 1000  # models whose files are counted as a service counts them
_NAMES = 10  # versions of each name of models, more or less


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows there are of each kind; `models` ended jobs have made one model each."""

    models: int
    queued: int
    events: int
    datasets: int

    def scaled(self, factor: float) -> "Sizes":
        """Return these sizes times a factor, each at least one page."""
        return Sizes(*(max(20, int(factor * size)) for size in (self.models, self.queued, self.events, self.datasets)))


FULL = Sizes(models=1_000_000, queued=100_000, events=10_000_000, datasets=10_000)
PAGE = Sizes(models=20, queued=20, events=200, datasets=20)


@dataclass(frozen=True, slots=True)
class Template:
    """The ids of the rows that are copied, and the project that owns them."""

    project: str
    job: str
    model: str
    dataset: str


class Filler:
    """Copies rows of one template. The first half of them are the template's project's, the rest `others` share."""

    def __init__(self, database: Database, template: Template, others: int, *, tag: int = 0) -> None:
        self._database = database
        self._template = template
        self._others = others
        self._tag = tag  # keeps ids of two fillings apart
        self._is_sqlite = database.url.startswith("sqlite")
        self._started_ms = int(time.time() * 1000) - _SPAN_MS - 3_600_000

    def fill(self, sizes: Sizes, project: str | None = None) -> None:
        """Insert everything, all of it to `project` where one is given."""
        owner = self._owner() if project is None else f"'{project}'"
        is_bulk = sizes.models > _COUNTED_BY_TRIGGERS
        if is_bulk:
            self._count_files(named_files.remove)
        self._projects()
        job, model, data = self._template.job, self._template.model, self._template.dataset
        per_job = max(1, sizes.events // sizes.models)
        names = max(1, sizes.models // _NAMES)
        dataset = self._id("ds", f"i % {sizes.datasets}", sizes.datasets)
        made_at = self._seconds("i", sizes.models)
        ended = {
            "id": self._id("job", "i", sizes.models),
            "project_id": owner,
            "name": f"'run-' || (i % {names})",
            "status": _ENDINGS,
            "metadata": self._json(f"'{{\"team\": \"t' || (i / 2 % {max(1, sizes.models // 500)}) || '\"}}'"),
            "dataset_id": dataset,
            "last_seq": str(per_job),
            **dict.fromkeys(("created_at", "queued_at", "started_at", "finished_at"), made_at),
        }
        queued_at = self._seconds("i", sizes.queued)
        queued = {
            **ended,
            "id": self._id("job", "i", sizes.queued, kind=1),
            "status": "'queued'",
            "priority": "i % 5 - 2",
            "token": "0",
            "attempts": "0",
            "last_seq": "1",
            **dict.fromkeys(("phase", "progress", "metrics", "owner", "lease_until"), "NULL"),
            **dict.fromkeys(("created_at", "queued_at"), queued_at),
            **dict.fromkeys(("started_at", "finished_at"), "NULL"),
        }
        self._copy(DatasetRow, data, sizes.datasets, {
            "id": self._id("ds", "i", sizes.datasets),
            "project_id": owner,
            "name": "'data-' || i",
            "job_id": "NULL",
            "created_at": self._seconds("i", sizes.datasets),
        })  # fmt: skip
        self._copy(JobRow, job, sizes.models, ended)
        self._copy(JobRow, job, sizes.queued, queued)
        self._copy(ModelRow, model, sizes.models, {
            "id": self._id("mdl", "i", sizes.models),
            "project_id": owner,
            "name": f"'model-{self._tag}-' || (i % {names})",
            "version": f"i / {names} + 1",
            "job_id": self._id("job", "i", sizes.models),
            "dataset_id": dataset,
            "files": self._own_files() if is_bulk else 't."files"',
            "created_at": made_at,
        })  # fmt: skip
        of_job = self._id("job", f"i / {per_job}", sizes.models)
        event = {
            "job_id": of_job,
            "seq": f"i % {per_job} + 1",
            "created_at": f"{self._seconds(f'i / {per_job}', sizes.models)} + i % {per_job}",
            "level": "'info'",
            "type": f"CASE i % {per_job} WHEN 0 THEN 'job.queued' WHEN {per_job - 1} THEN 'job.succeeded' "
            "ELSE 'training.epoch' END",
            "message": "'Epoch ' || i || ' is over: the loss is lower than before.'",
            "data": self._json("'{\"loss\": 0.125}'"),
        }
        self._insert(EventRow, sizes.models * per_job, event)
        self._insert(EventRow, sizes.queued, {
            **event, "job_id": queued["id"], "seq": "1", "created_at": queued_at, "type": "'job.queued'",
        })  # fmt: skip
        self._insert(AttemptRow, sizes.models, {
            "job_id": ended["id"], "token": "1", "worker": "'bench'", "started_at": made_at, "ended_at": made_at,
            "ending": ended["status"], "message": "'Done.'", "charged": "true",
        })  # fmt: skip
        self._insert(AliasRow, min(sizes.models, 10_000), {
            "project_id": owner, "name": f"'model-{self._tag}-' || (i % {names})", "alias": "'a' || i",
            "model_id": self._id("mdl", "i", sizes.models), "revision": "1", "traffic": "NULL", "updated_at": made_at,
        })  # fmt: skip
        if is_bulk:
            self._count_files(named_files.install)
        self._settle()

    def _count_files(self, change: Callable[[Connection], None]) -> None:
        """Let triggers count files, or not: rows of millions in one statement are counted at once, and faster."""
        with self._database.writing() as session:
            self._unlimited(session)
            change(session.connection())

    def _own_files(self) -> str:
        """Return the template model's files with contents of each row's own."""
        with self._database.reading() as session:
            files = session.get_one(ModelRow, self._template.model).files
        entries = (
            f"""'"{name}": {{"bytes": {blob["bytes"]}, "sha256": "' || {self._own_sha256(place)} || '"}}'"""
            for place, (name, blob) in enumerate(files.items())
        )
        return self._json("'{' || " + " || ', ' || ".join(entries) + " || '}'")

    def _own_sha256(self, place: int) -> str:
        return f"'{self._tag}{place:07d}' || {self._hex('i', 56)}"

    def _projects(self) -> None:
        columns = {"id": self._other("i"), "name": f"'team-{self._tag}-' || i", "created_at": "0", "turn": "0"}
        self._insert(ProjectRow, self._others, columns)

    def _owner(self) -> str:
        own = f"'{self._template.project}'"
        return (
            own
            if not self._others
            else f"CASE WHEN i % 2 = 0 THEN {own} ELSE {self._other(f'i / 2 % {self._others}')} END"
        )

    def _other(self, number: str) -> str:
        return f"'proj_' || {self._hex(number, 32)}"

    def _hex(self, number: str, width: int) -> str:
        if self._is_sqlite:
            return f"printf('%0{width}x', {number})"
        return f"lpad(to_hex(({number})::bigint), {width}, '0')"

    def _json(self, document: str) -> str:
        return document if self._is_sqlite else f"({document})::jsonb"

    def _ms(self, number: str, count: int) -> str:
        return f"{self._started_ms} + ({number}) * {max(1, _SPAN_MS // count)}"

    def _seconds(self, number: str, count: int) -> str:
        return f"({self._ms(number, count)}) / 1000.0"

    def _id(self, prefix: str, number: str, count: int, kind: int = 0) -> str:
        moment, rest = self._hex(self._ms(number, count), 12), self._hex(number, 15)
        return f"'{prefix}_' || {moment} || '7{kind}{self._tag}08' || {rest}"

    def _copy(self, row: type[Base], template: str, count: int, columns: Mapping[str, str]) -> None:
        table = row.__table__
        assert isinstance(table, Table)
        copied = {column.name: f't."{column.name}"' for column in table.columns}
        self._insert(row, count, {**copied, **columns}, f"{table.name} t WHERE t.id = '{template}'")

    def _insert(self, row: type[Base], count: int, columns: Mapping[str, str], source: str | None = None) -> None:
        names, values = ", ".join(f'"{name}"' for name in columns), ", ".join(columns.values())
        origin = f"n, {source}" if source else "n"
        for begin in range(0, count, _CHUNK):
            last = min(count, begin + _CHUNK) - 1
            statement = (
                f"INSERT INTO {row.__tablename__} ({names}) "  # noqa: S608 - nothing of it comes from outside
                f"WITH RECURSIVE n(i) AS "
                f"(SELECT CAST({begin} AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
                f"SELECT {values} FROM {origin}"
            )
            with self._database.writing() as session:
                self._unlimited(session)
                session.execute(text(statement))

    def _unlimited(self, session: Session) -> None:
        if not self._is_sqlite:
            session.execute(text("SET LOCAL statement_timeout = 0"))

    def _settle(self) -> None:
        """Let PostgreSQL do at once what autovacuum does within minutes; SQLite does nothing by itself."""
        if not self._is_sqlite:
            with self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("SET statement_timeout = 0"))
                connection.execute(text("VACUUM ANALYZE"))
