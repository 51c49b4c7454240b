"""Several cells in one process: each has the bits that it has alone, whatever befalls others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.training import cell as cell_module
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.checkpoint import CHECKPOINT
from hybrid_pipeline.training.loop import Trainer
from hybrid_pipeline.training.room import MARGIN, Room
from hybrid_pipeline.training.turns import TURNS
from toy_study import named, toy_spec, without_seconds

ARMS = ("arm_1_baseline", "arm_2_clip", "arm_5_coconut")
FILES = ("scores.parquet", "updates.parquet", "validations.parquet", "answers.npz",
         "weights.safetensors", "policy.safetensors")  # fmt: skip


def specs():
    """Of three arms, one training longer than the others; the second diverges if it is broken."""
    return [
        toy_spec(named(arm), seed=seed, epochs=1 + seed, max_skipped_steps=2)
        for seed, arm in enumerate(ARMS)
    ]


def train_at_once(data, root: Path, number: int) -> dict[str, object]:
    """Results by arm, with ``number`` threads that take the cells in order."""
    waiting, results = list(specs()), {}
    ready = threading.Barrier(number)

    def work():
        ready.wait()
        while waiting:
            try:
                spec = waiting.pop(0)
                results[spec.arm.name] = run_cell(spec, data, root)
            except Exception as error:  # noqa: BLE001
                results[spec.arm.name] = error

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def kept(folder: Path) -> dict[str, object]:
    """The content of a cell's files, without times."""
    found: dict[str, object] = {}
    for name in FILES:
        path = folder / name
        if not path.exists():
            continue
        if path.suffix == ".parquet":
            found[name] = repr(pd.read_parquet(path).to_dict("list"))  # equal if NaN is
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {key: arrays[key].tolist() for key in arrays.files}
        else:
            found[name] = path.read_bytes()
    return found


def folders(data, root: Path) -> list[Path]:
    return [root / spec.key(data) for spec in specs()]


@pytest.fixture
def the_second_breaks(monkeypatch):
    def broken(arm, *args, **kwargs):
        model = build_model(arm, *args, **kwargs)
        if arm.name == ARMS[1]:
            with torch.no_grad():
                model.head.bias.fill_(np.nan)
        return model

    monkeypatch.setattr(cell_module, "build_model", broken)


@pytest.fixture
def order(monkeypatch):
    """Which arm made each update, in the order of the updates."""
    seen, update = [], Trainer._update

    def spied(self, *args):
        assert TURNS.is_mine
        seen.append(self.model.arm.name)
        update(self, *args)

    monkeypatch.setattr(Trainer, "_update", spied)
    return seen


@pytest.mark.usefixtures("the_second_breaks")
def test_one_and_three_at_once_give_the_same_bits_though_one_diverges(data, tmp_path, order):
    alone = train_at_once(data, tmp_path / "one", 1)
    assert order == sorted(order)  # one after the other
    order.clear()
    together = train_at_once(data, tmp_path / "three", 3)
    assert set(order[:3]) == set(ARMS)  # in turn
    assert order[:3] == order[3:6]
    assert [alone[arm].status for arm in ARMS] == ["done", "diverged", "done"]
    for arm in ARMS:
        a, b = (without_seconds(r[arm].model_dump()) for r in (alone, together))
        assert a == b
    pairs = zip(folders(data, tmp_path / "one"), folders(data, tmp_path / "three"), strict=True)
    for one, three in pairs:
        assert kept(one) == kept(three)


def test_an_error_of_one_leaves_the_others(data, tmp_path, monkeypatch):
    update = Trainer._update

    def failing(self, run, step, batch):
        if self.model.arm.name == ARMS[1] and step == 3:
            raise OSError("the disk of this cell")
        update(self, run, step, batch)

    monkeypatch.setattr(Trainer, "_update", failing)
    results = train_at_once(data, tmp_path, 3)
    assert str(results[ARMS[1]]) == "the disk of this cell"
    assert [results[arm].status for arm in (ARMS[0], ARMS[2])] == ["done", "done"]
    assert (folders(data, tmp_path)[1] / CHECKPOINT).exists()  # where it will go on
    assert not TURNS.is_mine


