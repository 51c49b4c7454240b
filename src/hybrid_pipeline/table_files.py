"""A person's files as rows of text, exactly as written: CSV, TSV, Parquet, a folder of parts.

A row has a name under which a person finds it: in CSV the line of the file, as an editor counts
(the header is line 1, and a row may have several lines); in Parquet the row, from 1.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import zlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

_OPENERS: dict[str, Callable[..., Any]] = {
    "": open,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
ACCEPTED = "a .csv, .tsv or .parquet file (CSV and TSV also as .gz, .bz2 or .xz), or a folder of \
.parquet files"


class TableFileError(ValueError):
    """A file is no table that can be read; the message is half a sentence that says why."""


class ColumnError(TableFileError):
    """One column cannot be read as text; the message says why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True)
class Rows:
    """Some columns of a file.

    Attributes:
        columns: name -> a text per row; None for an empty field.
        lines: in CSV, the line of the file at which each row begins.
        parts: in a folder, the first row of each file and its name.
    """

    columns: dict[str, list[str | None]]
    lines: Sequence[int]
    parts: Sequence[tuple[int, str]] = ()

    def label(self, row: int) -> str:
        """What a person calls a row, such as ``row 7``."""
        if not self.parts:
            return f"row {self.lines[row]}"
        first, name = self.parts[bisect_right(self.parts, row, key=lambda part: part[0]) - 1]
        return f"row {self.lines[row] - first} of {name}"


def files_of(path: Path) -> list[Path]:
    """The file, or the Parquet files of a folder in order, without hidden ones.

    Raises:
        TableFileError: if there is none.
    """
    if not path.is_dir():
        if not path.is_file():
            raise TableFileError("there is no such file")
        return [path]
    found = [
        part
        for part in sorted(path.rglob("*"))
        if part.suffix.lower() == ".parquet"
        and not any(name.startswith((".", "_")) for name in part.relative_to(path).parts)
    ]
    if not found:
        raise TableFileError("the folder holds no .parquet file")
    return found


def read_rows(path: Path, names: Sequence[str], optional: Collection[str] = ()) -> Rows:
    """Read columns of a file or a folder.

    Args:
        path: of a kind that ``ACCEPTED`` names; capital letters in its ending do not matter.
        names: of the columns.
        optional: which of them may be missing.

    Raises:
        ColumnError: if a column is missing, there twice, or does not hold text.
        TableFileError: if the file is missing, of another kind or damaged, or a row has more or
            fewer fields than the header.
    """
    ending = path.suffix.lower()
    packed = ending if ending in _OPENERS else ""
    kind = path.with_suffix("").suffix.lower() if packed else ending
    if not path.is_dir() and kind not in _DELIMITERS and (packed or kind != ".parquet"):
        raise TableFileError(f"expected {ACCEPTED}")
    files = files_of(path)
    try:
        if kind in _DELIMITERS and not path.is_dir():
            return _read_delimited(path, _OPENERS[packed], _DELIMITERS[kind], names, optional)
        return _read_parquet(path, files, names, optional)
    except UnicodeDecodeError as error:
        raise TableFileError(_not_utf8(path, _OPENERS[packed])) from error
    except (*_DAMAGED, pa.ArrowException) as error:
        first = str(error).strip().splitlines()
        reason = first[0] if first else type(error).__name__
        raise TableFileError(f"it cannot be read ({reason})") from error


def _read_delimited(
    path: Path,
    opener: Callable[..., Any],
    delimiter: str,
    names: Sequence[str],
    optional: Collection[str],
) -> Rows:
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = _numbered_rows(file, delimiter)
        _, header = next(rows, (1, []))
        if not header:
            raise TableFileError("it cannot be read (it is empty)")
        names = _found(header, names, optional, delimiter)
        places = [header.index(name) for name in names]
        columns: list[list[str | None]] = [[] for _ in names]
        lines: list[int] = []
        ragged: list[tuple[int, list[str]]] = []
        for line, row in rows:
            if len(row) != len(header):
                ragged.append((line, row))
                continue
            lines.append(line)
            for column, place in zip(columns, places, strict=True):
                column.append(row[place] or None)
    if ragged:
        raise TableFileError(_of_ragged(ragged, header, delimiter))
    return Rows(dict(zip(names, columns, strict=True)), lines)


