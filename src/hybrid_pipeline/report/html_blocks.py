"""Every kind of block as HTML."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from hybrid_pipeline.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Gallery,
    Links,
    Pair,
    Paragraph,
    Source,
)
from hybrid_pipeline.report.example_svg import answer_svg
from hybrid_pipeline.report.gallery import ArmAnswer, ExampleCard
from hybrid_pipeline.report.tables import Table
from hybrid_pipeline.report.wording import arm_label, plural, task_label

Charts = dict[str, go.Figure]
MAX_STEPS = 8  # drawn of one arm; the first and the last are always among them


def block_html(block: Block, charts: Charts) -> str:
    """A block of a section.

    Args:
        block: what to show.
        charts: figures by name.
    """
    if isinstance(block, Table):
        return block.to_html()
    if isinstance(block, Chart):
        return _chart_html(block, charts[block.name])
    if isinstance(block, Pair):
        chart = _chart_html(block.chart, charts[block.chart.name]) if block.chart else ""
        return (
            f'<div class="pair"><div>{chart}</div>'
            f'<div class="table-side">{block.table.to_html()}</div></div>'
        )
    if isinstance(block, Gallery):
        return _gallery_html(block)
    return _text_html(block)


def _text_html(block: Paragraph | Bullets | Code | Links | Source) -> str:
    if isinstance(block, Paragraph):
        kind = "" if block.kind == "plain" else f' class="{block.kind}"'
        return f"<p{kind}>{html.escape(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    if isinstance(block, Links):
        items = [
            (f'<a href="{html.escape(a, quote=True)}">{html.escape(a)}</a>', w)
            for a, w in block.items
        ]
        return _list_html([f"{link}: {html.escape(what)}" for link, what in items])
    if isinstance(block, Source):
        parts = [
            f'<h3 id="{html.escape(name, quote=True)}">{html.escape(title)}</h3>'
            + (f"<pre>{html.escape(text)}</pre>" if text else "")
            for name, title, text in block.parts
        ]
        return "".join(parts)
    return _list_html([html.escape(item) for item in block.items])


def _list_html(items: Sequence[str]) -> str:
    inner = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{inner}</ul>" if inner else ""


def _chart_html(chart: Chart, figure: go.Figure) -> str:
    shown = go.Figure(figure)
    title = str(shown.layout.title.text or chart.name)
    shown.update_layout(title_text=None, margin_t=max(16, (shown.layout.margin.t or 52) - 40))
    height = int(shown.layout.height or 400)
    data = figure_json(shown).replace("</", "<\\/")
    name = html.escape(chart.name, quote=True)
    caption = f"<figcaption>{html.escape(chart.caption)}</figcaption>" if chart.caption else ""
    return (
        f'<figure><h4 class="table-title">{html.escape(title)}</h4>'
        f'<div class="chart" id="chart-{name}" data-height="{height}" style="height:{height}px">'
        "</div>"
        f'<script type="application/json" data-chart="{name}">{data}</script>'
        f"{caption}</figure>"
    )


def figure_json(figure: go.Figure) -> str:
    """A figure as JSON text with sorted keys, so that equal figures are equal bytes."""
    return json.dumps(
        figure.to_plotly_json(), cls=PlotlyJSONEncoder, sort_keys=True, separators=(",", ":")
    )


def _gallery_html(gallery: Gallery) -> str:
    cards = [_card_html(card) for card in gallery.cards]
    shown, rest = cards[: gallery.num_open], cards[gallery.num_open :]
    more = ""
    if rest:
        more = (
            f'<details class="more"><summary>{len(rest)} more examples</summary>'
            f'<div class="examples">{"".join(rest)}</div></details>'
        )
    return f'<div class="examples">{"".join(shown)}</div>{more}'


def _card_html(card: ExampleCard) -> str:
    pictures = [
        _figure("", f'<img src="data:image/png;base64,{view}" alt="{_alt(card, name)}">', name)
        for view, name in zip(card.views, ("noisy view 1", "noisy view 2"), strict=False)
    ]
    gap = '<div class="gap"></div>'
    truth = _drawn(card, card.truth, "truth", "truth")
    answers = [_drawn(card, a.predicted, arm_label(a.arm), _caption(card, a)) for a in card.answers]
    title = f"{task_label(card.task).capitalize()}, test example {card.example}"
    prompt = "" if card.grid else f'<p class="answer">{html.escape(card.prompt)}</p>'
    steps = "".join(_steps_html(card, answer) for answer in card.answers if answer.steps)
    more = (
        f'<details class="more"><summary>step by step</summary>{steps}</details>' if steps else ""
    )
    strip = "".join([*pictures, gap, truth, gap, *answers])
    return (
        f'<div class="example"><h3>{html.escape(title)}</h3>{prompt}'
        f'<div class="strip">{strip}</div>{more}</div>'
    )


def _alt(card: ExampleCard, name: str) -> str:
    return html.escape(f"{name} of {task_label(card.task)} example {card.example}", quote=True)


def _caption(card: ExampleCard, answer: ArmAnswer) -> str:
    """The arm; what the answer above it is; how all its seeds did."""
    shown = "first seed" if answer.seed is None else f"seed {answer.seed}"
    wrong, scored = sum(card.wrong(answer.predicted)), sum(card.scored)
    seeds = f"{answer.num_right} of {plural(answer.num_seeds, 'seed')}"
    if scored == 1:
        verdict, every = "wrong" if wrong else "right", f"{seeds} right"
    else:
        verdict = f"{wrong} of {scored} wrong" if wrong else "all right"
        every = f"{seeds} all right"
    return f"{arm_label(answer.arm)}\n{shown}, drawn: {verdict}\n{every}"


def _figure(kind: str, picture: str, caption: str) -> str:
    """A picture; lines of the caption after the first are smaller."""
    name = f' class="{kind}"' if kind else ""
    first, *rest = caption.split("\n")
    lines = "".join(f'<span class="small">{html.escape(line)}</span>' for line in rest)
    head = f"<b>{html.escape(first)}</b>" if rest else html.escape(first)
    return f"<figure{name}>{picture}<figcaption>{head}{lines}</figcaption></figure>"


def _drawn(
    card: ExampleCard, predicted: Sequence[int], name: str, caption: str, kind: str = ""
) -> str:
    """An answer as a grid, or as the names of its classes."""
    wrong = card.wrong(predicted)
    if card.grid is not None:
        label = f"{name}: {sum(wrong)} of {sum(card.scored)} slots wrong"
        return _figure(kind, answer_svg(card, predicted, label), caption)
    tone = "wrong" if any(wrong) else "right"
    mark = "\N{BALLOT X}" if any(wrong) else "\N{CHECK MARK}"
    words = ", ".join(card.classes[value] for value in predicted)
    return _figure(
        "words", f'<div class="answer {tone}">{mark} {html.escape(words)}</div>', caption
    )


def _steps_html(card: ExampleCard, answer: ArmAnswer) -> str:
    total = len(answer.steps)
    chosen = sorted({round(i * (total - 1) / (MAX_STEPS - 1)) for i in range(MAX_STEPS)})
    chosen = list(range(total)) if total <= MAX_STEPS else chosen
    drawn = [
        _drawn(card, answer.steps[i], f"step {i + 1}", f"step {i + 1} of {total}", "step")
        for i in chosen
    ]
    title = f"<h3>{html.escape(arm_label(answer.arm))}, after each supervision step</h3>"
    return f'{title}<div class="strip">{"".join(drawn)}</div>'
