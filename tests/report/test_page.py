"""The page's own style and script: what it does on paper, in the dark and in a table."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hybrid_pipeline.report import render
from hybrid_pipeline.report.document import Source
from hybrid_pipeline.report.html_blocks import block_html

HERE = Path(render.__file__).parent
STYLE, SCRIPT = ((HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))


def paper_rules() -> str:
    """What stands in ``@media print``."""
    return STYLE[STYLE.index("@media print") :]


def test_dark_colours_are_for_the_screen() -> None:
    found = re.findall(r"@media ([^{]*prefers-color-scheme: dark[^{]*)\{", STYLE)
    assert found
    assert all(medium.startswith("screen and ") for medium in found)
    assert "color-scheme: light" in paper_rules()
    assert "dark.matches && !onPaper" in SCRIPT  # charts too


def test_paper_has_no_buttons() -> None:
    hidden = re.search(r"\n([^\n]*)\{ display: none; \}", paper_rules())
    assert hidden is not None
    assert {"nav", ".filter", ".modebar"} <= {part.strip() for part in hidden[1].split(",")}


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the page's script in Node")
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("\u22124.6", -4.6), ("1e-05", 1e-5), ("3e-4", 3e-4), ("0.9990", 0.999), ("18.8 M", 18.8e6),
        ("1,816", 1816), (".033", 0.033), ("\u00d71.22", 1.22), ("5 epochs", 5),
        ("reference", None),
    ],
)  # fmt: skip
def test_a_column_is_sorted_by_its_numbers(text: str, number: float | None) -> None:
    read = re.search(r"function number\(text\) \{.*?\n  \}", SCRIPT, re.DOTALL)
    assert read is not None
    code = f"{read[0]}; console.log(JSON.stringify(number({json.dumps(text)})))"
    found = json.loads(subprocess.check_output(["node", "-e", code], text=True))
    assert found == (pytest.approx(number) if number is not None else None)


def test_a_heading_without_text_has_no_empty_box() -> None:
    shown = block_html(Source((("said-a", "A", ""), ("said-b", "B", "words"))), {})
    assert shown.count("<pre>") == 1
    assert '<h3 id="said-a">A</h3><h3 id="said-b">B</h3><pre>words</pre>' in shown
