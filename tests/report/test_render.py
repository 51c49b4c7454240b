"""The page: complete, self-contained, deterministic, honest."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hybrid_pipeline.plot_style import BAND, BLACK, DARK_COLORS
from hybrid_pipeline.report.figures import figures
from hybrid_pipeline.report.inputs import ClaimsDocument, ReportInputs
from hybrid_pipeline.report.render import render_html, render_markdown
from hybrid_pipeline.report.sections import DATA_FILES, PAGES
from hybrid_pipeline.report.wording import (
    BUNDLED_SENTENCE,
    ESTIMATES_SENTENCE,
    TELESCOPE_SENTENCE,
)
from hybrid_pipeline.stats.results import Plateau

ROOT = Path(__file__).parents[2]
FULL_SECTIONS = [
    "What each stage adds and costs", "Task by task", "Do the gains compound?", "Controls",
    "Inside the model", "Learning curves", "Stability", "Audit of the claims",
    "Failures and missing cells", "How it was computed", "Run it again, take the data",
    "Provenance",
]  # fmt: skip


RISING = (
    "This study measures early training: its last fifth still added 3.2 points to arm_5_coconut on "
    "maze_4x4 (the rule: below 2), so no comparison with arm_5_coconut is judged."
)


class Page(HTMLParser):
    """Tags, links, ids and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._hidden = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden += tag in ("script", "style")
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.links.append((tag, value or ""))
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data + " "


@pytest.fixture(scope="module")
def full_page(full_inputs: ReportInputs) -> Page:
    return Page(render_html(full_inputs))


@pytest.fixture(scope="module")
def default_page(default_inputs: ReportInputs) -> Page:
    return Page(render_html(default_inputs))


def test_every_section_is_there_in_order(full_inputs: ReportInputs, full_page: Page) -> None:
    titles = re.findall(r"^## (.+)$", render_markdown(full_inputs), flags=re.MULTILINE)
    assert titles == FULL_SECTIONS
    positions = [full_page.text.index(f" {t} ") for t in titles]
    assert positions == sorted(positions)
    for anchor in ("page-one", "gains", "claims", "failures", "provenance"):
        assert anchor in full_page.ids


def test_page_one_comes_first_and_holds_verdict_arms_and_claims(
    default_inputs: ReportInputs,
) -> None:
    page = render_html(default_inputs)
    first = page[page.index('id="page-one"') : page.index('id="gains"')]
    order = [
        first.index('class="verdict"'),
        first.index('id="chart-claimed_vs_measured"'),
        first.index('id="table-first"'),
        first.index(ESTIMATES_SENTENCE),
    ]
    assert order == sorted(order)


def test_the_page_needs_no_network(full_page: Page) -> None:
    assert "link" not in full_page.tags
    fetched = [link for tag, link in full_page.links if tag != "a"]
    assert all(link.startswith("data:") for link in fetched)
    assert not any(re.match(r"[a-z]+:|//", link) for tag, link in full_page.links if tag == "a")
    assert not any(tag in full_page.tags for tag in ("iframe", "object", "embed"))


def test_plotly_is_inlined_once_and_requests_are_forbidden(default_inputs: ReportInputs) -> None:
    page = render_html(default_inputs)
    assert page.count("plotly.js v") == 1
    assert "default-src 'none'" in page
    assert "url(http" not in page


def test_ids_are_unique(full_page: Page) -> None:
    repeated = {i for i in full_page.ids if full_page.ids.count(i) > 1}
    assert repeated == set()


def test_same_inputs_give_the_same_bytes(full_inputs: ReportInputs) -> None:
    again = ReportInputs.model_validate_json(full_inputs.model_dump_json())
    assert render_html(full_inputs) == render_html(again)
    assert render_markdown(full_inputs) == render_markdown(again)


def test_disclosures_are_on_page_one(default_inputs: ReportInputs, default_page: Page) -> None:
    text = render_markdown(default_inputs)
    for sentence in (ESTIMATES_SENTENCE, TELESCOPE_SENTENCE, BUNDLED_SENTENCE):
        assert sentence in text
        assert sentence in " ".join(default_page.text.split())
    assert text.index(BUNDLED_SENTENCE) < text.index("## ")


def test_a_tower_that_says_it_is_not_said_twice(default_inputs: ReportInputs) -> None:
    assert default_inputs.tower is not None
    said = default_inputs.tower.model_copy(update={"sentence": "Small; not OpenAI's CLIP."})
    text = render_markdown(default_inputs.model_copy(update={"tower": said}))
    assert text.count("not OpenAI's CLIP") == 1


def test_what_the_report_cannot_know_is_not_said(default_inputs: ReportInputs) -> None:
    text = render_markdown(default_inputs)
    assert "fixed before the study ran" not in text
    assert "taken from the parameters" in text
    assert text.count("may clear zero where the verdict does not") == 2


def test_nothing_improves_without_a_verdict(
    default_page: Page, full_page: Page, sparse_inputs: ReportInputs
) -> None:
    sparse = Page(render_html(sparse_inputs)).text
    for text in (default_page.text, full_page.text, sparse):
        assert "improves" not in text.lower()
        assert "boost" not in text.lower()
    assert "helps" not in sparse


