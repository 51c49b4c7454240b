"""Figures draw the results and nothing else."""

from __future__ import annotations

import json
import math
import re

import pytest

from hybrid_pipeline.report.all_claims_figure import all_claims
from hybrid_pipeline.report.audit_tables import gain_claims
from hybrid_pipeline.report.claim_figures import claimed_vs_measured
from hybrid_pipeline.report.compound_figures import shares
from hybrid_pipeline.report.effect_figures import forest, waterfall
from hybrid_pipeline.report.figures import BUILDERS, all_figures, figures
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.render import figure_json
from hybrid_pipeline.report.score_figures import learning_curves
from hybrid_pipeline.report.style import ratio_axis
from hybrid_pipeline.stats.results import MEAN_TASK, Floor, StudyResults

CUMULATIVE = {
    "claimed_vs_measured", "forest", "heatmap", "waterfall", "learning_curves", "training_loss",
    "all_claims",
}  # fmt: skip


def test_each_study_has_the_figures_it_can_fill(
    default_inputs: ReportInputs, factorial_inputs: ReportInputs, sparse_inputs: ReportInputs
) -> None:
    assert set(figures(default_inputs)) == CUMULATIVE
    assert set(figures(factorial_inputs)) == set(BUILDERS) - {
        "gain_by_length", "halting_by_depth", "paths",
    }  # fmt: skip
    assert set(figures(sparse_inputs)) == {"heatmap", "waterfall"}
    assert list(all_figures(sparse_inputs)) == list(BUILDERS)


def test_figures_are_plain_deterministic_json(factorial_inputs: ReportInputs) -> None:
    for name, figure in figures(factorial_inputs).items():
        text = figure_json(figure)
        assert "NaN" not in text, name
        assert json.loads(text)["layout"]["title"]["text"], name
        assert figure_json(BUILDERS[name](factorial_inputs)) == text  # type: ignore[arg-type]


def test_forest_draws_every_interval(default_inputs: ReportInputs) -> None:
    results = default_inputs.results
    figure = forest(results)
    assert figure is not None
    drawn = sorted(
        (x, x - minus, x + plus)
        for trace in figure.data if trace.mode == "markers" and trace.error_x.array
        for x, minus, plus in zip(
            trace.x, trace.error_x.arrayminus, trace.error_x.array, strict=True
        )
    )  # fmt: skip
    wanted = sorted(
        (100 * e.difference.estimate, 100 * e.difference.low, 100 * e.difference.high)
        for e in results.effects if e.kind in ("stage", "total") and e.difference
    )  # fmt: skip
    assert [v for row in drawn for v in row] == pytest.approx([v for row in wanted for v in row])
    band = next(s for s in figure.layout.shapes if s.type == "rect")
    assert (band.x0, band.x1) == (-1.0, 1.0)


def test_forest_shows_every_seed_of_every_comparison(default_inputs: ReportInputs) -> None:
    results = default_inputs.results
    figure = forest(results)
    assert figure is not None
    (dots,) = [t for t in figure.data if t.name == "one seed"]
    effects = [e for e in results.effects if e.kind in ("stage", "total") and e.difference]
    assert len(dots.x) == len(effects) * len(results.seeds)
    for effect, start in zip(
        [e for t in (MEAN_TASK, *results.tasks) for e in (*results.stages(t), results.total(t))],
        range(0, len(dots.x), 3),
        strict=True,
    ):
        assert effect is not None
        assert effect.difference is not None
        mean = sum(dots.x[start : start + 3]) / 3
        assert mean == pytest.approx(100 * effect.difference.estimate)


def test_waterfall_ends_at_the_total(default_inputs: ReportInputs) -> None:
    results = default_inputs.results
    figure = waterfall(results)
    compound = results.compound()
    assert figure is not None
    assert compound is not None
    assert compound.total is not None
    bars = [t for t in figure.data if t.xaxis == "x"]
    last_stage, total = bars[-2], bars[-1]
    assert last_stage.base[0] + last_stage.x[0] == pytest.approx(compound.total.estimate)
    assert total.base[0] + total.x[0] == pytest.approx(compound.total.estimate)
    assert math.prod(s.ratio for s in compound.stages) == pytest.approx(compound.total.estimate)


