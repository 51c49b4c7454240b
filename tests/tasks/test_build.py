"""Tables: splits without leakage, keys, files, and the same data in every process."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_pipeline.tasks import (
    LeakageError,
    TaskTable,
    WrongAnswerError,
    build_table,
    check_no_leakage,
    source_of,
    table_key,
    verify_answers,
)
from hybrid_pipeline.tasks.maze import MazeTask
from hybrid_pipeline.tasks.own_table import TableTask
from hybrid_pipeline.tasks.planning import PlanningTask
from hybrid_pipeline.tasks.reasoning_gym import GENERATOR_OPTIONS, ReasoningGymTask
from hybrid_pipeline.tasks.sudoku import square_orders

HERE = Path()
SIZES = {"num_train": 120, "num_validation": 30, "num_test": 40}
SUDOKU = ReasoningGymTask(
    source="reasoning_gym",
    generator="mini_sudoku",
    options={"min_empty": 7, "max_empty": 9},
    **SIZES,
)
MAZE = MazeTask(source="maze", **SIZES)
PLANNING = PlanningTask(source="planning", **SIZES)
SYLLOGISM = ReasoningGymTask(source="reasoning_gym", generator="syllogism", **SIZES)


def source(name):
    return source_of(name, TASKS[name], HERE)


TASKS = {"sudoku": SUDOKU, "maze": MAZE, "planning": PLANNING, "syllogism": SYLLOGISM}


@pytest.fixture(scope="module")
def tables():
    return {name: build_table(name, task, HERE) for name, task in TASKS.items()}


@pytest.mark.parametrize("name", TASKS)
def test_splits_have_their_sizes_and_every_answer_passes(tables, name):
    table = tables[name]
    assert [len(table.rows(s)) for s in ("train", "validation", "test")] == [120, 30, 40]
    assert table.split.tolist() == ["train"] * 120 + ["validation"] * 30 + ["test"] * 40
    assert len(set(table.example.tolist())) == len(set(table.prompt)) == 190
    assert table.targets.shape == table.scored.shape == (190, table.num_slots)
    check_no_leakage(table, source(name))
    verify_answers(table, source(name))


@pytest.mark.parametrize("name", ["sudoku", "maze"])
def test_held_out_examples_are_one_of_a_form(tables, name):
    held_out = np.array(tables[name].canonical)[tables[name].split != "train"]
    assert len(set(held_out.tolist())) == len(held_out)


@pytest.mark.parametrize("name", TASKS)
def test_recorded_forms_are_those_of_the_prompts(tables, name):
    assert source(name).canonical(tables[name].prompt) == tables[name].canonical


def with_row(table, row, **changes):
    columns = {key: list(getattr(table, key)) for key in changes}
    for key, value in changes.items():
        columns[key][row] = value
    return dataclasses.replace(table, **columns)


@pytest.mark.parametrize("name", TASKS)
def test_an_injected_duplicate_raises(tables, name):
    table = tables[name]
    copied = with_row(table, 189, prompt=table.prompt[3], canonical=table.canonical[3])
    with pytest.raises(LeakageError, match=rf"{name}.*\(test\).*\(train\)"):
        check_no_leakage(copied, source(name))


def test_an_injected_symmetric_twin_raises_even_with_a_forged_form(tables):
    table = tables["sudoku"]
    puzzle = np.array(json.loads(table.prompt[3])["sudoku"])
    twin = np.array([0, 3, 1, 4, 2])[puzzle.ravel()[square_orders(4)[77]]].reshape(4, 4)
    prompt = json.dumps({"sudoku": twin.tolist()}, separators=(",", ":"))
    assert prompt not in table.prompt
    with pytest.raises(LeakageError, match="up to the task's symmetries"):
        check_no_leakage(with_row(table, 189, prompt=prompt, canonical="forged"), source("sudoku"))


def test_an_injected_maze_read_backwards_raises(tables):
    table = tables["maze"]
    maze = json.loads(table.prompt[3])["maze"]
    maze["start"], maze["goal"] = maze["goal"], maze["start"]
    prompt = json.dumps({"maze": maze}, separators=(",", ":"))
    with pytest.raises(LeakageError):
        check_no_leakage(with_row(table, 130, prompt=prompt, canonical="forged"), source("maze"))


@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_answer_raises(tables, name):
    table = tables[name]
    targets = table.targets.copy()
    slot = int(np.argmax(table.scored[7]))
    targets[7, slot] = (targets[7, slot] + 1) % table.num_classes
    with pytest.raises(WrongAnswerError, match=f"{table.example[7]}"):
        verify_answers(dataclasses.replace(table, targets=targets), source(name))


def test_more_examples_keep_those_that_were_there(tables):
    more = build_table("maze", MAZE.model_copy(update={"num_train": 150}), HERE)
    same = set(tables["maze"].prompt) & set(more.prompt)
    assert len(same) > 150  # shares of the splits shift a little, the stream does not


def test_another_seed_is_other_data(tables):
    other = build_table("maze", MAZE.model_copy(update={"data_seed": 1}), HERE)
    assert not set(tables["maze"].prompt) & set(other.prompt)


def test_a_source_that_runs_dry_is_refused(monkeypatch):
    monkeypatch.setattr("hybrid_pipeline.tasks.build.MAX_STALE_DRAWS", 300)
    task = MazeTask(
        source="maze", size=3, extra_openings=4, min_path_steps=1,
        num_train=2000, num_validation=10, num_test=10,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"cannot fill its splits: wanted.*found"):
        build_table("tiny", task, HERE)


@pytest.mark.parametrize("name", TASKS)
def test_files_keep_everything(tables, name, tmp_path):
    tables[name].to_parquet(tmp_path / "t.parquet")
    back = TaskTable.from_parquet(tmp_path / "t.parquet")
    for field in dataclasses.fields(TaskTable):
        old, new = getattr(tables[name], field.name), getattr(back, field.name)
        if isinstance(old, np.ndarray):
            np.testing.assert_array_equal(old, new)
            assert new.dtype.kind == old.dtype.kind
        else:
            assert old == new
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checksums", "t.parquet"]


def test_keys_follow_the_configuration_and_the_users_bytes(tmp_path):
    key = table_key("maze", MAZE, HERE)
    assert key == table_key("maze", MAZE, HERE)
    assert key != table_key("maze", MAZE.model_copy(update={"data_seed": 1}), HERE)
    own = TableTask(source="table", path="x.csv")
    (tmp_path / "x.csv").write_text("text,label\na,b\n")
    first = table_key("own", own, tmp_path)
    (tmp_path / "x.csv").write_text("text,label\na,c\n")
    assert table_key("own", own, tmp_path) != first


def test_baselines_by_hand():
    table = TaskTable(
        name="t",
        key="k",
        primary_metric="slots",
        classes=("a", "b", "c"),
        grid_shape=(1, 2),
        example=np.arange(5),
        split=np.array(["train"] * 3 + ["test"] * 2),
        prompt=list("vwxyz"),
        canonical=list("vwxyz"),
        targets=np.array([[0, 1], [0, 2], [1, 2], [0, 1], [0, 2]]),
        scored=np.array([[True, True], [True, True], [True, False], [True, True], [False, True]]),
    )
    # by slot: class 0, then 1 (of 1, 2: the first); whole answer: [0, 1]
    assert table.majority_baseline() == {"correct": 0.5, "slots": 0.5}
    assert table.chance_scores() == pytest.approx({"correct": (1 / 9 + 1 / 3) / 2, "slots": 1 / 3})
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        table.rows("dev")


@pytest.mark.parametrize("generator", GENERATOR_OPTIONS)
def test_the_whitelisted_options_are_those_of_reasoning_gym(generator):
    from reasoning_gym.factory import DATASETS

    fields = {f.name: f.default for f in dataclasses.fields(DATASETS[generator][1])}
    known = GENERATOR_OPTIONS[generator]
    assert set(fields) - {"seed", "size"} == set(known)
    for option, (low, high, default) in known.items():
        assert fields[option] == default
        for value in (low, high):
            kind = type(default)
            DATASETS[generator][1](**{**dict.fromkeys([option], kind(value)), "seed": 0})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"empty": 3}, "option 'empty' is unknown to mini_sudoku; allowed: min_empty, max_empty"),
        ({"min_empty": 13}, "option 'min_empty' = 13 must be 1 to 12"),
        ({"max_empty": 7}, "'min_empty' = 8 must be at most 'max_empty' = 7"),
        ({"min_empty": True}, "option 'min_empty' = True must be 1 to 12"),
    ],
)
def test_wrong_options_are_refused_before_any_work(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        SUDOKU.model_validate(SUDOKU.model_dump() | {"options": options})


DIGEST = """
import hashlib, json, sys
from pathlib import Path
from hybrid_pipeline.tasks import TasksConfig, build_table
for name, task in TasksConfig.model_validate(json.loads(sys.argv[1])).root.items():
    table = build_table(name, task, Path())
    content = [table.prompt, table.canonical, table.targets.tolist(), table.split.tolist()]
    print(table.key, hashlib.sha256(json.dumps(content).encode()).hexdigest())
