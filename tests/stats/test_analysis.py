import json
import re

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.claims.claims import Claims, StabilityFinding
from hybrid_pipeline.claims.study import analyse_with_claims
from hybrid_pipeline.config import ConfigError, EvaluationConfig
from hybrid_pipeline.stats.analysis import Study, chain_of
from hybrid_pipeline.stats.results import StudyResults
from hybrid_pipeline.stats.text import render_text

COMPONENTS = {
    "arm_1_baseline": (),
    "arm_2_clip": ("clip",),
    "arm_3_n2n": ("clip", "n2n"),
    "arm_4_trm": ("clip", "n2n", "trm"),
    "arm_5_coconut": ("clip", "n2n", "trm", "coconut"),
}
FAST = EvaluationConfig(num_resamples=200)


def run(table, arms, **kwargs):
    given = {"components": COMPONENTS, "evaluation": FAST, **kwargs}
    claims, stability = given.pop("claims", None), given.pop("stability", None)
    if "diverged" in given:
        given["diverged"] = {1.0: given["diverged"]}
    return analyse_with_claims(Study(table, list(arms), **given), claims, stability)


def curves_of(arms, tasks, seeds, *, last_fifth=0.0, final=0.5):
    """Validation scores at 80 and 100 % of 1,000 updates."""
    rows = [
        (arm, seed, task, step, final - last_fifth * (step < 1000))
        for arm in arms
        for task in tasks
        for seed in seeds
        for step in (400, 800, 1000)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "task", "step", "score"])


@pytest.fixture
def table(make_table, chain):
    return make_table(dict(zip(chain, (0.3, 0.5, 0.5, 0.6, 0.55), strict=True)),
                      tasks=("maze", "sudoku"), seed_sd=0.02, slots=4, seeds=range(5))  # fmt: skip


def test_a_study_from_end_to_end(table, chain):
    results = run(table, chain, chance={"maze": 0.25, "sudoku": 0.25}, provenance={"commit": "c"})
    assert results.arms == chain
    assert [e.component for e in results.stages()] == ["clip", "n2n", "trm", "coconut"]
    first = results.stages()[0]
    new = table[table["arm"] == "arm_2_clip"]["correct"].mean()
    old = table[table["arm"] == "arm_1_baseline"]["correct"].mean()
    assert first.difference.estimate == pytest.approx(new - old)
    assert first.kappa_difference == pytest.approx((new - old) / 0.75)
    assert first.error_reduction == pytest.approx(1 - (1 - new) / (1 - old), abs=0.01)
    assert first.num_examples == 200
    assert first.num_seeds == 5
    assert first.verdict_code.startswith("helps")
    assert first.bootstrap.low < first.difference.estimate < first.bootstrap.high
    assert first.p_adjusted >= first.p
    assert results.total().p_adjusted == results.total().p
    assert results.effect("arm_3_n2n", "arm_2_clip", "maze").task == "maze"
    assert results.effect("arm_2_clip", "arm_3_n2n") is None
    assert results.missing == ()
    assert results.provenance == {"commit": "c"}


def test_relative_gain_over_tasks_is_the_geometric_mean(table, chain):
    total = run(table, chain).total()
    by = table.groupby(["task", "arm"])["correct"].mean().unstack()
    ratios = by["arm_5_coconut"] / by["arm_1_baseline"]
    assert 1 + total.relative.estimate == pytest.approx(np.exp(np.log(ratios).mean()))


def test_the_sequential_product_is_the_directly_measured_total(table, chain):
    compound = run(table, chain).compound()
    assert compound.sequential_product == pytest.approx(compound.total.estimate)
    assert "not evidence" in compound.note
    assert compound.interaction is None
    assert compound.additive is None


def test_the_total_is_not_combined_from_stage_intervals(table, chain):
    """Adjacent stages correlate negatively; combining their variances would be too wide."""
    results = run(table, chain)
    halves = [(e.difference.high - e.difference.low) / 2 for e in results.stages()]
    total = results.total().difference
    assert (total.high - total.low) / 2 < np.sqrt(np.sum(np.square(halves)))


def test_json_round_trip(table, chain, tmp_path):
    results = run(table, chain)
    text = results.to_json()
    assert "NaN" not in text
    assert StudyResults.from_json(text) == results
    json.loads(text)


def test_results_are_reproducible(table, chain):
    shuffled = table.sample(frac=1, random_state=3)
    shuffled["arm"] = pd.Categorical(shuffled["arm"], chain)
    ordered = shuffled.sort_values(["arm", "task"]).astype({"arm": str})
    assert run(ordered, chain).effects == run(table, chain).effects


