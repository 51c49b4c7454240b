"""Gains by training length, and how a page looks below the floor of verdicts."""

from __future__ import annotations

import pytest

from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.length_figure import gain_by_length
from hybrid_pipeline.report.render import render_html, render_markdown
from hybrid_pipeline.stats.results import MEAN_TASK, Floor, Interval, LengthGain, StudyResults


def gains(results: StudyResults) -> StudyResults:
    """CLIP gains 10 points after 100 updates and 4 after 400; TRM loses, then gains."""
    rows = []
    for length, updates, clip, trm in ((0.25, 100, 0.10, -0.05), (1.0, 400, 0.04, 0.08)):
        for arm, before, component, value in (
            ("arm_2_clip", "arm_1_baseline", "clip", clip),
            ("arm_4_trm", "arm_3_n2n", "trm", trm),
        ):
            rows.append(
                LengthGain(
                    arm=arm, reference=before, component=component, task=MEAN_TASK, length=length,
                    updates=updates, num_seeds=3, p_adjusted=0.01, verdict="helps",
                    verdict_code="helps",
                    difference=Interval(estimate=value, low=value - 0.02, high=value + 0.03),
                )
            )  # fmt: skip
    return results.model_copy(update={"length_gains": tuple(rows)})


def test_every_stage_is_drawn_at_every_length_with_its_interval(
    default_inputs: ReportInputs,
) -> None:
    figure = gain_by_length(gains(default_inputs.results))
    assert figure is not None
    drawn = {t.name: t for t in figure.data}
    assert set(drawn) == {"+ CLIP", "+ TRM"}
    assert list(drawn["+ CLIP"].y) == pytest.approx([10, 4])
    assert list(drawn["+ TRM"].y) == pytest.approx([-5, 8])
    assert list(drawn["+ TRM"].x) == pytest.approx([100, 400], abs=6)
    assert list(drawn["+ TRM"].error_y.array) == pytest.approx([3, 3])
    assert list(drawn["+ TRM"].error_y.arrayminus) == pytest.approx([2, 2])


def test_one_length_is_no_figure(default_inputs: ReportInputs) -> None:
    results = gains(default_inputs.results)
    alone = tuple(g for g in results.length_gains if g.length == 1.0)
    assert gain_by_length(results.model_copy(update={"length_gains": alone})) is None
    assert gain_by_length(results.model_copy(update={"length_gains": ()})) is None


def test_below_the_floor_a_banner_opens_the_page_and_figures_are_pale(
    default_inputs: ReportInputs,
) -> None:
    floor = Floor(reached=False, reasons=("8 updates",), sentence="A trial run: nothing is judged.")
    below = default_inputs.model_copy(
        update={"results": default_inputs.results.model_copy(update={"floor": floor})}
    )
    page = render_html(below)
    assert '<p class="banner">A trial run: nothing is judged.</p>' in page
    assert '<div class="page pale">' in page
    assert "**A trial run: nothing is judged.**" in render_markdown(below)
    assert '<div class="page">' in render_html(default_inputs)
