"""Tables say what the results say."""

from __future__ import annotations

import html
import re

import pytest

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.report.arm_tables import ARMS_COLUMNS, arms_table, effects_table
from hybrid_pipeline.report.audit_tables import (
    VERDICTS_NOTE,
    audit_table,
    claimed_text,
    claims_table,
    extra_table,
    flattened,
    gain_claims,
    missing_table,
    provenance_table,
)
from hybrid_pipeline.report.costs import arm_cost
from hybrid_pipeline.report.evidence_tables import (
    compound_table,
    controls_table,
    halting_table,
    inner_life_table,
    power_table,
    shapley_table,
)
from hybrid_pipeline.report.first_screen import shares_sentence
from hybrid_pipeline.report.inputs import CellRecord, ReportInputs
from hybrid_pipeline.report.tables import Column, Entry, Table
from hybrid_pipeline.report.wording import MINUS, NONE, interval_text, points
from hybrid_pipeline.stability.section import ExtraTable
from hybrid_pipeline.stats.results import MEAN_TASK, ControlRow


def number(text: str) -> float:
    """The first number of an entry."""
    found = re.search(rf"[+{MINUS}]?\d+(\.\d+)?", text)
    assert found is not None, text
    return float(found[0].replace(MINUS, "-"))


def column(table: Table, title: str) -> list[Entry]:
    index = [c.title for c in table.columns].index(title)
    return [row[index] for row in table.rows]


@pytest.mark.parametrize("task", [MEAN_TASK, "sudoku_4x4", "maze_4x4"])
def test_arms_table_equals_the_results(default_inputs: ReportInputs, task: str) -> None:
    results = default_inputs.results
    table = arms_table(default_inputs, task)
    accuracies = {a.arm: a for a in results.accuracies if a.task == task and a.primary}
    effects = [*results.stages(task), results.total(task)]
    assert [c.title for c in table.columns] == [c.title for c in ARMS_COLUMNS]
    for arm, entry in zip(results.arms, column(table, "Accuracy"), strict=False):
        assert number(entry.text) == pytest.approx(100 * accuracies[arm].estimate, abs=0.051)
        interval = accuracies[arm].interval
        assert interval is not None
        assert number(entry.small) == pytest.approx(100 * interval.low, abs=0.051)
    names = ("Difference, points", "Relative", "Errors removed", "Verdict")
    rows = zip(*(column(table, n)[1:] for n in names), strict=True)
    for effect, (difference, relative, errors, verdict) in zip(effects, rows, strict=True):
        assert effect is not None
        assert effect.difference is not None
        assert effect.relative is not None
        assert effect.error_reduction is not None
        assert number(difference.text) == pytest.approx(100 * effect.difference.estimate, abs=0.051)
        assert number(difference.small) == pytest.approx(100 * effect.difference.low, abs=0.051)
        assert number(relative.text) == pytest.approx(100 * effect.relative.estimate, abs=0.51)
        assert number(errors.text) == pytest.approx(100 * effect.error_reduction, abs=0.51)
        assert effect.verdict.startswith(verdict.text)
        assert effect.verdict.endswith(verdict.small)


def test_costs_by_hand(default_inputs: ReportInputs) -> None:
    def cell(seed: int, task: str) -> CellRecord:
        return CellRecord(
            arm="arm_1_baseline", seed=seed, task=task,
            parameters=100, flops_per_example=2e6 if task == "a" else 4e6,
        )  # fmt: skip

    records = (cell(0, "a"), cell(1, "a"), cell(0, "b"), cell(1, "b"))
    inputs = default_inputs.model_copy(update={"cells": records})
    cost = arm_cost(inputs, "arm_1_baseline")
    assert cost.flops == pytest.approx(3e6)
    assert cost.parameters == (100, 100)
    assert arm_cost(inputs, "arm_1_baseline", "a").flops == pytest.approx(2e6)
    assert arm_cost(inputs, "arm_2_clip").flops is None


def test_differences_without_interval_say_so(sparse_inputs: ReportInputs) -> None:
    table = arms_table(sparse_inputs, MEAN_TASK)
    assert {c.small for c in column(table, "Difference, points")[1:]} == {"no interval"}
    assert {c.text for c in column(table, "Verdict")[1:]} == {"not judged"}


