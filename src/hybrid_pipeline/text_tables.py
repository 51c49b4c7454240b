"""Figures and tables as text."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate


def two_digits(value: float) -> float:
    """The value rounded to two significant digits."""
    return float(f"{value:.1e}")


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal: columns aligned to the left under a header."""
    text = tabulate(rows, header, tablefmt="simple", disable_numparse=True)
    return [line.rstrip() for line in text.splitlines()]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; bars and line breaks inside the texts are made harmless."""

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(t.replace("|", "\\|").split()) for t in texts) + " |"

    return [line(header), "|" + " --- |" * len(header), *(line(row) for row in rows)]
