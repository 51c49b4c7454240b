"""Markdown and self-contained HTML pages from the same sections.

A page carries plotly.js, styles and data in itself and forbids every request by its content
security policy. The same inputs give the same bytes: no clock, no random ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hybrid_pipeline.plot_style import DARK_COLORS
from hybrid_pipeline.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Gallery,
    Links,
    Pair,
    Paragraph,
    Section,
    Source,
)
from hybrid_pipeline.report.figures import figures
from hybrid_pipeline.report.gallery import ExampleCard
from hybrid_pipeline.report.html_blocks import Charts, block_html, figure_json
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.pages import examples_page, figures_page
from hybrid_pipeline.report.sections import build_sections
from hybrid_pipeline.report.tables import Table
from hybrid_pipeline.report.wording import arm_label, task_label

__all__ = ["figure_json", "render_examples", "render_figures", "render_html", "render_markdown"]

HERE = Path(__file__).parent


def render_markdown(inputs: ReportInputs) -> str:
    """The report as Markdown; figures are named, their numbers stand in the tables."""
    sections = build_sections(inputs, figures(inputs))
    parts = [f"# {inputs.title}"]
    for section in sections:
        parts += [f"## {section.title}"] if section.title else []
        parts += [_block_markdown(b) for b in section.blocks]
    return "\n\n".join(p for p in parts if p) + "\n"


def _block_markdown(block: Block) -> str:
    if isinstance(block, Table):
        return block.to_markdown()
    if isinstance(block, Pair):
        parts = [block.chart, block.table]
        return "\n\n".join(_block_markdown(part) for part in parts if part is not None)
    if isinstance(block, Chart):
        return f"Figure `figures/{block.file or block.name}.json`: {block.caption}"
    if isinstance(block, Gallery):
        return "\n".join(f"- {_card_text(card)}" for card in block.cards)
    return _text_markdown(block)


def _text_markdown(block: Paragraph | Bullets | Code | Links | Source) -> str:
    if isinstance(block, Paragraph):
        return (
            f"**{block.text}**"
            if block.kind in ("verdict", "verdict-long", "banner")
            else block.text
        )
    if isinstance(block, Code):
        return f"```bash\n{block.text}\n```"
    if isinstance(block, Links):
        return "\n".join(f"- [{address}]({address}): {what}" for address, what in block.items)
    if isinstance(block, Source):
        return ""  # a file of its own, which the section links to
    return "\n".join(f"- {item}" for item in block.items)


def _card_text(card: ExampleCard) -> str:
    answers = [f"{arm_label(a.arm)} {a.num_right} of {a.num_seeds}" for a in card.answers]
    title = f"{task_label(card.task).capitalize()}, example {card.example}"
    return f"{title}: seeds with the whole answer right: {', '.join(answers)}"


def render_html(inputs: ReportInputs) -> str:
    """The report as one HTML page that needs no network."""
    charts = figures(inputs)
    return _page(inputs, build_sections(inputs, charts), charts)


def render_examples(inputs: ReportInputs) -> str:
    """Every example of the gallery with the arms' answers, as a page of its own."""
    return _page(inputs, examples_page(inputs), {})


def render_figures(inputs: ReportInputs) -> str:
    """All figures with their captions, none of them folded, as a page of its own."""
    charts = figures(inputs)
    return _page(inputs, figures_page(inputs, charts), charts)


def _page(inputs: ReportInputs, sections: Sequence[Section], charts: Charts) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((HERE / "page.html.j2").read_text("utf-8"))
    return template.render(
        title=inputs.title,
        pale=not inputs.results.floor.reached,
        css=_own("page.css"),
        script=_own("page.js"),
        dark_colors=Markup(json.dumps(DARK_COLORS)),  # our own constants
        plotly=Markup(get_plotlyjs()) if charts else "",
        sections=[_section_html(s, charts) for s in sections],
    )


def _own(name: str) -> Markup:
    """A file of this package, which is put into the page as it is."""
    return Markup((HERE / name).read_text("utf-8"))


def _section_html(section: Section, charts: Charts) -> dict[str, Any]:
    body = "\n".join(block_html(b, charts) for b in section.blocks)
    return {
        "id": section.id,
        "title": section.title,
        "folded": section.folded,
        "gist": section.gist,
        "body": Markup(body),
    }
