"""How a CSV file is laid out, by its first 65,536 characters: delimiter, lines before the table, line of the names."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace

from app.datasets.limits import Limits
from app.datasets.readers.headers import ANY_NUMBER, HeaderVerdict, judge_first_line
from app.datasets.readers.single_lines import split_line, squeeze_blanks

DELIMITERS = ",;\t|"
RARE_DELIMITERS = "^~\x01\u00a6"  # for files that no other one makes a table of
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
SAMPLE_CHARS = 1 << 16
SAMPLE_ROWS = 200
MAX_PREAMBLE = 30
MIN_EVEN_ROWS = 3
MIN_NUMBER_SHARE = 0.5
SEPARATOR_LINE = re.compile(r"\"?sep=(\\t|[^\w\"\r\n])\"?[ ,;\t]*(\r\n|\r|\n)", re.IGNORECASE)
SHORT_NAME = re.compile(r"[\w.-]{1,40}( [\w.-]{1,40})?")
COMMENT = "#"
OTHER_COMMENTS = ("|", "%", "//")


@dataclass(frozen=True, slots=True)
class Record:
    """Fields of a record of the sample and the number of physical lines before it."""

    fields: list[str]
    line: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What the first lines of a CSV file say of it.

    `skipped` physical lines come before the table, `titles` of them hold text. `verdict` says whether the next line
    holds names; with `row_names` it has one less than the rows, whose first column then has no name. `even`: all
    records of the sample have equally many fields, more than one. `says_delimiter`: a line "sep=;" names it. `padded`:
    blanks stand between a delimiter and the quotes of a field.
    """

    delimiter: str
    verdict: HeaderVerdict
    skipped: int = 0
    titles: tuple[str, ...] = ()
    row_names: bool = False
    even: bool = False
    says_delimiter: bool = False
    padded: bool = False


@dataclass(frozen=True, slots=True)
class _Reading:
    """The records of the sample under one delimiter, and how much they look like a table."""

    delimiter: str
    records: list[Record]
    width: int
    lead: int
    even: float

    def score(self, limits: Limits) -> tuple[bool, bool, float, float, int]:
        """Return what ranks readings: even ones first, then those of more numbers, then those of more fields."""
        even, started = self.even == 1, self.lead == 0
        return (
            even and started,
            even,
            round(self.even, 1),
            round(self.number_share(), 1),
            min(self.width, limits.columns),
        )

    def number_share(self) -> float:
        """Return the share of the fields that are numbers."""
        fields = [field for record in self.records[self.lead :] for field in record.fields]
        return sum(ANY_NUMBER.fullmatch(field.strip()) is not None for field in fields) / max(len(fields), 1)


def sniff(sample: str, limits: Limits, header: str = "auto", *, whole: bool = True) -> Layout:
    """Return the layout of the file that begins with `sample`, or is the `whole` of it; `header` is the option."""
    said = SEPARATOR_LINE.match(sample)
    delimiters = {"\\t": "\t"}.get(said[1], said[1]) if said else DELIMITERS
    reading = _best_reading(sample[said.end() :] if said else sample, delimiters, limits, whole=whole)
    even = reading.even == 1 and len(reading.records) > 1
    layout = _find_header(reading, header)
    return replace(
        layout,
        skipped=layout.skipped + bool(said),
        even=even,
        says_delimiter=bool(said),
        padded=is_padded(sample, layout.delimiter),
    )


def is_padded(sample: str, delimiter: str) -> bool:
    """Return whether blanks stand between the delimiters and the quotes of the first line, as in "a", "b"."""
    first = sample.partition("\n")[0]
    return delimiter != " " and re.search(rf'"{re.escape(delimiter)} +"', first) is not None


def is_uneven_table(sample: str, limits: Limits, *, whole: bool) -> bool:
    """Return whether the lines are those of a table with delimiters inside texts: short names, and no fewer fields."""
    records = _best_reading(sample, DELIMITERS, limits, whole=whole).records
    names = records[0].fields if len(records) >= MIN_EVEN_ROWS else []
    short = all(SHORT_NAME.fullmatch(name) for name in names)
    return len(names) > 1 and short and min(len(record.fields) for record in records) == len(names)


def _find_header(reading: _Reading, header: str) -> Layout:
    """Return the layout by the records of a sample."""
    records = reading.records
    if header == "first" or not records:
        return Layout(reading.delimiter, HeaderVerdict(names=True, reason="header says so"))
    comments = _count_comments(reading)
    if header == "none":
        return _after(reading, min(comments, len(records) - 1), HeaderVerdict(names=False, reason="header says so"))
    lead = reading.lead if reading.even == 1 else 0
    if not lead and 0 < comments < len(records):
        return _below_comments(reading, comments)
    return _below_titles(reading, lead, comments)


def _count_comments(reading: _Reading) -> int:
    """Return how many records before the table are comments; of those of C4.5, MATLAB and C, of one field each."""
    for number, record in enumerate(reading.records):
        alone = number < reading.lead and len(record.fields) == 1
        if not record.fields[0].startswith((COMMENT, *OTHER_COMMENTS) if alone else COMMENT):
            return number
    return len(reading.records)


def _below_titles(reading: _Reading, lead: int, comments: int) -> Layout:
    """Return the layout where `lead` records, some of them `comments`, come before the first one of full width."""
    records, width = reading.records, reading.width
    verdict = _judge(records[lead:], width)
    if lead and len(records[lead - 1].fields) == width - 1:
        if _ends_blank(records[lead:]):
            return _after(reading, lead - 1, _judge(records[lead - 1 :], width - 1))
        if _lacks_a_name(records[lead - 1], records[lead:], verdict):
            reason = "it has one name less than the rows have fields"
            return replace(_after(reading, lead - 1, HeaderVerdict(names=True, reason=reason)), row_names=True)
    if lead > comments and not (verdict.names and verdict.evident):  # no table is seen: its lines will be refused
        return _after(reading, 0, _judge(records, len(records[0].fields)))
    return _after(reading, lead, verdict)