def test_measured_bars_are_pale_unless_the_verdict_is_a_gain_or_a_loss(
    default_inputs: ReportInputs,
) -> None:
    figure = claimed_vs_measured(default_inputs.results)
    assert figure is not None
    bars = {t.name: t for t in figure.data if str(t.name).startswith("measured")}
    assert set(bars) == {"measured: helps", "measured: underpowered"}
    labels = figure.layout.yaxis.ticktext
    by_name = {name: {labels[round(y - 0.2)] for y in trace.y} for name, trace in bars.items()}
    assert by_name["measured: helps"] == {"CLIP", "TRM", "All together"}
    assert by_name["measured: underpowered"] == {"N2N", "COCONUT"}
    assert bars["measured: underpowered"].marker.color == "#C9C9C9"


def test_a_claim_beyond_the_axis_is_named_at_its_edge(default_inputs: ReportInputs) -> None:
    figure = claimed_vs_measured(default_inputs.results)
    assert figure is not None
    assert any("claimed up to +950 %" in a.text for a in figure.layout.annotations)
    assert figure.layout.xaxis.range[1] < 950
    evidence = all_claims(default_inputs.results)
    assert evidence is not None
    assert any("+900\N{EN DASH}950 %" in a.text for a in evidence.layout.annotations)


def test_learning_curves_are_the_mean_in_the_range_of_the_seeds(
    factorial_inputs: ReportInputs,
) -> None:
    arms, others = (
        learning_curves(factorial_inputs, others=False),
        learning_curves(factorial_inputs, others=True),
    )
    assert arms is not None
    assert others is not None
    assert len(arms.data) == 5 * 2 * 2  # a band and a line
    assert 3 * (len(arms.data) + len(others.data)) // 2 == len(factorial_inputs.curves)
    assert sum(bool(t.showlegend) for t in arms.data) == 5
    band, line = arms.data[:2]
    seeds = [
        c.validation for c in factorial_inputs.curves
        if (c.arm, c.task) == ("arm_1_baseline", factorial_inputs.results.tasks[0])
    ]  # fmt: skip
    assert len(seeds) == 3
    last = [100 * values[-1] for values in seeds if values[-1] is not None]
    assert line.y[-1] == pytest.approx(sum(last) / 3)
    middle = len(band.y) // 2
    assert (band.y[middle - 1], band.y[middle]) == pytest.approx((max(last), min(last)))


def test_one_seed_has_no_band(default_inputs: ReportInputs) -> None:
    alone = tuple(c for c in default_inputs.curves if c.seed == 0)
    figure = learning_curves(default_inputs.model_copy(update={"curves": alone}))
    assert figure is not None
    assert len(figure.data) == 5 * 2
    assert all(t.fill is None for t in figure.data)


def test_arms_differ_in_dash_as_well_as_in_colour(default_inputs: ReportInputs) -> None:
    figure = learning_curves(default_inputs)
    assert figure is not None
    styles = {(t.name, t.line.color, t.line.dash) for t in figure.data if t.fill is None}
    assert len({c for _, c, _ in styles}) == len({d for _, _, d in styles}) == len(styles) == 5


def test_heatmap_shows_accuracies(default_inputs: ReportInputs) -> None:
    figure = figures(default_inputs)["heatmap"]
    row = next(
        a for a in default_inputs.results.accuracies
        if (a.arm, a.task, a.primary) == ("arm_4_trm", MEAN_TASK, True)
    )  # fmt: skip
    assert figure.data[0].z[3][0] == pytest.approx(100 * row.estimate)


@pytest.mark.parametrize("reach", [(1.0, 1.05), (0.9, 1.1), (0.3, 40.0), (1.0, 1.0)])
def test_ratio_axis_has_few_ticks_and_always_one(reach: tuple[float, float]) -> None:
    axis = ratio_axis(reach)
    assert 1.0 in axis["tickvals"]
    assert len(axis["tickvals"]) <= 6
    assert 10 ** axis["range"][0] < reach[0]
    assert 10 ** axis["range"][1] > reach[1]


def test_a_ratio_axis_has_ticks_up_to_its_end() -> None:
    assert max(ratio_axis((0.91, 1.43))["tickvals"]) == 1.4


