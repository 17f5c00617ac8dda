"""The triggers by which the database itself keeps which files each project's rows name, and their totals.

`_REFERENCES` says which rows name which files. Triggers on these tables count in `named_files` how many rows of each
kind name a file of a project; triggers on `named_files` add to `storage_totals` what is named for the first time, and
take off what nobody names any more. Rows of datasets and labelled rows change the totals themselves (`_ROWS`). So
totals change in the transaction that changes a row, whoever makes it: an earlier release, too, or an operator by hand.

A revision that changes the triggers removes and installs them; revision 0021 then needs today's statements for itself,
as new databases, on which it runs, too, have no columns of later revisions by then. On SQLite one that makes one of
these tables anew (`batch_alter_table`) loses its triggers, and must install them, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

KINDS = ("datasets", "models", "checkpoints", "job_files", "uploads")
_SLOTS = 64  # rows of one total: transactions that add to it at once seldom wait for each other
_EVENTS = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class _Source:
    """What the rows `r` of a table count for; `columns` are those that are read."""

    table: str
    kind: str
    columns: str
    selects: tuple[str, ...]


_FILES = "SELECT r.project_id AS project_id, {sha256} AS file, {bytes} AS bytes FROM {rows} CROSS JOIN {each_file}"
_OF_JOB = "{rows} JOIN jobs j ON j.id = r.job_id"
_REFERENCES = (  # SELECTs of project_id, file (the sha256 of a blob, the key of a checkpoint) and bytes
    _Source("jobs", "job_files", "project_id, files", (_FILES,)),
    _Source(
        "trials",
        "job_files",
        "job_id, candidate",
        (f"SELECT j.project_id, {{sha256}} AS file, {{bytes}} AS bytes FROM {_OF_JOB} CROSS JOIN {{each_of_trial}}",),
    ),
    _Source(
        "checkpoints",
        "checkpoints",
        "job_id, key, bytes",
        (f"SELECT j.project_id, r.key AS file, r.bytes FROM {_OF_JOB}",),
    ),
    _Source(
        "datasets",
        "datasets",
        "project_id, source_sha256, source_bytes, files, deleted_at",
        (
            "SELECT r.project_id, r.source_sha256 AS file, r.source_bytes AS bytes FROM {rows} WHERE {is_kept}",
            f"{_FILES} WHERE {{is_kept}}",
        ),
    ),
    _Source("models", "models", "project_id, files, deleted_at", (f"{_FILES} WHERE {{is_kept}}",)),
    _Source(
        "uploads",
        "uploads",
        "project_id, status, sha256, bytes",
        ("SELECT r.project_id, r.sha256 AS file, r.bytes FROM {rows} WHERE r.status = 'complete'",),
    ),
    _Source(
        "upload_parts",
        "uploads",
        "upload_id, sha256, bytes",
        ("SELECT u.project_id, r.sha256 AS file, r.bytes FROM {rows} JOIN uploads u ON u.id = r.upload_id",),
    ),
)
_COUNT = "(SELECT coalesce(sum({number}), 0) FROM {each_split})"
_ROWS = (  # SELECTs of project_id, count and bytes
    _Source(
        "datasets",
        "rows",
        "project_id, spec, deleted_at",
        (f"SELECT r.project_id, {_COUNT} AS count, 0 AS bytes FROM {{rows}} WHERE {{is_kept}}",),
    ),
    _Source(
        "labelled_rows",
        "labelled_rows",
        "project_id, content",
        ("SELECT r.project_id, 1 AS count, octet_length(CAST(r.content AS TEXT)) AS bytes FROM {rows}",),
    ),
)
_TABLES = tuple(dict.fromkeys(source.table for source in (*_REFERENCES, *_ROWS)))  # jobs first, as transactions do


def install(connection: Connection) -> None:
    """Count what the rows name now, and let the triggers keep it. Writers wait until the transaction ends."""
    sql = _sql(connection)
    if sql.is_postgresql:
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(_TABLES)} IN SHARE ROW EXCLUSIVE MODE")
    for table in ("named_files", "storage_totals"):
        connection.exec_driver_sql(f"DELETE FROM {table}")
    for source in _REFERENCES:
        connection.exec_driver_sql(sql.count_files(source, [(f"{source.table} AS r", 1)]))
    connection.exec_driver_sql(sql.add_totals([("named_files AS r", 1)]))
    for source in _ROWS:
        connection.exec_driver_sql(sql.add_rows(source, [(f"{source.table} AS r", 1)]))
    for statement in (*sql.triggers(), f"CREATE VIEW deleted_files AS {sql.deleted_files()}"):
        connection.exec_driver_sql(statement)


def remove(connection: Connection) -> None:
    """Keep nothing any more: drop the triggers and the view, and leave the two tables as they are."""
    connection.exec_driver_sql("DROP VIEW IF EXISTS deleted_files")
    for table in (*_TABLES, "named_files"):
        for event in _EVENTS:
            name = _name(table, event)
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {name}() CASCADE")  # and its trigger
            else:
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")


def _name(table: str, event: str) -> str:
    return f"count_{table}_on_{event.lower()}"


_Signed = list[tuple[str, int]]  # where the rows `r` are, and whether they come or go


@dataclass(frozen=True, slots=True)
class _Sql:
    """The statements in the words of one database."""

    is_postgresql: bool

    def count_files(self, source: _Source, rows: _Signed) -> str:
        """Count in `named_files` what rows name and what others no longer do; equal contents of a row count each."""
        changes = " UNION ALL ".join(
            f"SELECT project_id, file, bytes, {sign} AS change FROM ({self._filled(select, origin)}) AS named"
            for origin, sign in rows
            for select in source.selects
        )
        kind = source.kind
        return (
            f"INSERT INTO named_files (project_id, file, bytes, {kind}) "
            f"SELECT project_id, file, max(bytes), sum(change) FROM ({changes}) AS changes WHERE file IS NOT NULL "
            "GROUP BY project_id, file HAVING sum(change) <> 0 ORDER BY project_id, file "
            f"ON CONFLICT (project_id, file) DO UPDATE SET {kind} = named_files.{kind} + excluded.{kind}"
        )

    def add_totals(self, rows: _Signed) -> str:
        """Add rows of `named_files` to the totals, of their kinds and of all that is kept, or take them off."""
        kinds = {**{kind: kind for kind in KINDS}, "kept": " + ".join(KINDS)}
        return self._add(
            f"SELECT project_id, '{kind}' AS kind, {sign} AS count, {sign} * bytes AS bytes FROM {origin} "
            f"WHERE {count} > 0"
            for origin, sign in rows
            for kind, count in kinds.items()
        )

    def add_rows(self, source: _Source, rows: _Signed) -> str:
        """Add what rows count for to a total, or take it off."""
        return self._add(
            f"SELECT project_id, '{source.kind}' AS kind, {sign} * count AS count, {sign} * bytes AS bytes "
            f"FROM ({self._filled(select, origin)}) AS counted"
            for origin, sign in rows
            for select in source.selects
        )

    def _add(self, changes: Iterator[str]) -> str:
        slot = f"mod(pg_backend_pid(), {_SLOTS})" if self.is_postgresql else "0"
        return (
            "INSERT INTO storage_totals (project_id, kind, slot, count, bytes) "
            f"SELECT project_id, kind, {slot}, sum(count), sum(bytes) FROM ({' UNION ALL '.join(changes)}) AS changes "
            "WHERE true GROUP BY project_id, kind HAVING sum(count) <> 0 OR sum(bytes) <> 0 ORDER BY project_id, kind "
            "ON CONFLICT (project_id, kind, slot) DO UPDATE "
            "SET count = storage_totals.count + excluded.count, bytes = storage_totals.bytes + excluded.bytes"
        )

    def deleted_files(self) -> str:
        """Return the query of the files that deleted rows name, with the times of their deletion."""
        return " UNION ALL ".join(
            self._filled(select, f"{source.table} AS r", "r.deleted_at IS NOT NULL").replace(
                "SELECT ", "SELECT r.deleted_at, ", 1
            )
            for source in _REFERENCES
            if "deleted_at" in source.columns
            for select in source.selects
        )

    def _filled(self, select: str, rows: str, is_kept: str = "r.deleted_at IS NULL") -> str:
        file = "f.value"
        return select.format(
            rows=rows,
            is_kept=is_kept,
            sha256=f"{file}->>'sha256'",
            bytes=f"CAST({file}->>'bytes' AS bigint)",
            number=f"CAST({file}#>>'{{}}' AS bigint)" if self.is_postgresql else file,
            each_file=self._each("r.files"),
            each_of_trial=self._each("r.candidate->'files'"),
            each_split=self._each("r.spec->'rows'"),
        )

    def _each(self, value: str) -> str:
        """Unfold a JSON object to rows f of key and value; of anything else there is none."""
        if self.is_postgresql:
            return f"jsonb_each(CASE WHEN jsonb_typeof({value}) = 'object' THEN {value} END) AS f(key, value)"
        return f"json_each(CASE WHEN json_type({value}) = 'object' THEN {value} END) AS f"

    def triggers(self) -> Iterator[str]:
        """Yield the statements that make the triggers."""
        for table in _TABLES:
            files = [source for source in _REFERENCES if source.table == table]
            rows = [source for source in _ROWS if source.table == table]
            columns = sorted({column for source in (*files, *rows) for column in source.columns.split(", ")})
            for event in _EVENTS:
                changed = self._changed(event, columns, table)
                counts = [self.count_files(source, changed) for source in files]
                yield from self._trigger(
                    table, event, columns, [*counts, *(self.add_rows(source, changed) for source in rows)]
                )
        columns = ["project_id", "file", "bytes", *KINDS]
        for event in _EVENTS:
            changed = self._changed(event, columns, "named_files")
            forget = [self._forget_unnamed(changed[0][0])] if event == "UPDATE" else []
            yield from self._trigger("named_files", event, columns, [self.add_totals(changed), *forget])

    @staticmethod
    def _forget_unnamed(rows: str) -> str:
        """Delete those of the changed rows of `named_files` that no row names any more."""
        unnamed = " AND ".join(f"r.{kind} = 0" for kind in KINDS)
        return (
            "DELETE FROM named_files WHERE (project_id, file) IN "
            f"(SELECT r.project_id, r.file FROM {rows} WHERE {unnamed})"
        )

    def _changed(self, event: str, columns: list[str], table: str) -> _Signed:
        """Return where a trigger finds the rows that came and those that went."""
        if not self.is_postgresql:
            new, old = (f"(SELECT {', '.join(f'{row}.{c} AS {c}' for c in columns)}) AS r" for row in ("NEW", "OLD"))
        elif self._is_by_row(table, event):
            new, old = "(SELECT NEW.*) AS r", "(SELECT OLD.*) AS r"
        else:
            new, old = "new_rows AS r", "old_rows AS r"
        return [*([(new, 1)] if event != "DELETE" else []), *([(old, -1)] if event != "INSERT" else [])]

    @staticmethod
    def _is_by_row(table: str, event: str) -> bool:
        """Whether a trigger of PostgreSQL's looks at row after row: jobs are updated all the time, their files once."""
        return (table, event) == ("jobs", "UPDATE")

    def _trigger(self, table: str, event: str, columns: list[str], statements: list[str]) -> Iterator[str]:
        name, body = _name(table, event), " ".join(f"{statement};" for statement in statements)
        of_columns = f"UPDATE OF {', '.join(columns)}" if event == "UPDATE" else event
        if not self.is_postgresql:
            yield f"CREATE TRIGGER {name} AFTER {of_columns} ON {table} BEGIN {body} END"
            return
        yield f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
        if self._is_by_row(table, event):
            yield f"CREATE TRIGGER {name} AFTER {of_columns} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
            return
        rows = {"INSERT": ("NEW",), "UPDATE": ("NEW", "OLD"), "DELETE": ("OLD",)}[event]
        tables = " ".join(f"{row} TABLE AS {row.lower()}_rows" for row in rows)
        yield (
            f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )


def _sql(connection: Connection) -> _Sql:
    return _Sql(connection.dialect.name == "postgresql")
