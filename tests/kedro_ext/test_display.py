"""What the live display says about a run, from its progress files."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from cell_records import diverged, done
from hybrid_pipeline.kedro_ext import display
from hybrid_pipeline.kedro_ext.display import RunDisplay, duration, overview, plain_line, table
from hybrid_pipeline.kedro_ext.progress import (
    CellName,
    Progress,
    ProgressFile,
    clear_progress,
    read_progress,
)
from hybrid_pipeline.kedro_ext.study_hooks import announcement, final_scores
from hybrid_pipeline.training.result import Cell


def _cell(arm: str, seed: int) -> CellName:
    return CellName.from_tags(f"train_{arm}_{seed}", {"cell", f"arm.{arm}", f"seed.{seed}"})


CELLS = [_cell(arm, seed) for seed in (0, 1) for arm in ("arm_1", "arm_2")]
DONE = Progress(CELLS[0], "done", 0.0, 100.0, scores={"maze": 0.25, "sudoku": 0.5}, trained=True)


def test_tags_name_the_cell() -> None:
    cell = CellName.from_tags("n", {"cell", "arm.arm_4_trm", "seed.2", "task.maze", "block.2"})
    assert (cell.arm, cell.seed, cell.task, cell.is_cell) == ("arm_4_trm", "2", "maze", True)
    assert cell.title == "arm_4_trm seed 2 maze"
    assert CellName.from_tags("render", {"gpu"}).title == "render"


def test_a_shorter_training_counts_as_what_it_is() -> None:
    tags = {"cell", "arm.arm_1", "seed.0"}
    whole = CellName.from_tags("train_100_percent", {*tags, "length.1"})
    short = CellName.from_tags("train_25_percent", {*tags, "length.0.25"})
    assert (short.length, short.title) == (0.25, "arm_1 seed 0 at 25 %")
    done = Progress(short, "done", 0.0, 50.0, scores={"maze": 0.1}, trained=True)
    view = overview([whole, short], [done], now_s=50.0)
    assert view.left.seconds == pytest.approx(200)  # four times as long
    assert view.arms[0].scores == {}  # what is judged is the longest


def test_cells_and_scores_are_summed_up() -> None:
    other = Progress(CELLS[2], "running", 100.0, 140.0, 40, 100, {"maze": 0.75}, trained=True)
    view = overview(CELLS, [DONE, other], now_s=140.0)
    assert (view.num_done, view.num_cells) == (1, 4)
    assert [(line.arm, line.num_done, line.num_cells) for line in view.arms] == [
        ("arm_1", 1, 2),
        ("arm_2", 0, 2),
    ]
    assert view.arms[0].scores == {"maze": 0.25, "sudoku": 0.5}  # of the cell that has ended
    alone = overview(CELLS, [other], now_s=140.0)
    assert alone.arms[0].scores == {"maze": 0.75}
    assert view.running == [("arm_1 seed 1", 0.4)]


def test_time_left_follows_the_pace_of_each_arm() -> None:
    first = Progress(CELLS[0], "done", 0.0, 100.0, trained=True)  # arm_1 costs 100 s
    second = Progress(CELLS[1], "running", 100.0, 200.0, 1, 2, trained=True)  # arm_2 costs 200 s
    view = overview(CELLS, [first, second], now_s=200.0)
    assert view.left.seconds == pytest.approx(100 + 100 + 200)  # one process
    third = Progress(CELLS[2], "running", 150.0, 200.0, 1, 2, trained=True)
    view = overview(CELLS, [first, second, third], now_s=200.0)
    assert view.left.seconds == pytest.approx(200)  # two processes, but the last cell takes 200 s
    view = overview(CELLS[:3], [first, second, third], now_s=200.0)
    assert view.left.seconds == pytest.approx(100)  # the longer of two running cells


def test_time_left_is_a_least_one_until_every_arm_has_begun() -> None:
    """An arm that has not begun may be dearer than all others: 16 minutes became 52."""
    first = Progress(CELLS[0], "done", 0.0, 100.0, trained=True)
    view = overview(CELLS, [first], now_s=100.0)
    assert view.left.is_least
    assert "more than 5 min left" in plain_line(view)
    second = Progress(CELLS[1], "running", 100.0, 200.0, 1, 2, trained=True)
    view = overview(CELLS, [first, second], now_s=200.0)
    assert not view.left.is_least
    assert "about 7 min left" in plain_line(view)


def test_cells_that_a_budget_ended_are_not_done() -> None:
    spared = Progress(CELLS[2], "done", 0.0, 100.0, not_needed=True)
    view = overview(CELLS[:3:2], [DONE, spared], now_s=100.0)
    assert plain_line(view).startswith("1 of 2 cells done, 1 not needed")
    assert view.arms[0].num_done == 1


def test_plain_lines_are_printed_for_news_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), width=100)
    shown = RunDisplay(tmp_path, CELLS, console)
    file = ProgressFile(tmp_path, CELLS[0])

    def num_lines() -> int:
        shown._print_line()
        return console.file.getvalue().count("\n")  # type: ignore[attr-defined]

    file.update(now=True, done=1, total=4)
    assert num_lines() == 1
    file.update(now=True, done=2)
    assert num_lines() == 1  # a share alone is no news
    file.update(now=True, scores={"maze": 0.5})
    assert num_lines() == 2
    monkeypatch.setattr(display, "SIGN_OF_LIFE_S", 0.0)
    assert num_lines() == 3


def test_cells_found_under_their_key_say_nothing_about_the_pace() -> None:
    cached = Progress(CELLS[0], "done", 0.0, 0.1, trained=False)
    assert overview(CELLS, [cached], now_s=1.0).left.seconds is None
    every = [Progress(c, "done", 0.0, 10.0, trained=True) for c in CELLS]
    assert overview(CELLS, every, now_s=10.0).left.seconds == 0.0


def test_what_a_node_decided_is_said_once(tmp_path: Path) -> None:
    plan = Progress(CellName("open_2"), "done", 0.0, 5.0, message="2 pilot blocks took 3 minutes")
    closed = [
        Progress(CellName(f"open_{i}"), "done", 0.0, 5.0 + i, message="0.1 minutes are left")
        for i in (3, 4)
    ]
    view = overview(CELLS, [*closed, plan], now_s=10.0)
    assert view.messages == ["2 pilot blocks took 3 minutes", "0.1 minutes are left"]
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), width=100, force_terminal=is_terminal)
        shown = RunDisplay(tmp_path, CELLS, console)
        ProgressFile(tmp_path, CellName("open_2")).update(now=True, message="the pilots say")
        shown.start()
        shown.stop()
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert text.count("the pilots say") == 1


def test_the_hooks_read_scores_and_decisions_from_what_a_node_returns() -> None:
    results = (done("arm_1_baseline", 0, "maze", 0.3), diverged("arm_1_baseline", 0, "sudoku"))
    cell = Cell(arm="arm_1_baseline", seed=0, results=results)
    assert final_scores({"cell"}, {"cell": cell}) == {"maze": 0.3}
    assert final_scores({"gpu"}, {"report": {"tasks": ("maze",)}, "text": "x"}) == {}
    gate = {"gate_2": {"run": True, "reason": "10 blocks fit"}}
    assert announcement({"announce"}, gate) == "10 blocks fit"
    assert announcement({"cell"}, gate) == ""


def test_a_line_and_a_table_for_people() -> None:
    running = Progress(CELLS[1], "running", 0.0, 100.0, 1, 2, note="maze", trained=True)
    view = overview(CELLS, [DONE, running], now_s=100.0)
    line = plain_line(view)
    assert line.startswith("1 of 4 cells done | accuracy so far: arm_1 maze 25.0 %")
    assert "running: arm_2 seed 0 (maze) 50%" in line
    console = Console(file=io.StringIO(), width=100)
    console.print(table(view, elapsed_s=100.0))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 cells done, 2 min so far, about" in text
    assert "50.0 %" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (11_100, "3 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_files_are_whole_and_cleared(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path, CELLS[0])
    file.update(now=True, done=1, total=4)
    file.update(done=2)  # a moment later: not written
    (tmp_path / "broken.json").write_text("{")
    (found,) = read_progress(tmp_path)
    assert (found.cell, found.done, found.share) == (CELLS[0], 1, 0.25)
    file.update(now=True, state="done")
    assert read_progress(tmp_path)[0].share == 1.0
    clear_progress(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_end_a_training(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("a file where a folder should be")
    ProgressFile(tmp_path / "progress", CELLS[0]).update(now=True, done=1)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_runs_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(display, "REFRESH_S", 0.05)
    monkeypatch.setattr(display, "PLAIN_INTERVAL_S", 0.05)
    ProgressFile(tmp_path, CELLS[0]).update(now=True, state="done", scores={"": 0.5})
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    shown = RunDisplay(tmp_path, CELLS, console)
    shown.start()
    time.sleep(0.2)
    shown.stop()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 cells" in text
    if not terminal:
        assert text.count("1 of 4 cells") == 1  # an unchanged line is not repeated
    json.loads(next(tmp_path.glob("*.json")).read_text())
