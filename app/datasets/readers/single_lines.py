"""Reads a line of a CSV file by itself, so that a quote without a partner cannot swallow the lines after it."""

import csv
import re


def split_line(line: str, delimiter: str, width: int | None = None) -> list[str]:
    """Return the fields of one line.

    Quotes enclose fields where the line is sound that way (and has `width` fields); else they are text, but for those
    that are the first and the last character of a field.
    """
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter) if line.strip("\r\n") else []
    try:
        (fields,) = csv.reader([line], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        fields = None
    if fields is not None and width in {None, len(fields)}:
        return fields
    return [_without_quotes(field) for field in line.rstrip("\r\n").split(delimiter)]


def squeeze_blanks(line: str, delimiter: str) -> str:
    """Return a line of a table whose delimiter is a blank with one of them between fields; other lines as they are."""
    return re.sub(" +", " ", line.strip(" ")).replace(" \n", "\n") if delimiter == " " and '"' not in line else line


def _without_quotes(field: str) -> str:
    enclosed = len(field) > 1 and field.startswith('"') and field.endswith('"')
    return field[1:-1].replace('""', '"') if enclosed else field
