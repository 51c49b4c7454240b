"""The time left: hand values of a study whose arms differ in cost."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console
from torch import nn

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import ModelConfig, StabilityConfig, StorageConfig
from hybrid_pipeline.kedro_ext.datasets import HandlesDataset
from hybrid_pipeline.kedro_ext.display import RunDisplay, overview, plain_line
from hybrid_pipeline.kedro_ext.pace import time_left
from hybrid_pipeline.kedro_ext.progress import CellName, Progress, ProgressFile
from hybrid_pipeline.kedro_ext.work import Shapes, Work, WorkProcess, look_ahead
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.pipelines.hybrid_training.nodes import train_cell
from hybrid_pipeline.pipelines.stability.nodes import train_setting
from hybrid_pipeline.storage import Workspace
from hybrid_pipeline.training.cost import flops_per_example
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.work import update_flops, work_of_arms
from project_conf import groups_of
from toy_study import HALTING, MODEL, TRAINING, changed, toy_data
from toy_study import SHAPE as TOY_SHAPE

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


def test_results_that_lie_there_cost_nothing() -> None:
    """Of four cells one is done in 60 s, one is found whole, one in half, one trains its half."""
    cells = [_cell("arm_1", seed) for seed in range(4)]
    found = {cells[1].node: 1.0, cells[2].node: 0.5, cells[3].node: 0.5}
    done = _done(cells[0], 0.0, 60.0)
    left = time_left(cells, [done], 60.0, WORK, found)
    assert (left.seconds, left.is_least, left.is_most) == (pytest.approx(60.0), False, False)
    halves = [
        Progress(cells[3], "running", 60.0, 75.0, 75, 100, trained=True, found=0.5),  # found first
        Progress(cells[3], "running", 60.0, 75.0, 25, 100, trained=True),  # found afterwards
    ]
    for half in halves:  # 15 s of its 30 are over
        left = time_left(cells, [done, half], 75.0, WORK, found)
        assert left.seconds == pytest.approx(30.0 + 15.0)
    third = Progress(ONE, "running", 0.0, 20.0, 1, 3, trained=True)
    assert time_left([ONE], [third], 20.0, WORK, {ONE.node: 2 / 3}).seconds == 0.0


def test_what_an_earlier_run_trained_says_nothing_about_the_pace() -> None:
    """A cell went on at 85 % and has done 5 % in 10 s: a cell takes 200 s, not 11."""
    resumed = Progress(ONE, "running", 0.0, 10.0, 90, 100, trained=True, resumed=0.85)
    left = time_left([ONE, _cell("arm_1", 1)], [resumed], 10.0)
    assert left.seconds == pytest.approx(0.1 * 200.0 + 200.0)
    half_found = Progress(ONE, "done", 0.0, 30.0, trained=True, found=0.5)
    assert time_left([ONE, _cell("arm_1", 1)], [half_found], 30.0).seconds == pytest.approx(60.0)


def test_an_estimate_that_may_be_too_long_says_so() -> None:
    """Results were found, and of the cells to come nothing is known."""
    cells = [_cell("arm_1", seed) for seed in range(3)]
    found = Progress(cells[0], "done", 0.0, 0.1, found=1.0)
    seen = [found, _done(cells[1], 1.0, 61.0)]
    left = time_left(cells, seen, 61.0, WORK)
    assert (left.seconds, left.is_most) == (pytest.approx(60.0), True)
    assert "| at most 60 s left" in plain_line(overview(cells, seen, 61.0))
    assert not time_left(cells, seen, 61.0, WORK, {}).is_most
    assert time_left([*cells, FIVE], seen, 61.0).seconds is None  # and it may be too short


def test_after_a_budget_nothing_is_left() -> None:
    """Ten cells ran and a budget made ninety needless: that is the end, not ten percent."""
    cells = [_cell("arm_1", seed) for seed in range(100)]
    ran = [_done(cell, 10.0 * i, 10.0 * (i + 1)) for i, cell in enumerate(cells[:10])]
    spared = [Progress(cell, "done", 100.0, 100.0, not_needed=True) for cell in cells[10:]]
    line = plain_line(overview(cells, [*ran, *spared], 100.0, Work(WORK)))
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


def test_the_process_answers_what_the_function_answers() -> None:
    cells = [asdict(_cell("arm_1_baseline", 0))]
    shapes = {"maze": asdict(SHAPE)}
    parameters = {"training": TRAINING.model_dump(mode="json")}
    question = {"cells": cells, "shapes": shapes, "parameters": parameters, "task_data": None}
    flops = work_of_arms(["arm_1_baseline"], [SHAPE], ModelConfig())
    assert list(look_ahead(question)) == [{"flops": flops}]
    ended = subprocess.run(
        [sys.executable, "-m", "hybrid_pipeline.kedro_ext.work"],
        input=json.dumps(question), capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    assert json.loads(ended.stdout) == {"flops": flops}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, TaskHandle], StorageConfig]:
    """Two toy tasks in the places of a data folder."""
    root, made = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("made")
    data, workspace = toy_data(made), Workspace(root)
    shutil.copytree(made / "views", workspace.images / "toy-views")
    shutil.copytree(made / "tokens", workspace.features / "toy-tokens")
    handles = {}
    for task in ("a", "b"):
        replace(data.table, key=task, name=task).to_parquet(workspace.tables / f"{task}.parquet")
        handles[task] = TaskHandle(task=task, table=task, views="toy-views", features="toy-tokens")
    return handles, StorageConfig(root=str(root))


def test_results_are_known_before_their_cells_begin(
    kept: tuple[dict[str, TaskHandle], StorageConfig], tmp_path: Path
) -> None:
    """The nodes train; their keys are found again from names and parameters."""
    handles, storage = kept
    training, stability = changed(TRAINING, epochs=1), StabilityConfig(arm="arm_1_baseline")
    only_a, review = {"a": handles["a"]}, groups_of("base")["review"]
    groups = (MODEL, training, HALTING)
    train_cell(("arm_1_baseline", 0, 1.0), handles, *groups, storage)
    train_cell(("arm_2_clip", 0, 0.5), only_a, *groups, storage)
    train_setting(("original", 1), only_a, *groups, review, stability, storage)
    HandlesDataset(str(tmp_path / "task_data.json")).save(handles)
    cells = {
        CellName("both tasks", True, "arm_1_baseline", "0"): 1.0,
        CellName("another seed", True, "arm_1_baseline", "1"): 0.0,
        CellName("another length", True, "arm_2_clip", "0"): 0.0,
        CellName("one task", True, "arm_2_clip", "0", length=0.5): 0.5,
        CellName("a setting", True, "original", "1", setting="original"): 0.5,
        CellName("another setting", True, "corrected", "1", setting="corrected"): 0.0,
    }
    models = dict(zip(("model", "training", "halting"), groups, strict=True))
    models |= {"storage": storage, "stability": stability, "review": review}
    question = {
        "cells": [asdict(cell) for cell in cells],
        "shapes": dict.fromkeys(handles, asdict(TOY_SHAPE)),
        "parameters": {name: group.model_dump(mode="json") for name, group in models.items()},
        "task_data": str(tmp_path / "task_data.json"),
    }
    found, work = look_ahead({**question, "asked_s": time.time() + 60})
    assert found == {"found": {cell.node: share for cell, share in cells.items()}}
    flops = work["flops"]
    assert flops["original"] == flops["arm_1_baseline"] < flops["arm_2_clip"]
    made_by_this_run = next(look_ahead({**question, "asked_s": time.time() - 600}))["found"]
    assert set(made_by_this_run.values()) == {0.0}


def test_no_time_is_shown_while_it_is_not_known_what_lies_there(tmp_path: Path) -> None:
    class Asked(WorkProcess):
        answer: Work | None = None

        def ask(self, shapes: Shapes) -> Work | None:
            return self.answer

    ProgressFile(tmp_path, ONE).update(
        now=True, shapes={"maze": asdict(SHAPE)}, state="done", trained=True, started_s=0.0
    )
    work = Asked([ONE, FIVE], {}, None)
    shown = RunDisplay(tmp_path, [ONE, FIVE], Console(file=io.StringIO()), work=work)
    assert "left" not in plain_line(shown._view())
    work.answer = Work(found={FIVE.node: 0.5})
    assert "more than " in plain_line(shown._view())
    work.answer = Work({"arm_1": 1.0, "arm_5": 5.0}, {FIVE.node: 0.5})
    assert "about " in plain_line(shown._view())


def test_a_display_without_an_answer_goes_on(tmp_path: Path) -> None:
    """Shapes that no model fits end the count; stopping ends a count that runs."""
    file = ProgressFile(tmp_path, ONE)
    file.update(now=True, shapes={"maze": {"slot_grid": None}}, state="done", trained=True)
    work = WorkProcess([ONE, FIVE], {}, None)
    shown = RunDisplay(tmp_path, [ONE, FIVE], Console(file=io.StringIO()), work=work)
    assert "1 of 2 cells done" in plain_line(shown._view())
    started = time.monotonic()
    shown.stop()
    assert time.monotonic() - started < 5.0
    assert "1 of 2 cells done" in plain_line(shown._view())
