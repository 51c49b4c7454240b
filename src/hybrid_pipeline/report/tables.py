"""One table, three faces: Markdown, HTML through great-tables, plain text.

An entry is text that is already formatted; a tone colours it, and its words say the same.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from typing import Any, Literal

from hybrid_pipeline.report.wording import TONE_MARKS, Tone

Align = Literal["left", "right", "center"]
NARROW = 4  # columns; a table with no more does not fill the page
NOWRAP = 18  # characters; shorter entries stay on one line
STYLE_BLOCK = re.compile(r"<style>.*?</style>", re.DOTALL)
TABLE_DATA = re.compile(r"<td ")
INLINE_STYLE = re.compile(r'(<(?:div|table)\b[^>]*?) style="[^"]*"')


@dataclass(frozen=True)
class Column:
    """A column: its heading, alignment, and the spanner it stands under."""

    title: str
    align: Align = "right"
    group: str = ""


@dataclass(frozen=True)
class Entry:
    """An entry: the main text, a smaller second line, and a tone.

    ``href`` is where its text leads.
    """

    text: str
    small: str = ""
    tone: Tone | None = None
    href: str = ""

    @property
    def plain(self) -> str:
        """Both lines as one text, with the tone's mark."""
        mark = f"{TONE_MARKS[self.tone]} " if self.tone else ""
        return f"{mark}{self.text} {self.small}".strip()


@dataclass(frozen=True)
class Table:
    """A table ready to be written.

    Attributes:
        id: stable id in the page; letters, digits and hyphens.
        columns: headings; rows have as many entries.
        emphasised: indices of rows set off from the others, such as the total.
    """

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]
    notes: Sequence[str] = ()
    emphasised: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.id!r}: a row has {len(row)} entries for "
                    f"{len(self.columns)} columns"
                )

    def without_blank_columns(self, blank: str) -> Table:
        """The table without the columns in which every entry is ``blank`` or empty."""
        kept = [
            i
            for i in range(len(self.columns))
            if any(row[i].text not in (blank, "") for row in self.rows)
        ]
        return replace(
            self,
            columns=[self.columns[i] for i in kept],
            rows=[[row[i] for i in kept] for row in self.rows],
        )

    def to_markdown(self) -> str:
        """A pipe table with its title and notes; empty without rows."""
        if not self.rows:
            return ""
        head = " | ".join(_escape(c.title) for c in self._named)
        rule = " | ".join("---" if c.align == "left" else "---:" for c in self.columns)
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [f"| {head} |", f"| {rule} |"]
        for index, row in enumerate(self.rows):
            entries = [_escape(c.plain) for c in row]
            if index in self.emphasised:
                entries = [f"**{c}**" if c else c for c in entries]
            lines.append(f"| {' | '.join(entries)} |")
        for note in self.notes:
            lines += ["", f"*{note}*"]
        return "\n".join(lines)

    @cached_property
    def _named(self) -> list[Column]:
        """Columns whose title carries the spanner, for faces without spanners."""
        return [
            Column(f"{c.group}: {c.title}" if c.group else c.title, c.align) for c in self.columns
        ]

    def to_html(self) -> str:
        """The table as great-tables draws it, styled by the page and in a scrolling container."""
        if not self.rows:
            return ""
        raw = self._great_table()
        raw = self._labelled(INLINE_STYLE.sub(r"\1", STYLE_BLOCK.sub("", raw)))
        label = html.escape(self.title or self.id, quote=True)
        title = f'<h4 class="table-title">{html.escape(self.title)}</h4>' if self.title else ""
        kind = "table-scroll narrow" if len(self.columns) <= NARROW else "table-scroll"
        notes = "".join(f'<p class="note">{html.escape(n)}</p>' for n in self.notes)
        return (
            f'{title}<div class="{kind}" tabindex="0" role="region" aria-label="{label}">'
            f"{raw.strip()}</div>{notes}"
        )

    def _labelled(self, raw: str) -> str:
        """Every entry with its heading, which a phone shows beside it."""
        labels = cycle(html.escape(c.title, quote=True) for c in self._named)
        return TABLE_DATA.sub(lambda _: f'<td data-label="{next(labels)}" ', raw)

    def _great_table(self) -> str:
        import pandas as pd
        from great_tables import GT
        from great_tables import html as markup

        names = [f"c{i}" for i in range(len(self.columns))]
        frame = pd.DataFrame(
            {
                name: [_entry_html(row[i], r in self.emphasised) for r, row in enumerate(self.rows)]
                for i, name in enumerate(names)
            },
            dtype="object",
        )
        table = GT(frame, id=f"table-{self.id}").fmt_passthrough(columns=names, escape=False)
        labels: dict[str, Any] = {
            n: markup(html.escape(c.title)) for n, c in zip(names, self.columns, strict=True)
        }
        table = table.cols_label(cases=labels)
        for align in ("left", "right", "center"):
            chosen = [n for n, c in zip(names, self.columns, strict=True) if c.align == align]
            if chosen:
                table = table.cols_align(align=align, columns=chosen)
        groups = dict.fromkeys(c.group for c in self.columns if c.group)
        for group in groups:
            members = [n for n, c in zip(names, self.columns, strict=True) if c.group == group]
            table = table.tab_spanner(label=group, columns=members)
        return str(table.as_raw_html())


def _entry_html(entry: Entry, emphasised: bool) -> str:
    text = html.escape(entry.text)
    if entry.href:
        text = f'<a href="{html.escape(entry.href, quote=True)}">{text}</a>'
    if entry.tone:
        mark = f'<span class="mark" aria-hidden="true">{TONE_MARKS[entry.tone]}</span>'
        text = f'<span class="tone {entry.tone}">{mark} {text}</span>'
    if text and len(entry.text) <= NOWRAP + (9 if entry.tone else 0):
        text = f'<span class="short">{text}</span>'
    if emphasised and text:
        text = f"<strong>{text}</strong>"
    if entry.small:
        text += f'<span class="small">{html.escape(entry.small)}</span>'
    return text


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
