"""The time left: hand values of a study whose arms differ in cost."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from torch import nn

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.kedro_ext.display import RunDisplay, overview, plain_line
from hybrid_pipeline.kedro_ext.pace import time_left
from hybrid_pipeline.kedro_ext.progress import CellName, Progress, ProgressFile
from hybrid_pipeline.kedro_ext.work import WorkProcess, count
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.training.cost import flops_per_example
from hybrid_pipeline.training.work import update_flops, work_of_arms

WORK = {"arm_1": 100.0, "arm_5": 500.0}
SHAPE = InputShape(16, 4, 3, (2, 2), clip_tokens=4, clip_width=8)


def _cell(arm: str, seed: int) -> CellName:
    return CellName.from_tags(f"train_{arm}_{seed}", {"cell", f"arm.{arm}", f"seed.{seed}"})


def _done(cell: CellName, start: float, end: float) -> Progress:
    return Progress(cell, "done", start, end, trained=True)


def _running(cell: CellName, start: float, percent: int) -> Progress:
    return Progress(cell, "running", start, start, percent, 100, trained=True)


ONE, FIVE = _cell("arm_1", 0), _cell("arm_5", 0)


def test_an_arm_that_has_not_begun_costs_what_its_flops_say() -> None:
    left = time_left([ONE, FIVE], [_done(ONE, 0.0, 60.0)], 60.0, WORK)
    assert (left.seconds, left.is_least) == (pytest.approx(300.0), False)  # five times 60 s
    unweighed = time_left([ONE, FIVE], [_done(ONE, 0.0, 60.0)], 60.0)
    assert (unweighed.seconds, unweighed.is_least) == (pytest.approx(60.0), True)


def test_the_estimate_does_not_jump_when_the_dearest_arm_begins() -> None:
    """Its seconds per FLOP are 20 % more than those of arm 1: 300 s become 360 s by and by."""
    first = _done(ONE, 0.0, 60.0)
    whole = [300.0]  # of the cell of arm 5, as estimated at the start and at 3, 10, 50 and 100 %
    for percent in (3, 10, 50, 100):
        spent = 3.6 * percent
        left = time_left([ONE, FIVE], [first, _running(FIVE, 60.0, percent)], 60.0 + spent, WORK)
        assert left.seconds is not None
        whole.append(spent + left.seconds)
    assert whole == sorted(whole)
    assert max(b - a for a, b in itertools.pairwise(whole)) < 30.0
    assert whole[-1] == pytest.approx(360.0)
    half = (180.0 + 0.25 * 5 * (60 + 180) / (1 + 2.5)) / 0.75  # by hand, at 50 %
    assert whole[3] == pytest.approx(180.0 + half / 2)


def test_between_two_cells_the_number_of_processes_stays() -> None:
    cells = [_cell("arm_1", seed) for seed in range(6)]
    both = [_done(cells[0], 0.0, 60.0), _done(cells[1], 0.0, 60.0)]
    assert time_left(cells, both, 60.0, WORK).seconds == pytest.approx(4 * 60 / 2)
    one = [*both, _running(cells[2], 60.0, 50)]  # the other process has not taken its next cell
    assert time_left(cells, one, 90.0, WORK).seconds == pytest.approx((30 + 3 * 60) / 2)
    in_turn = [_done(cells[0], 0.0, 60.0), _done(cells[1], 60.0, 120.0)]
    assert time_left(cells, in_turn, 120.0, WORK).seconds == pytest.approx(4 * 60)


def test_a_cell_that_failed_or_was_found_says_nothing() -> None:
    failed = Progress(ONE, "failed", 0.0, 5.0, 1, 2, trained=True)
    found = Progress(_cell("arm_1", 1), "done", 0.0, 0.1)
    assert time_left([ONE, FIVE], [failed, found], 9.0, WORK).seconds is None


def test_after_a_budget_nothing_is_left() -> None:
    """Ten cells ran and a budget made ninety needless: that is the end, not ten percent."""
    cells = [_cell("arm_1", seed) for seed in range(100)]
    ran = [_done(cell, 10.0 * i, 10.0 * (i + 1)) for i, cell in enumerate(cells[:10])]
    spared = [Progress(cell, "done", 100.0, 100.0, not_needed=True) for cell in cells[10:]]
    line = plain_line(overview(cells, [*ran, *spared], 100.0, WORK))
    assert line == "10 of 100 cells done, 90 not needed"


def test_work_is_what_an_update_computes() -> None:
    """Three times the forward pass, but no gradient goes back from the first layer to pixels."""
    arm = find_arm("arm_1_baseline")
    model = build_model(arm, ModelConfig(), SHAPE, seed=0)
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    to_pixels = 2 * (16 // first.stride[0]) ** 2 * first.weight.numel()
    forward = flops_per_example(model)
    assert update_flops(model) == 3 * forward - to_pixels


def test_dearer_arms_have_more_work_and_tasks_add_up() -> None:
    arms = ["arm_1_baseline", "arm_2_clip", "arm_4_trm", "arm_5_coconut"]
    work = work_of_arms(arms, [SHAPE], ModelConfig())
    assert list(work.values()) == sorted(work.values())
    assert len(set(work.values())) == 4
    twice = work_of_arms(arms[:1], [SHAPE, SHAPE], ModelConfig())
    assert twice["arm_1_baseline"] == 2 * work["arm_1_baseline"]
    dearer = work_of_arms(["arm_4_trm"], [SHAPE], ModelConfig(), encodes_every_step=True)
    assert dearer["arm_4_trm"] > work["arm_4_trm"]


def test_the_process_counts_what_the_function_counts() -> None:
    question = {"arms": ["arm_1_baseline"], "shapes": {"maze": asdict(SHAPE)}, "parameters": {}}
    ended = subprocess.run(
        [sys.executable, "-m", "hybrid_pipeline.kedro_ext.work"],
        input=json.dumps(question), capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    assert json.loads(ended.stdout) == count(question)


def test_a_display_without_an_answer_goes_on(tmp_path: Path) -> None:
    """Shapes that no model fits end the count; stopping ends a count that runs."""
    file = ProgressFile(tmp_path, ONE)
    file.update(now=True, shapes={"maze": {"slot_grid": None}}, state="done", trained=True)
    work = WorkProcess(["arm_1"], {})
    shown = RunDisplay(tmp_path, [ONE, FIVE], Console(file=io.StringIO()), work=work)
    assert "1 of 2 cells done" in plain_line(shown._view())
    started = time.monotonic()
    shown.stop()
    assert time.monotonic() - started < 5.0
    assert "1 of 2 cells done" in plain_line(shown._view())