def test_effects_table_has_every_comparison(full_inputs: ReportInputs) -> None:
    effects = [e for e in full_inputs.results.effects if e.kind != "control"]
    table = effects_table(full_inputs.results)
    assert len(table.rows) == len(effects)
    assert len(table.emphasised) == sum(e.kind == "total" for e in effects)
    assert sorted(number(c.text) for c in column(table, "Difference, points")) == pytest.approx(
        sorted(100 * e.difference.estimate for e in effects if e.difference), abs=0.051
    )


def test_claims_table_is_sorted_and_equals_the_claims(default_inputs: ReportInputs) -> None:
    results = default_inputs.results
    claims = gain_claims(results)
    assert [c.component for c in claims] == [
        "clip", "clip", "n2n", "n2n", "trm", "coconut", "total", "total"
    ]  # fmt: skip
    assert [claimed_text(c) for c in claims[:2]] == ["+30 %", "+5\N{EN DASH}20 %"]
    verdicts = [c.text for c in column(claims_table(results), "Verdict on the claim")]
    assert verdicts == [c.verdict for c in claims]
    assert verdicts[-1] == "impossible here"


def test_audit_table_has_every_statement(default_inputs: ReportInputs) -> None:
    table = audit_table(default_inputs.results)
    assert [c.text for c in column(table, "Statement")] == [
        c.quote for c in default_inputs.results.claims
    ]
    assert table.rows[-2][4].text == "holds"
    assert table.rows[-1][4].text == "does not hold"


def test_missing_table_joins_holes_and_failures(full_inputs: ReportInputs) -> None:
    rows = [[c.text for c in row] for row in missing_table(full_inputs).rows]
    assert rows == [
        ["4 + TRM", "2", "maze 4x4", "diverged at step 214: loss is NaN"],
        ["4 + TRM", "2", "sudoku 4x4", "no scores"],
    ]


def test_compound_figures_stand_side_by_side(factorial_inputs: ReportInputs) -> None:
    compound = factorial_inputs.results.compound()
    assert compound is not None
    row = [c.text for c in compound_table(factorial_inputs.results).rows[0]][2:5]
    wanted = [compound.measured, compound.additive, compound.multiplicative]
    assert [number(t) for t in row] == pytest.approx(wanted, abs=0.0051)


def test_a_chain_with_a_hole_has_no_compound_row(full_inputs: ReportInputs) -> None:
    assert compound_table(full_inputs.results).rows == []


def test_a_note_on_one_task_says_which(factorial_inputs: ReportInputs) -> None:
    results = factorial_inputs.results
    mean, *others = results.compounds
    assert len(compound_table(results).notes) == 1  # the same is said of all
    silent = mean.model_copy(update={"note": "Not judged: subset_T still learning."})
    mixed = results.model_copy(update={"compounds": (silent, *others)})
    first, second = compound_table(mixed).notes
    assert first == "On the mean over tasks: Not judged: ViT + TRM still learning."
    assert second.startswith("On sudoku 4x4, maze 4x4: The product of the stage ratios")


def test_page_one_says_what_a_factorial_design_adds(
    factorial_inputs: ReportInputs, default_inputs: ReportInputs
) -> None:
    sentence = shares_sentence(factorial_inputs.results)
    assert sentence.startswith("Averaged over all orders of adding them (Shapley), in points: CLIP")
    shares = [r for r in factorial_inputs.results.shapley
              if r.task == "mean" and r.scale == "difference"]  # fmt: skip
    assert len(shares) == 4
    for share in shares:
        assert f"{points(share.shapley.estimate)} {interval_text(share.shapley)}" in sentence
    assert shares_sentence(default_inputs.results) == ""


def test_shares_controls_power_and_inner_life(full_inputs: ReportInputs) -> None:
    results = full_inputs.results
    first = results.shapley[0]
    table = shapley_table(results)
    assert number(table.rows[0][2].text) == pytest.approx(100 * first.shapley.estimate, abs=0.051)
    assert len(controls_table(results).rows) == len(results.controls) > 0
    assert len(power_table(results).rows) == len(results.power)
    assert power_table(results).emphasised == {1}  # five seeds are the second of 3, 5, 8, ...
    halting = halting_table(full_inputs)
    assert all("TRM" in row[0].text or "path" in row[0].text or "COCONUT" in row[0].text
               for row in halting.rows)  # fmt: skip
    inner = inner_life_table(full_inputs)
    assert "1 Custom ViT" not in {row[0].text for row in inner.rows}