def test_a_study_of_two_seeds_without_claims_or_records(sparse_inputs: ReportInputs) -> None:
    text = render_markdown(sparse_inputs)
    assert "Nothing is judged: 2 seeds, at least 3 are needed" in text
    assert "No claims were given" in text
    assert "None: every arm, seed and task has scores." in text
    assert ESTIMATES_SENTENCE not in text
    assert "## Controls" not in text
    assert "## Learning curves" not in text


def test_a_hole_is_said_on_page_one_and_leaves_no_compound(full_inputs: ReportInputs) -> None:
    text = render_markdown(full_inputs)
    assert "2 cells failed or missing" in text[: text.index("## ")]
    assert "chain has a hole at 4 + TRM" in text
    assert "diverged at step 214" in text


def test_markup_in_inputs_is_text(default_inputs: ReportInputs) -> None:
    evil = default_inputs.model_copy(
        update={"title": "<script>alert(1)</script>", "disclosures": ("</p><script>x</script>",)}
    )
    assert Page(render_html(evil)).tags.count("script") == (
        Page(render_html(default_inputs)).tags.count("script")
    )


def test_the_evidence_is_folded_and_the_contents_lead_to_it(full_page: Page) -> None:
    assert full_page.tags.count("details") >= len(FULL_SECTIONS)
    inner = [link[1:] for tag, link in full_page.links if tag == "a" and link.startswith("#")]
    assert len(inner) >= len(FULL_SECTIONS)
    assert set(inner) <= set(full_page.ids)


def test_an_underpowered_verdict_says_once_what_could_be_found(
    default_inputs: ReportInputs,
) -> None:
    page = " ".join(Page(render_html(default_inputs)).text.split())
    assert sum(e.verdict_code == "underpowered" for e in default_inputs.results.effects) > 4
    assert page.count("at this noise only a difference of") == 1
    assert "at this noise" not in page.replace("at this noise only a difference of", "").replace(
        "power at this noise and number of seeds", ""
    ).replace("interest needs at this noise", "")


def test_the_data_of_the_page_are_documents_of_the_study() -> None:
    files = ("reporting.yml", "data.yml")
    catalog = "".join((ROOT / "conf/base/catalog" / f).read_text("utf-8") for f in files)
    for name, _ in DATA_FILES:
        assert f"08_reporting/${{study:}}/{name}\n" in catalog, name
    for address, _ in PAGES:
        assert (ROOT / "data/08_reporting/study" / address).resolve().is_file(), address


def test_the_command_and_its_commit_are_said(default_inputs: ReportInputs) -> None:
    provenance = {"code": {"commit": "abc1234+"}}
    given = default_inputs.model_copy(
        update={"command": "kedro run --env smoke", "provenance": provenance}
    )
    text = render_markdown(given)
    assert "```bash\ngit checkout abc1234\nkedro run --env smoke\n```" in text
    assert "changes were not committed" in text


def test_claims_lead_to_the_part_of_the_document_that_makes_them(
    default_inputs: ReportInputs,
) -> None:
    section = default_inputs.results.claims[0].section
    text = f"# Title\n\nintro\n\n## The {section}: (bold)\n\n- said <here>\n"
    given = default_inputs.model_copy(
        update={"document": ClaimsDocument(path="docs/reference/said.md", text=text)}
    )
    page = render_html(given)
    parsed = Page(page)
    leads = {link[1:] for tag, link in parsed.links if link.startswith("#said-")}
    assert len(leads) == 1
    assert leads <= set(parsed.ids)
    assert "- said &lt;here&gt;" in page
    assert ("a", "../../../docs/reference/said.md") in parsed.links


def test_dark_colours_replace_every_colour_that_would_vanish(
    factorial_inputs: ReportInputs,
) -> None:
    """Text, lines and paper of every figure are among those that the page exchanges."""
    layouts = [f.to_plotly_json()["layout"] for f in figures(factorial_inputs).values()]
    template = layouts[0]["template"]["layout"]
    axis = template["xaxis"]
    used = {template["paper_bgcolor"], template["plot_bgcolor"], template["font"]["color"]}
    used |= {axis["gridcolor"], axis["linecolor"], axis["tickcolor"], BLACK, BAND}
    assert {color.lower() for color in used} <= set(DARK_COLORS)
    page = render_html(factorial_inputs)
    assert json.dumps(DARK_COLORS) in page
    assert "prefers-color-scheme: dark" in page


def test_a_warning_stands_before_the_headline_and_not_in_it(default_inputs: ReportInputs) -> None:
    """The answer is what the page opens with in large letters."""
    plateau = Plateau(rows=(), reached=False, baseline_in_range=True, sentences=(RISING,))
    results = default_inputs.results.model_copy(
        update={"plateau": plateau, "tasks": ("maze_4x4", *default_inputs.results.tasks[1:])}
    )
    page = render_html(default_inputs.model_copy(update={"results": results}))
    warning = page.index('<p class="caution">This study measures early training')
    headline = page.index('<p class="verdict">The full model')
    assert warning < headline < page.index("<nav ")
    assert "5 + COCONUT on maze 4x4 (the" in page[warning:headline]