"""


@pytest.mark.slow
def test_tables_do_not_depend_on_the_hash_seed(tables):
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    fields = {name: task.model_dump(mode="json") for name, task in TASKS.items()}
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST, json.dumps(fields)],
        env={**os.environ, "PYTHONHASHSEED": other},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for line, (name, table) in zip(output, tables.items(), strict=True):
        content = [table.prompt, table.canonical, table.targets.tolist(), table.split.tolist()]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        assert line == f"{table.key} {digest}", name


def test_streams_start_again_from_the_beginning():
    mazes = source("maze")
    first = [e.prompt for e, _ in zip(mazes.examples(), range(5), strict=False)]
    again = [e.prompt for e, _ in zip(mazes.examples(), range(5), strict=False)]
    assert first == again


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            SUDOKU.model_copy(update={"options": {"min_empty": 12, "max_empty": 12}}),
            r"12 blanks were asked for; \d+ of 190 puzzles have another number, .*11: \d+, 12:",
        ),
        (PLANNING, r"num_nodes 12 was asked for; \d+ of 190 questions name fewer .*11: \d+"),
    ],
)
def test_where_a_generator_gives_something_else_it_is_counted_and_said(task, sentence):
    (remark,) = build_table("some", task, HERE).remarks
    assert re.match(sentence, remark), remark


def test_the_counts_in_a_remark_are_those_of_the_table():
    task = SUDOKU.model_copy(update={"options": {"min_empty": 12, "max_empty": 12}})
    table = build_table("sudoku", task, HERE)
    (remark,) = table.remarks
    blanks = table.scored.sum(1).tolist()
    found = {int(n): int(c) for n, c in re.findall(r"(\d+): (\d+)", remark)}
    assert found == {number: blanks.count(number) for number in set(blanks)}
    assert sum(found.values()) == 190
    assert f"{190 - found[12]} of 190" in remark


@pytest.mark.parametrize("name", ["sudoku", "maze"])
def test_what_came_as_asked_has_no_remark(tables, name):
    assert tables[name].remarks == ()
    assert tables[name].examples_read >= 190


def test_a_share_beyond_chance_is_said():
    syllogisms = source("syllogism")  # invalid_ratio 0.3
    prompts, answers = ["x"] * 1000, np.zeros((1000, 1), dtype=int)
    answers[340:] = 1
    assert syllogisms.remarks(prompts, answers) == []  # 2.8 standard errors of 0.0145
    answers[340:350] = 0
    (remark,) = syllogisms.remarks(prompts, answers)
    assert remark.startswith("invalid_ratio 0.3 was asked for; 350 of 1,000 conclusions do not")
