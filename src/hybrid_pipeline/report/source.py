"""The document that the claims are taken from, in parts that a claim's section leads to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hybrid_pipeline.report.tables import Entry, Table

HEADING = re.compile(r"^#{1,6} +(.+?)\s*$")
FENCE = re.compile(r"^\s*```")
DocumentPart = tuple[str, str, str]  # id, title, text


def source_parts(text: str) -> tuple[DocumentPart, ...]:
    """The parts of a Markdown text, one per heading; what stands before the first has no title.

    Ids are unique in the page: ``said-`` and the words of the heading, numbered where they repeat.
    """
    parts: list[tuple[str, list[str]]] = [("", [])]
    fenced = False
    for line in text.splitlines():
        fenced ^= bool(FENCE.match(line))
        heading = None if fenced else HEADING.match(line)
        if heading:
            parts.append((heading[1].replace("*", ""), []))
        else:
            parts[-1][1].append(line)
    named: list[DocumentPart] = []
    for title, lines in parts:
        body = "\n".join(lines).strip("\n")
        if title or body:
            name = "said-" + (_words(title).replace(" ", "-") or "start")
            repeats = sum(known == name or known.startswith(f"{name}--") for known, *_ in named)
            named.append((f"{name}--{repeats + 1}" if repeats else name, title, body))
    return tuple(named)


def linked(table: Table, columns: Sequence[str], parts: Sequence[DocumentPart]) -> Table:
    """The table with links from the entries of these columns to the parts that they name."""
    found = [i for i, column in enumerate(table.columns) if column.title in columns]
    rows = [
        [
            _leading(entry, part_of(entry.text, parts)) if i in found else entry
            for i, entry in enumerate(row)
        ]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _leading(entry: Entry, name: str) -> Entry:
    return replace(entry, href=f"#{name}") if name else entry


def part_of(section: str, parts: Sequence[DocumentPart]) -> str:
    """The id of the part whose title, or else whose text, has the words of a section's name.

    Empty where none has.
    """
    wanted = _words(section)
    if not wanted:
        return ""
    for where in (1, 2):
        for part in parts:
            if f" {wanted} " in f" {_words(part[where])} ":
                return part[0]
    return ""


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
