"""A report before it is Markdown or HTML: sections of paragraphs, lists, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hybrid_pipeline.report.inputs import ExampleImage
from hybrid_pipeline.report.tables import Table


@dataclass(frozen=True)
class Paragraph:
    """Text; ``kind`` decides its weight on the page."""

    text: str
    kind: Literal["plain", "verdict", "stages", "facts", "caution", "good"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list; ``phone_only`` where a table says the same on wider screens."""

    items: Sequence[str]
    phone_only: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure by its name in ``figures`` with a caption that stands without it.

    ``file`` names the file under ``figures/`` where it is not the figure's own.
    """

    name: str
    caption: str
    file: str = ""


@dataclass(frozen=True)
class Gallery:
    """Rendered examples."""

    images: Sequence[ExampleImage]


Block = Paragraph | Bullets | Chart | Gallery | Table


@dataclass(frozen=True)
class Section:
    """A part of the report with a stable id; ``folded`` starts closed on screen."""

    id: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be shown below the title."""
        return not any(not isinstance(b, Table) or b.rows for b in self.blocks)
