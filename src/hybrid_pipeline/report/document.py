"""A report before it is Markdown or HTML: sections of paragraphs, lists, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hybrid_pipeline.report.gallery import ExampleCard
from hybrid_pipeline.report.tables import Table

Kind = Literal["plain", "verdict", "verdict-long", "facts", "caution", "good", "banner"]


@dataclass(frozen=True)
class Paragraph:
    """Text; ``kind`` decides its weight on the page."""

    text: str
    kind: Kind = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """A figure by its name in ``figures`` with a caption that stands without it.

    ``file`` names the file under ``figures/`` if it is not the figure's own.
    """

    name: str
    caption: str
    file: str = ""


@dataclass(frozen=True)
class Pair:
    """A chart and a table side by side; below one another on a narrow screen, the table first."""

    chart: Chart | None
    table: Table


@dataclass(frozen=True)
class Gallery:
    """Test examples with the arms' answers; those after the first ``num_open`` are folded."""

    cards: Sequence[ExampleCard]
    num_open: int = 4


@dataclass(frozen=True)
class Code:
    """Commands to type, one a line."""

    text: str


@dataclass(frozen=True)
class Links:
    """Files beside the page or in the project: (address, what it is)."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """A text that the report refers to, in parts that links lead to: (id, title, text)."""

    parts: Sequence[tuple[str, str, str]]


Block = Paragraph | Bullets | Chart | Pair | Gallery | Code | Links | Source | Table


@dataclass(frozen=True)
class Section:
    """A part of the report with a stable id.

    Attributes:
        folded: whether it starts closed on screen.
        gist: a few words beside the title of a closed section.
    """

    id: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False
    gist: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be shown below the title."""
        return not any(not isinstance(b, Table) or b.rows for b in self.blocks)
