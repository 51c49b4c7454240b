"""The pages that show one thing: all examples, all figures."""

from __future__ import annotations

import re

from hybrid_pipeline.report.figures import figures
from hybrid_pipeline.report.gallery import ExampleCard, GalleryInputs
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.render import render_examples, render_figures, render_html
from hybrid_pipeline.report.sentences import verdicts

CARD = ExampleCard(
    task="mine", example=0, prompt="good?", grid=None, classes=("bad", "good"), truth=(1,),
    scored=(True,),
)  # fmt: skip


def drawn(page: str) -> list[str]:
    return sorted(re.findall(r'data-chart="([^"]+)"', page))


def test_every_example_is_open(default_inputs: ReportInputs) -> None:
    cards = tuple(CARD.model_copy(update={"example": i}) for i in range(7))
    given = default_inputs.model_copy(
        update={"gallery": GalleryInputs(sentence="The rule.", cards=cards)}
    )
    page = render_examples(given)
    assert page.count('class="example"') == 7
    assert "more examples" in render_html(given)
    assert "more examples" not in page
    assert "The rule." in page
    assert verdicts(given.results)[0] in page
    assert not drawn(page)
    assert len(page) < 100_000  # without plotly.js


def test_every_figure_is_drawn_once_and_nothing_is_folded(full_inputs: ReportInputs) -> None:
    page, report = render_figures(full_inputs), render_html(full_inputs)
    assert drawn(page) == drawn(report) == sorted(figures(full_inputs))
    assert "<details" in report
    assert "<details" not in page
    assert 'id="open-all"' not in page
    assert "<table" not in page
    assert verdicts(full_inputs.results)[0] in page


def test_a_study_below_the_floor_says_so_on_both(full_inputs: ReportInputs) -> None:
    floor = full_inputs.results.floor.model_copy(
        update={"reached": False, "sentence": "No arm beat guessing."}
    )
    results = full_inputs.results.model_copy(update={"floor": floor})
    given = full_inputs.model_copy(update={"results": results})
    for page in (render_examples(given), render_figures(given)):
        assert '<p class="banner">No arm beat guessing.' in page
        assert 'class="page pale"' in page
