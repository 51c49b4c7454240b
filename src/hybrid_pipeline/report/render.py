"""Markdown and one self-contained HTML page from the same sections.

The page carries plotly.js, styles and data in itself and forbids every request by its content
security policy. The same inputs give the same bytes: no clock, no random ids.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from hybrid_pipeline.report.document import (
    Block,
    Bullets,
    Chart,
    Gallery,
    Paragraph,
    Section,
)
from hybrid_pipeline.report.figures import figures
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.sections import build_sections
from hybrid_pipeline.report.tables import Table

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
    if isinstance(block, Paragraph):
        return f"**{block.text}**" if block.kind == "verdict" else block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Chart):
        return f"Figure `figures/{block.file or block.name}.json`: {block.caption}"
    return "\n".join(f"- Example of {image.task}: {image.caption}" for image in block.images)


def render_html(inputs: ReportInputs) -> str:
    """The report as one HTML page that needs no network."""
    charts = figures(inputs)
    sections = build_sections(inputs, charts)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((HERE / "page.html.j2").read_text("utf-8"))
    return template.render(
        title=inputs.title,
        minutes_file=inputs.minutes_file,
        css=Markup((HERE / "page.css").read_text("utf-8")),  # our own file
        plotly=Markup(get_plotlyjs()) if charts else "",
        sections=[_section_html(s, charts) for s in sections],
    )


def _section_html(section: Section, charts: dict[str, go.Figure]) -> dict[str, Any]:
    body = "\n".join(_block_html(b, charts) for b in section.blocks)
    return {"id": section.id, "title": section.title, "body": Markup(body)}


def _block_html(block: Block, charts: dict[str, go.Figure]) -> str:
    if isinstance(block, Table):
        return block.to_html()
    if isinstance(block, Paragraph):
        return f'<p class="{block.kind}">{html.escape(block.text)}</p>'
    if isinstance(block, Bullets):
        kind = ' class="phone-only"' if block.phone_only else ""
        items = "".join(f"<li>{html.escape(item)}</li>" for item in block.items)
        return f"<ul{kind}>{items}</ul>" if items else ""
    if isinstance(block, Chart):
        return _chart_html(block, charts[block.name])
    return _gallery_html(block)


def _chart_html(chart: Chart, figure: go.Figure) -> str:
    shown = go.Figure(figure)
    title = str(shown.layout.title.text or chart.name)
    shown.update_layout(title_text=None, margin_t=max(16, (shown.layout.margin.t or 52) - 40))
    height = int(shown.layout.height or 400)
    data = figure_json(shown).replace("</", "<\\/")
    name = html.escape(chart.name, quote=True)
    return (
        f'<figure><h4 class="table-title">{html.escape(title)}</h4>'
        f'<div class="chart" id="chart-{name}" data-height="{height}" style="height:{height}px">'
        "</div>"
        f'<script type="application/json" data-chart="chart-{name}">{data}</script>'
        f"<figcaption>{html.escape(chart.caption)}</figcaption></figure>"
    )


def figure_json(figure: go.Figure) -> str:
    """A figure as JSON text with sorted keys, so that equal figures are equal bytes."""
    return json.dumps(
        figure.to_plotly_json(), cls=PlotlyJSONEncoder, sort_keys=True, separators=(",", ":")
    )


def _gallery_html(gallery: Gallery) -> str:
    pictures = [
        f'<figure class="example"><img src="data:image/png;base64,{image.png}" '
        f'alt="{html.escape(image.caption, quote=True)}">'
        f"<figcaption>{html.escape(image.caption)}</figcaption></figure>"
        for image in gallery.images
    ]
    return f'<div class="gallery">{"".join(pictures)}</div>'
