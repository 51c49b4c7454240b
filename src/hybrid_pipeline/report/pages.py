"""Two pages beside the report: every example, and every figure with nothing folded.

They are for places that show one file at a time, such as MLflow's artifacts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from hybrid_pipeline.report.document import Block, Chart, Gallery, Pair, Paragraph, Section
from hybrid_pipeline.report.first_screen import gallery, page_one
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.sections import build_sections

OPENING_KINDS = ("verdict", "verdict-long", "banner", "caution")


def examples_page(inputs: ReportInputs) -> list[Section]:
    """The opening, then all examples of the gallery."""
    shown = gallery(inputs)
    blocks = [
        replace(block, num_open=len(block.cards)) if isinstance(block, Gallery) else block
        for block in shown.blocks
    ]
    return [_opening(inputs), replace(shown, blocks=blocks)]


def figures_page(inputs: ReportInputs, charts: Collection[str]) -> list[Section]:
    """The opening, then the figures under the titles that they have in the report.

    Args:
        inputs: the analysis and its records.
        charts: names of the figures that exist.
    """
    sections = [_opening(inputs)]
    for section in build_sections(inputs, charts):
        found = list(_charts(section.blocks))
        if found:
            title = section.title or "Claimed and measured"
            sections.append(Section(f"figures-{section.id}", title, found))
    return sections


def _opening(inputs: ReportInputs) -> Section:
    """What the report opens with: a figure alone may say more than the study can."""
    blocks = page_one(inputs, ()).blocks
    kept = [b for b in blocks if isinstance(b, Paragraph) and b.kind in OPENING_KINDS]
    return Section("opening", "", kept)


def _charts(blocks: Sequence[Block]) -> Iterator[Chart]:
    for block in blocks:
        chart = block.chart if isinstance(block, Pair) else block
        if isinstance(chart, Chart):
            yield chart
