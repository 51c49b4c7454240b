"""The table at the end of a run."""

from __future__ import annotations

from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.terminal import terminal_text
from hybrid_pipeline.report.wording import percent


def test_every_arm_accuracy_and_verdict_is_there(default_inputs: ReportInputs) -> None:
    results = default_inputs.results
    text = terminal_text(results, width=160)
    for row in results.accuracies:
        if row.primary:
            assert percent(row.estimate) in text
    assert text.count("helps by at least 1 point") == 4  # title, CLIP, TRM, all stages
    assert "underpowered" in text
    assert max(map(len, text.splitlines())) <= 160


def test_minutes_are_summed_over_tasks(default_inputs: ReportInputs) -> None:
    minutes = {"arm_1_baseline": {"sudoku_4x4": 1.25, "maze_4x4": 2.5}}
    text = terminal_text(default_inputs.results, minutes, width=160)
    first = next(line for line in text.splitlines() if "1 Custom ViT" in line)
    assert first.rstrip(" │").endswith("3.8")
    assert "Minutes" not in terminal_text(default_inputs.results, width=160)


def test_few_seeds_say_so(sparse_inputs: ReportInputs) -> None:
    said = terminal_text(sparse_inputs.results)
    assert "2 seeds, at least 3 are needed" in said
    assert "not judged" in said