def test_the_other_metric_stands_beside(table, chain):
    rows = run(table, chain, metrics={"maze": "slots"}).accuracies
    shown = {(r.task, r.metric, r.primary) for r in rows}
    assert ("maze", "slots", True) in shown
    assert ("maze", "correct", False) in shown
    assert ("sudoku", "slots", False) in shown
    assert ("mean", "primary of each task", True) in shown
    assert {r.supervision_steps for r in rows} == {2.0}
    assert set(rows[0].by_seed) == {0, 1, 2, 3, 4}


def test_accuracy_intervals_stay_inside_zero_and_one(make_table, chain):
    table = make_table(dict.fromkeys(chain, 0.98), seed_sd=0.02)
    highs = [r.interval.high for r in run(table, chain).accuracies]
    assert max(highs) <= 1.0


def test_equal_arms_without_any_variance(make_table, chain):
    """Arms that all predict the majority have not been told apart: no effect was shown absent."""
    for value in (0.0, 0.56, 1.0):
        results = run(make_table(dict.fromkeys(chain, value)), chain)
        assert {e.verdict for e in results.effects} == {
            "not evaluable: both arms score the same on every example, which does not tell them "
            "apart"
        }
        assert {e.difference for e in results.effects} == {None}
        assert (results.paired_sd, results.power, results.compound().total) == (None, (), None)
        assert (
            f"On maze every arm scores the same on every example ({100 * value:.1f} % in all): it "
            "cannot tell the arms apart."
        ) in results.notes
        render_text(results)


def test_two_equal_arms_among_others(make_table, chain):
    table = make_table(dict(zip(chain, (0.3, 0.5, 0.5, 0.6, 0.7), strict=True)))
    results = run(table, chain)
    codes = {e.arm: e.verdict_code for e in results.stages()}
    assert codes["arm_3_n2n"] == "not_evaluable"
    assert codes["arm_2_clip"].startswith("helps")
    assert not any("cannot tell" in note for note in results.notes)


def test_equal_accuracies_of_different_answers_are_evaluable(make_table):
    table = make_table({"a": 0.5, "b": 0.5})
    other = table["arm"] == "b"
    table.loc[other, "correct"] = 1 - table.loc[other, "correct"]
    results = run(table, ["a", "b"], components={})
    assert results.total().p == pytest.approx(1.0)
    assert results.total().difference.high > 0


def test_accuracy_zero_leaves_ratios_undefined(make_table, chain):
    accuracies = dict(zip(chain, (-1.0, 0.2, 0.3, 0.4, 0.5), strict=True))
    results = run(make_table(accuracies, seed_sd=0.01), chain)
    assert results.total().relative is None
    assert results.total().log_odds is None
    assert results.compound().note.startswith("Not defined")
    assert "not defined" in render_text(results)


def test_a_hole_in_the_chain(table, chain):
    holed = table[~((table["arm"] == "arm_4_trm") & (table["seed"] == 2))]
    results = run(holed, chain, diverged={"arm_4_trm": [2]})
    assert {(m.arm, m.seed, m.reason) for m in results.missing} == {("arm_4_trm", 2, "diverged")}
    assert results.compound().total is None
    assert "hole at arm_4_trm" in results.compound().note
    stages = {e.arm: e for e in results.stages()}
    assert stages["arm_2_clip"].num_seeds == 5
    assert stages["arm_4_trm"].num_seeds == 4
    assert stages["arm_4_trm"].verdict == "not evaluable: 1 diverged seeds, 0 allowed"
    text = render_text(results)
    assert "Missing cells (nothing is imputed)" in text


def test_allowed_divergence_uses_complete_seeds(table, chain):
    holed = table[~((table["arm"] == "arm_4_trm") & (table["seed"] == 2))]
    allow = FAST.model_copy(update={"max_diverged_seeds": 1})
    stage = run(holed, chain, diverged={"arm_4_trm": [2]}, evaluation=allow).stages()[2]
    kept = holed[holed["seed"] != 2].groupby("arm")["correct"].mean()
    assert stage.num_seeds == 4
    assert stage.difference.estimate == pytest.approx(kept["arm_4_trm"] - kept["arm_3_n2n"])


def test_an_arm_without_any_scores(table, chain):
    results = run(table[table["arm"] != "arm_3_n2n"], chain)
    stages = {e.arm: e for e in results.stages()}
    assert stages["arm_3_n2n"].verdict == "not evaluable: 0 complete seeds, 3 needed"
    assert stages["arm_3_n2n"].accuracy is None
    assert len(results.missing) == 10
    assert results.total().difference is not None