def _below_comments(reading: _Reading, comments: int) -> Layout:
    """Return the layout where the first lines begin with #; the last one holds the names unless the next one does."""
    verdict = _judge(reading.records[comments:], reading.width)
    if (verdict.names and verdict.evident) or len(reading.records[comments - 1].fields) != reading.width:
        return _after(reading, comments, verdict)
    return _after(reading, comments - 1, _judge(reading.records[comments - 1 :], reading.width))


def _after(reading: _Reading, lead: int, verdict: HeaderVerdict) -> Layout:
    """Return the layout of a table that begins behind the first `lead` records."""
    titles = tuple(reading.delimiter.join(record.fields).strip(reading.delimiter) for record in reading.records[:lead])
    return Layout(reading.delimiter, verdict, reading.records[lead].line if lead else 0, titles)


def _judge(records: list[Record], width: int) -> HeaderVerdict:
    below = [record.fields for record in records[1 : SAMPLE_ROWS + 1] if len(record.fields) >= width]
    return judge_first_line(records[0].fields, below)


def _lacks_a_name(header: Record, rows: list[Record], verdict: HeaderVerdict) -> bool:
    """Return whether rows of one field more than the header begin with row names, as R writes tables."""
    if not all(field.strip() for field in header.fields):
        return False
    names = [row.fields[0].strip() for row in rows]
    if any(names == [str(k) for k in range(start, start + len(names))] for start in (0, 1)):
        return True
    prose = sum(row.fields[1].startswith(" ") for row in rows) > len(rows) / 2  # commas within texts
    numbers = any(all(ANY_NUMBER.fullmatch(row.fields[j]) for row in rows) for j in range(1, len(rows[0].fields)))
    unique = len(set(names)) == len(names) > 1 and all(names)
    return unique and numbers and not prose and len(header.fields) > 1 and not (verdict.names and verdict.evident)


def _ends_blank(rows: list[Record]) -> bool:
    """Return whether the last field of all rows is empty: a delimiter ends every line."""
    return not any(row.fields[-1].strip() for row in rows)


def _best_reading(sample: str, delimiters: str, limits: Limits, *, whole: bool) -> _Reading:
    """Return the reading of the sample under the best delimiter."""
    best = _Reading(delimiters[0], _records(sample, delimiters[0], whole=whole), 1, 0, 0)
    best_score = (False, False, 0.0, 0.0, 1)
    for delimiter in delimiters:
        for split in (_records, _lines):
            reading = _read(delimiter, split(sample, delimiter, whole=whole))
            score = reading.score(limits)
            if reading.width > 1 and score > best_score:
                best, best_score = reading, score
    if best.width == 1 and delimiters == DELIMITERS:
        for delimiter in RARE_DELIMITERS:
            reading = _read(delimiter, _records(sample, delimiter, whole=whole))
            if reading.width > 1 and reading.even == 1 and len(reading.records) >= MIN_EVEN_ROWS:
                return reading
    if best.even < 1 and " " not in delimiters:
        reading = _read(" ", _lines(sample, " ", whole=whole))
        regular = reading.width > 1 and reading.even == 1 and len(reading.records) >= MIN_EVEN_ROWS
        if regular and reading.number_share() >= MIN_NUMBER_SHARE:
            return reading
    return best


def _records(sample: str, delimiter: str, *, whole: bool) -> list[Record]:
    """Return the records of a sample; unless it is the `whole` file, without the last one, which is cut off."""
    padded = is_padded(sample, delimiter)
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=padded)
    records: list[Record] = []
    try:
        line = 0
        for fields in reader:
            records.append(Record(fields, line))
            line = reader.line_num
    except csv.Error:
        return []
    kept = records if whole or len(records) == 1 else records[:-1]
    return [record for record in kept if any(field.strip() for field in record.fields) or len(record.fields) > 1]


def _lines(sample: str, delimiter: str, *, whole: bool) -> list[Record]:
    """Return the lines of a sample, each a record by itself."""
    lines = io.StringIO(sample, newline="").readlines()
    kept = lines if whole or len(lines) == 1 else lines[:-1]
    records = (Record(split_line(squeeze_blanks(line, delimiter), delimiter), k) for k, line in enumerate(kept))
    return [record for record in records if record.fields and (len(record.fields) > 1 or record.fields[0].strip())]


def _read(delimiter: str, records: list[Record]) -> _Reading:
    """Return how even the records are, not counting those before the first one of the usual width."""
    counts = Counter(len(record.fields) for record in records)
    del counts[1]
    if not counts:
        return _Reading(delimiter, records, 1, 0, 0)
    width = max(counts, key=lambda fields: (counts[fields], fields))
    full = (len(record.fields) == width and not _is_title(record, width) for record in records)
    lead = next((k for k, is_full in enumerate(full) if is_full), 0)
    if lead > MAX_PREAMBLE or any(len(record.fields) > width for record in records[:lead]):
        lead = 0
    rest = records[lead:]
    return _Reading(delimiter, records, width, lead, sum(len(r.fields) == width for r in rest) / len(rest))


def _is_title(record: Record, width: int) -> bool:
    """Return whether a record of the usual width holds one text at most, as titles in spreadsheets do."""
    return width > 2 and not any(field.strip() for field in record.fields[1:])  # noqa: PLR2004 - of two, one may be missing