def test_provenance_is_flat_and_keeps_its_order(default_inputs: ReportInputs) -> None:
    assert flattened({"b": {"y": 1, "x": [1, 2]}, "a": "text", "n": None}) == [
        ("b.y", "1"), ("b.x", "1, 2"), ("a", "text"), ("n", "null")
    ]  # fmt: skip
    rows = {r[0].text: r[1].text for r in provenance_table(default_inputs).rows}
    assert rows["commit"] == "0" * 40
    assert rows["tower.key"] == "0123456789abcdef"
    assert rows["seeds"] == "0, 1, 2"


class TestFaces:
    table = Table(
        "t", "A & B", [Column("x|y", "left"), Column("n", group="g")],
        [[Entry("<b>", "s|t"), Entry("1", tone="gain")], [Entry("a"), Entry(NONE)]],
        ("note",), frozenset({1}),
    )  # fmt: skip

    def test_markdown(self) -> None:
        lines = self.table.to_markdown().splitlines()
        assert lines[0] == "**A & B**"
        assert lines[2] == "| x\\|y | g: n |"
        assert lines[3] == "| --- | ---: |"
        assert lines[4] == "| &lt;b> s\\|t | \N{BLACK UP-POINTING TRIANGLE} 1 |"
        assert lines[5] == f"| **a** | **{NONE}** |"
        assert lines[-1] == "*note*"

    def test_html_escapes_and_scrolls(self) -> None:
        page = self.table.to_html()
        assert "<b>" not in page
        assert html.escape("<b>") in page
        assert 'class="table-scroll narrow"' in page
        assert "<style" not in page
        assert 'id="table-t-g"' in page
        assert page == self.table.to_html()

    def test_blank_columns_go(self) -> None:
        table = Table("t", "", [Column("a"), Column("b")], [[Entry("1"), Entry(NONE)]])
        assert [c.title for c in table.without_blank_columns(NONE).columns] == ["a"]

    def test_a_row_of_the_wrong_length_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 entries for 1 columns"):
            Table("t", "", [Column("a")], [[Entry("1"), Entry("2")]])

    def test_an_empty_table_is_nothing(self) -> None:
        empty = Table("t", "title", [Column("a")], [])
        assert (empty.to_html(), empty.to_markdown()) == ("", "")


def test_the_level_of_the_intervals_is_said_as_it_is(
    default_inputs: ReportInputs, sequential_inputs: ReportInputs
) -> None:
    for inputs, said in ((default_inputs, "95 %"), (sequential_inputs, "98.42 %")):
        notes = arms_table(inputs, MEAN_TASK).notes
        assert notes[0].startswith(f"{said} intervals in brackets")


def test_refuted_is_said_with_its_scope(default_inputs: ReportInputs) -> None:
    for table in (claims_table(default_inputs.results), audit_table(default_inputs.results)):
        assert VERDICTS_NOTE in table.notes


def test_a_loss_to_a_control_has_a_tone_of_its_own(full_inputs: ReportInputs) -> None:
    rows = [
        ControlRow(
            arm="arm_4_trm", control="control_deep_core", task=MEAN_TASK, difference=None,
            num_seeds=3, beats_control=beats, verdict=words, p_adjusted=0.02,
        )
        for beats, words in (
            (True, "beats its control"), (False, "does not beat its control"),
            (False, "loses to its control"), (None, "not evaluable"),
        )
    ]  # fmt: skip
    results = full_inputs.results.model_copy(update={"controls": tuple(rows)})
    tones = [entry.tone for entry in column(controls_table(results), "Verdict")]
    assert tones == ["gain", "open", "loss", "blank"]
    table = controls_table(results)
    assert {entry.text for entry in column(table, "p Holm")} == {".020"}
    assert any("Holm-corrected over the controls" in note for note in table.notes)