def test_an_arm_without_one_task_has_no_mean(table, chain):
    holed = table[(table["arm"] != "arm_3_n2n") | (table["task"] != "maze")]
    results = run(holed, chain)
    shown = {(r.arm, r.task) for r in results.accuracies}
    assert ("arm_3_n2n", "sudoku") in shown
    assert ("arm_3_n2n", "mean") not in shown
    assert results.effect("arm_3_n2n", "arm_2_clip", "sudoku").difference is not None
    assert results.effect("arm_3_n2n", "arm_2_clip").difference is None


def test_two_seeds_are_not_evaluable(make_table, chain):
    results = run(make_table(dict.fromkeys(chain, 0.5), seeds=(0, 1)), chain)
    assert {e.verdict_code for e in results.effects} == {"not_judged"}
    assert results.paired_sd is None
    assert results.power == ()
    assert results.headline == (
        "Nothing is judged: 2 seeds, at least 3 are needed. This run: 2 seeds. "
        "What would help: ablation.num_seeds=3."
    )
    assert results.accuracies[0].interval is None
    assert "%" in render_text(results)


def test_expected_seeds_that_never_ran(table, chain):
    missing = run(table, chain, seeds=range(6)).missing
    assert {m.seed for m in missing} == {5}


def test_controls(table, chain, make_table):
    extra = make_table({"control_deep_core": 0.58, "control_wide_vit": 0.5},
                       tasks=("maze", "sudoku"), seed_sd=0.02, slots=4, seeds=range(5),
                       rng_seed=9)  # fmt: skip
    both = pd.concat([table, extra], ignore_index=True)
    controls = {"control_deep_core": "arm_4_trm", "control_wide_vit": "arm_1_baseline",
                "control_mlp_adapter": "arm_3_n2n"}  # fmt: skip
    results = run(both, [*chain, *controls], controls=controls)
    rows = {(r.control, r.task): r for r in results.controls}
    assert rows["control_wide_vit", "mean"].verdict == "loses to its control"
    assert rows["control_wide_vit", "mean"].difference.high < 0
    assert rows["control_mlp_adapter", "mean"].verdict.startswith("not evaluable")
    assert rows["control_deep_core", "maze"].num_seeds == 5
    assert results.arms == chain
    assert "Controls" in render_text(results)


def test_controls_are_corrected_for_their_number(make_table, chain):
    """By hand: Holm multiplies the smallest p of two by 2; one control alone is one test."""
    accuracies = {**dict.fromkeys(chain, 0.5), "control_deep_core": 0.43, "control_wide_vit": 0.5}
    table = make_table(accuracies, seed_sd=0.02, rng_seed=15)
    one = {"control_deep_core": "arm_4_trm"}
    two = {**one, "control_wide_vit": "arm_5_coconut"}
    alone = run(table, chain, controls=one).controls[0]
    corrected = run(table, chain, controls=two).controls[0]
    assert 0.025 < alone.p < 0.05
    assert (alone.p_adjusted, alone.verdict) == (alone.p, "beats its control")
    assert corrected.p_adjusted == pytest.approx(2 * alone.p)
    assert corrected.verdict == "does not beat its control"
    assert corrected.difference == alone.difference
    assert corrected.difference.low > 0  # the interval is that of a single comparison


def test_a_control_that_is_beaten(make_table, chain):
    accuracies = {**dict.fromkeys(chain, 0.6), "control_deep_core": 0.3}
    results = run(make_table(accuracies, seed_sd=0.01), chain,
                  controls={"control_deep_core": "arm_4_trm"})  # fmt: skip
    assert results.controls[0].beats_control is True


def test_unknown_arms_are_named_not_analysed(table, chain):
    results = run(table, chain[:4])
    assert any("arm_5_coconut" in note for note in results.notes)
    assert results.arms == chain[:4]


def test_few_seeds_carry_a_note(make_table, chain):
    notes = run(make_table(dict.fromkeys(chain, 0.5)), chain).notes
    assert any(note.startswith("With 3 seeds") for note in notes)


def test_a_single_arm(make_table):
    results = run(make_table({"arm_1_baseline": 0.5}), ["arm_1_baseline"])
    assert results.effects == ()
    assert "nothing to compare" in results.headline