def test_killed_at_once_and_resumed_at_once_gives_the_same_bits(data, tmp_path):
    """SIGKILL while three cells train in one process; then three at once go on."""
    torch.set_num_threads(1)  # a forked process has no other threads
    whole = train_at_once(data, tmp_path / "whole", 1)
    root = tmp_path / "killed"
    child = multiprocessing.get_context("fork").Process(target=_train_slowly, args=(data, root))
    child.start()
    last = folders(data, root)[2] / CHECKPOINT
    deadline = time.monotonic() + 240
    while not last.exists():
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (folders(data, root)[2] / "result.json").exists()
    resumed = train_at_once(data, root, 3)
    for arm, one, three in zip(
        ARMS, folders(data, tmp_path / "whole"), folders(data, root), strict=True
    ):
        assert without_seconds(whole[arm].model_dump()) == without_seconds(
            resumed[arm].model_dump()
        )
        assert kept(one) == kept(three)


def _train_slowly(data, root: Path) -> None:
    after = Trainer._after_update
    Trainer._after_update = lambda self, done: (after(self, done), time.sleep(0.05))
    train_at_once(data, root, 3)


def test_waiting_for_others_is_in_the_minutes_that_a_budget_counts(data, tmp_path):
    taken, end = threading.Event(), threading.Event()

    def other():
        with TURNS.taken():
            taken.set()
            end.wait(20)

    holder = threading.Thread(target=other)
    holder.start()
    assert taken.wait(20)
    threading.Timer(0.5, end.set).start()
    spec = toy_spec(named(ARMS[0]), epochs=0.2)
    began = time.perf_counter()
    result = run_cell(spec, data, tmp_path)
    assert result.cell_seconds >= result.seconds + 0.4
    assert result.cell_seconds <= time.perf_counter() - began
    holder.join(20)


class Memory:
    """A device of 100 bytes."""

    def __init__(self) -> None:
        self.used = 0

    def free(self) -> int:
        return 100 - self.used


def test_as_many_are_let_in_as_fit_and_one_at_a_time():
    memory, leave = Memory(), threading.Event()
    room, inside, most = Room(memory.free), [], []

    def cell(size):
        def compute():
            inside.append(size)
            most.append(len(inside))
            memory.used += size
            room.settled(size)
            with TURNS.left():
                assert leave.wait(20)
            inside.remove(size)
            memory.used -= size

        def node():
            with TURNS.taken():  # who waits for room must not keep the turn
                room.run(compute)

        return threading.Thread(target=node)

    threads = [cell(30) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(inside) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert MARGIN * 30 <= 40  # a third fits beside two, a fourth does not
    assert len(inside) == 3
    leave.set()
    for thread in threads:
        thread.join(20)
    assert (max(most), len(most), memory.used) == (3, 4, 0)


def test_a_cell_without_memory_waits_for_another_to_end_and_goes_on():
    room, other_in, end_other = Room(lambda: 100), threading.Event(), threading.Event()
    tries = []

    def other():
        room.settled(1)
        other_in.set()
        assert end_other.wait(20)

    def hungry():
        tries.append(room._inside)
        if room._inside > 1:
            end_other.set()
            raise torch.OutOfMemoryError("no memory")
        return "done"

    thread = threading.Thread(target=room.run, args=(other,))
    thread.start()
    assert other_in.wait(20)
    assert room.run(hungry) == "done"
    assert tries == [2, 1]
    thread.join(20)
    with pytest.raises(torch.OutOfMemoryError):  # alone there is nobody to wait for
        room.run(_out_of_memory)
    assert room._inside == 0


def _out_of_memory() -> None:
    raise torch.OutOfMemoryError("no memory")