def test_words_over_the_first_row_stay_below_the_toolbar(default_inputs: ReportInputs) -> None:
    results = default_inputs.results

    def top(ceiling: float) -> float:
        first = next(c.component for c in gain_claims(results) if c.measured is not None)
        claims = [
            c.model_copy(update={"ceiling": ceiling} if c.component == first else {})
            for c in results.claims
            if c.section != "dreams"  # they lie beyond any axis
        ]
        figure = claimed_vs_measured(results.model_copy(update={"claims": tuple(claims)}))
        assert figure is not None
        words = [a for a in figure.layout.annotations if a.y < 0]
        assert bool(words) == (ceiling > 1)
        axis = figure.layout.yaxis.range
        pixels = (figure.layout.height - 150) / len(figure.layout.yaxis.tickvals)
        return 16 + pixels * (min((a.y for a in words), default=0) - axis[1])  # 16: the margin

    assert top(2.0) > 28 + 11 / 2  # the toolbar's height, half the words'
    assert top(0.2) < 60


def test_marks_of_ceilings_do_not_reach_into_the_next_row(default_inputs: ReportInputs) -> None:
    figure = claimed_vs_measured(default_inputs.results)
    assert figure is not None
    mark = next(t for t in figure.data if t.name == "ceiling of the measured baseline")
    words = 54 * (1 - 0.47) - 11 / 2  # pixels from a row to those over the row below
    assert 1.4 * mark.marker.size / 2 < words


def test_predictions_stand_beside_the_measured_total(factorial_inputs: ReportInputs) -> None:
    compound = factorial_inputs.results.compound()
    assert compound is not None
    assert compound.total is not None
    drawn = {t.name: t.x[0] for t in figures(factorial_inputs)["compounding"].data}
    assert drawn["measured, with interval"] == pytest.approx(compound.total.estimate)
    assert drawn["if points add"] == pytest.approx(compound.additive)
    assert drawn["if ratios multiply"] == pytest.approx(compound.multiplicative)
    assert drawn["if log-odds add"] == pytest.approx(compound.logit_additive)


def test_shares_without_shapley_come_from_leave_one_out(
    leave_one_out_results: StudyResults,
) -> None:
    figure = shares(leave_one_out_results)
    assert leave_one_out_results.shapley == ()
    assert figure is not None
    drawn = {t.name: sorted(t.x) for t in figure.data}
    assert set(drawn) == {"cumulative (added in order)", "leave one out (added last)"}
    wanted = sorted(
        100 * e.difference.estimate
        for e in leave_one_out_results.effects
        if e.kind == "leave_one_out" and e.task == MEAN_TASK and e.difference
    )
    assert set(drawn["leave one out (added last)"]) <= set(wanted)
    assert len(drawn["leave one out (added last)"]) >= 3


def test_figures_below_the_floor_are_pale_and_say_what_is_missing(
    default_inputs: ReportInputs,
) -> None:
    sentence = "Nothing is judged: 8 updates per model, at least 100 are needed. This run: smoke."
    floor = Floor(reached=False, run="smoke", reasons=("8 updates",), sentence=sentence)
    results = default_inputs.results.model_copy(update={"floor": floor})
    below = all_figures(default_inputs.model_copy(update={"results": results}))["forest"]
    above = all_figures(default_inputs)["forest"]
    assert "Nothing is judged" not in above.layout.title.text
    assert below.layout.title.text.startswith(above.layout.title.text)
    shown = below.layout.title.text.replace("</sup><br><sup>", " ")
    assert f"<sup>{sentence}</sup>" in shown
    assert {trace.opacity for trace in below.data} == {0.45}
    assert below.layout.yaxis.domain[1] == pytest.approx(0.88)  # the banner has its own room


def test_the_banner_of_a_figure_leaves_the_advice_to_the_report(
    default_inputs: ReportInputs,
) -> None:
    sentence = (
        "Nothing is judged: 8 updates per model, at least 100 are needed; no arm beat guessing. "
        "This run: smoke. What would help: more epochs."
    )
    floor = Floor(reached=False, run="smoke", reasons=("8 updates",), sentence=sentence)
    results = default_inputs.results.model_copy(update={"floor": floor})
    drawn = all_figures(default_inputs.model_copy(update={"results": results}))
    title = drawn["learning_curves"].layout.title.text
    assert "This run: smoke." in title
    assert max(len(line) for line in re.findall(r"<sup>(.*?)</sup>", title)) <= 66
    assert "help" not in title
    panels = [axis.domain for axis in drawn["learning_curves"].select_yaxes()]
    assert len(panels) == 2
    assert max(high for _, high in panels) == pytest.approx(0.88)
    names = [words.y for words in drawn["learning_curves"].layout.annotations]
    assert max(names) == pytest.approx(0.88)