def test_chain():
    assert chain_of(["x", "y"], {}) == ("x", "y")
    assert chain_of(["x", "c"], {}, ["c"]) == ("x",)
    sets = {**COMPONENTS, "subset_TK": ("trm", "coconut")}
    assert chain_of([*sets, "stranger"], sets) == tuple(COMPONENTS)
    with pytest.raises(ValueError, match="at least one arm"):
        chain_of(["c"], {}, ["c"])


def claims_of(*statements):
    return Claims(source="test", statements=statements)


def test_measured_effects_feed_the_claims(make_table, chain):
    accuracies = dict(zip(chain, (0.5, 0.6, 0.6, 0.66, 0.66), strict=True))
    table = make_table(accuracies, seed_sd=0.004, seeds=range(5), num_examples=400)
    claims = claims_of(
        {"id": "right", "section": "s", "quote": "q", "kind": "gain", "unit": "gain",
         "value": 0.2, "component": "clip"},
        {"id": "wrong", "section": "s", "quote": "q", "kind": "gain", "unit": "gain",
         "value": [0.4, 0.5], "component": "clip"},
        {"id": "above", "section": "s", "quote": "q", "kind": "gain", "unit": "gain",
         "value": 1.5, "component": "total"},
        {"id": "low", "section": "s", "quote": "q", "kind": "gain", "unit": "gain",
         "value": 0.01, "component": "arm_2_clip", "task": "maze"},
        {"id": "room", "section": "s", "quote": "q", "kind": "ceiling", "unit": "gain",
         "value": 0.65},
        {"id": "noroom", "section": "s", "quote": "q", "kind": "ceiling", "unit": "gain",
         "value": 1.5},
        {"id": "smooth", "section": "s", "quote": "q", "kind": "stability",
         "topic": "smoother_low_lr"},
    )  # fmt: skip
    smooth = {"smoother_low_lr": StabilityFinding(outcome="supported", detail="5 seeds")}
    flat = curves_of(chain, ("maze",), range(5))
    found = run(table, chain, claims=claims, stability=smooth, validations=flat).claims
    codes = {row.id: row.verdict_code for row in found}
    assert codes == {
        "right": "compatible_not_confirmed", "wrong": "refuted", "above": "impossible_here",
        "low": "exceeded", "room": "compatible_not_confirmed", "noroom": "impossible_here",
        "smooth": "holds",
    }  # fmt: skip
    rows = {row.id: row for row in found}
    assert rows["above"].ceiling == pytest.approx(1.0, abs=0.02)
    assert rows["wrong"].measured.estimate == pytest.approx(0.2, abs=0.02)
    assert (rows["wrong"].claimed_low, rows["wrong"].claimed_high) == (0.4, 0.5)
    assert "below" not in rows["wrong"].detail
    assert "Claims" in render_text(run(table, chain, claims=claims))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"kind": "gain", "value": 0.1, "component": "CLIP"},
         "unknown component 'CLIP' (allowed: clip, n2n, trm, coconut, "),
        ({"kind": "gain", "value": 0.1, "component": "clip", "task": "maize"},
         "unknown task 'maize' (allowed: mean, maze)"),
        ({"kind": "ceiling", "value": 0.1, "task": "maize"}, "unknown task 'maize'"),
        ({"kind": "stability", "topic": "smooth"},
         "unknown topic 'smooth' (allowed: nan_risk_high_lr, smoother_low_lr"),
    ],
)  # fmt: skip
def test_a_claim_about_a_name_that_nobody_knows_is_refused(make_table, chain, statement, words):
    claims = claims_of({"id": "mine", "section": "s", "quote": "q", **statement})
    with pytest.raises(ConfigError, match=re.escape(f"claim 'mine' names the {words}")) as error:
        run(make_table(dict.fromkeys(chain, 0.5)), chain, claims=claims)
    assert "\n" not in str(error.value)


def test_arms_and_topics_of_the_study_may_be_named(make_table):
    claims = claims_of(
        {"id": "a", "section": "s", "quote": "q", "kind": "gain", "value": 0.1,
         "component": "tuned", "task": "maze"},
        {"id": "b", "section": "s", "quote": "q", "kind": "stability", "topic": "mine"},
    )  # fmt: skip
    table = make_table({"plain": 0.5, "tuned": 0.6}, seed_sd=0.02)
    found = run(table, ["plain", "tuned"], components={}, claims=claims,
                stability={"mine": StabilityFinding(outcome="supported")})  # fmt: skip
    assert [row.verdict_code for row in found.claims] == ["compatible_not_confirmed", "holds"]
