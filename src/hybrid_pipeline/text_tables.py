"""Figures, tables and fragments as text."""

from __future__ import annotations

from collections.abc import Sequence

import markdown as markdown_library


def two_digits(value: float) -> float:
    """The value rounded to two significant digits."""
    return float(f"{value:.1e}")


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; bars and line breaks inside cells are made harmless."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"

    return [line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)]


def html_fragment(text: str) -> str:
    """Markdown as an HTML fragment for the report's page."""
    return str(markdown_library.markdown(text, extensions=["tables", "fenced_code"]))