def _numbered_rows(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line at which it begins."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise TableFileError(_of_quotes(str(error), begins)) from error


def _of_quotes(message: str, line: int) -> str:
    if "end of data" in message or "field limit" in message:
        return f"a quote that opens in row {line} is never closed"
    reason = message.replace("\t", "a tab")
    return (
        f"row {line} is no valid CSV ({reason}); a text with quotes is put in quotes, and each "
        'quote inside is written twice: "She said ""no"""'
    )


def _of_ragged(ragged: Sequence[tuple[int, list[str]]], header: list[str], delimiter: str) -> str:
    line, row = ragged[0]
    others = f" (and so do {len(ragged) - 1:,} more rows)" if len(ragged) > 1 else ""
    named, example = "a tab", ""
    if delimiter == ",":
        named, example = "a comma", ', such as "Berg, Ann"'
    return (
        f"row {line} has {len(row)} field{'s' if len(row) != 1 else ''}{others}, but the header "
        f"has {len(header)}: {_shortened(delimiter.join(row))!r}; put a text that contains {named} "
        f"or a line break in double quotes{example}"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _found(
    header: Sequence[str], names: Sequence[str], optional: Collection[str], delimiter: str = ""
) -> list[str]:
    """The columns that are there; one that is missing and not optional, or twice, is refused."""
    _check_no_twins(header, names)
    shown = ", ".join(
        name if name and name == name.strip() and name.isprintable() else repr(name)
        for name in header
    )
    for name in names:
        if name not in header and name not in optional:
            raise ColumnError(name, f"the file has the columns {shown}{_hint(header, delimiter)}")
    return [name for name in names if name in header]


def _check_no_twins(header: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        count = list(header).count(name)
        if count > 1:
            raise ColumnError(name, f"{count} columns have this name; rename all but one")


def _hint(header: Sequence[str], delimiter: str) -> str:
    """What separates the columns if the whole header is one column."""
    if not delimiter or len(header) != 1:
        return ""
    other = next((c for c in ";\t,|" if c != delimiter and c in header[0]), None)
    return f", separated by {other!r} and not by {delimiter!r}" if other else ""


def _not_utf8(path: Path, opener: Callable[..., Any]) -> str:
    with opener(path, "rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = content[error.start]
                return f"row {line} is not UTF-8 (byte 0x{byte:02X}); save the file as UTF-8"
    return "it is not UTF-8; save the file as UTF-8"


def _read_parquet(
    path: Path, files: Sequence[Path], names: Sequence[str], optional: Collection[str]
) -> Rows:
    """Columns of Parquet files as text; folders such as ``label=good`` are columns too."""
    for file in files:
        _check_no_twins(pq.read_schema(file).names, names)
    layout = ds.partitioning(flavor="hive") if path.is_dir() else None
    data = ds.dataset(
        [str(file) for file in files],
        format="parquet",
        partitioning=layout,
        partition_base_dir=str(path) if path.is_dir() else None,
    )
    names = _found(data.schema.names, names, optional)
    for name in names:
        _check_is_text(name, data.schema.field(name).type)
    for fragment in data.get_fragments():
        _check_part(fragment, data.schema, names)
    table = data.to_table(columns=list(names))
    columns = {name: _as_text(table[name]) for name in names}
    parts = []
    if path.is_dir():
        first = 0
        for fragment, file in zip(data.get_fragments(), files, strict=True):
            parts.append((first, str(file.relative_to(path))))
            first += fragment.count_rows()
    return Rows(columns, range(1, table.num_rows + 1), parts)


def _check_part(fragment: Any, schema: pa.Schema, names: Sequence[str]) -> None:
    """Refuse a part whose columns have another type than those of the first part."""
    found = fragment.physical_schema
    for name in names:
        if name in found.names and not found.field(name).type.equals(schema.field(name).type):
            raise ColumnError(
                name,
                f"{Path(fragment.path).name} holds {found.field(name).type} there and the first "
                f"part {schema.field(name).type}; write all parts alike",
            )


def _check_is_text(name: str, kind: pa.DataType) -> None:
    """Refuse a type whose values have no one way to be written."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        raise ColumnError(name, f"the column holds {kind}, which is no text; make it one text")


def _as_text(column: pa.ChunkedArray) -> list[str | None]:
    """Values as text; a missing value, NaN and the empty text are None."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if not pa.types.is_string(column.type):
        column = pc.cast(column, pa.string())
    return [text or None for text in column.to_pylist()]