def test_every_comparison_says_its_power_once(default_inputs: ReportInputs) -> None:
    table, effects = effects_table(default_inputs.results), default_inputs.results.effects
    verdicts, power = column(table, "Verdict"), column(table, "MDE80, points")
    open_ones = [v for v in verdicts if v.text == "underpowered"]
    assert len(open_ones) == sum(e.verdict_code == "underpowered" for e in effects) > 0
    assert {v.small for v in open_ones} == {""}
    needed = sorted(f"{e.seeds_needed:,} seeds" for e in effects if e.seeds_needed is not None)
    assert sorted(entry.small for entry in power if entry.small) == needed
    corrected = [entry.small for entry in column(table, "p")]
    assert all(text.startswith("Holm ") for text in corrected if text)
    assert any(corrected)


def test_text_of_a_ready_made_table_stands_left_and_numbers_right() -> None:
    extra = ExtraTable(
        title="t",
        columns=("setting", "promised", "measured", "spikes", "ratio"),
        rows=(("a", "fewer", "3.1 against 2.9 in 3 of 5 seeds", "2", f"{MINUS}0.5"),
              ("b", "more", "no difference", NONE, "1 %")),
    )  # fmt: skip
    table = extra_table(extra, "x")
    assert [c.align for c in table.columns] == ["left", "left", "left", "right", "right"]


def fixed_depths(inputs: ReportInputs) -> ReportInputs:
    """The same inputs with scores of each fixed depth in cells of two steps, one in the others."""
    cells = []
    for cell in inputs.cells:
        depths = (0.25, 0.5) if "trm" in find_arm(cell.arm).components else (0.25,)
        policies = cell.policies.model_copy(update={"fixed": depths})
        cells.append(cell.model_copy(update={"policies": policies}))
    return inputs.model_copy(update={"cells": tuple(cells)})


def test_halting_lists_arms_with_an_agent_beside_every_fixed_depth(
    full_inputs: ReportInputs,
) -> None:
    given = fixed_depths(full_inputs)
    probe = given.cells[0].model_copy(update={"arm": "control_deep_core"})
    table = halting_table(given.model_copy(update={"cells": (*given.cells, probe)}))
    arms = {row[0].text for row in table.rows}
    assert {"4 + TRM", "5 + COCONUT"} <= arms
    assert not arms & {
        "1 Custom ViT",
        "2 + frozen CLIP",
        "3 + N2N adapter",
        "deeper network, no recursion",
    }
    assert {c.text for c in column(table, "Fixed, 1 step")} == {"25.0 %"}
    assert {c.text for c in column(table, "Fixed, 2 steps")} == {"50.0 %"}
    assert {"Random", "Oracle, uses the label"} <= {c.title for c in table.columns}


def test_flops_are_of_full_depth_and_halting_earlier_is_said(default_inputs: ReportInputs) -> None:
    table = arms_table(fixed_depths(default_inputs), MEAN_TASK)
    assert [c.text for c in column(table, "Steps where the DQN halts")][3] == "1.70"
    assert any("4 + TRM 1.700 of 2; 5 + COCONUT 1.700 of 2" in note for note in table.notes)


def test_the_adapter_that_is_trained_without_labels_is_said(default_inputs: ReportInputs) -> None:
    table = arms_table(default_inputs, MEAN_TASK)
    shown = [c.text for c in column(table, "Parameters, without the tower")]
    assert shown == ["199 k", "213 k", "434 k", "434 k", "441 k", ""]
    said = "include those of the N2N adapter, which are trained without labels"
    assert any(said in note for note in table.notes)


def test_errors_of_the_adapter_show_their_seeds(default_inputs: ReportInputs) -> None:
    cells = [c for c in default_inputs.cells if c.arm == "arm_3_n2n" and c.task == "maze_4x4"]
    errors = (0.0574, 0.0577, 0.0583)
    changed = [c.model_copy(update={"n2n_error": e}) for c, e in zip(cells, errors, strict=True)]
    table = inner_life_table(default_inputs.model_copy(update={"cells": tuple(changed)}))
    entry = column(table, "N2N error")[0]
    assert (entry.text, entry.small) == ("0.0578", "0.0574 to 0.0583")
    assert any("suggests that the adapter denoises" in note for note in table.notes)
