"""Turns: one thread at a time, in the order of asking, and never for those who have ended."""

from __future__ import annotations

import threading

import pytest

from hybrid_pipeline.training.turns import Turns


def run_all(*targets) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded(target):
        try:
            target()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(t,)) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return errors


def test_threads_alternate_and_never_run_at_once():
    turns, seen, running = Turns(), [], []
    ready = threading.Barrier(3)

    def cell(name):
        def run():
            ready.wait()
            with turns.taken():
                while len(turns._waiting) < 2 and not seen:
                    pass  # until all have asked
                for step in range(4):
                    running.append(name)
                    assert running == [name]
                    seen.append((step, name))
                    running.remove(name)
                    turns.pass_on()

        return run

    assert run_all(*(cell(n) for n in "abc")) == []
    steps = [step for step, _ in seen]
    assert steps == sorted(steps)  # nobody is a step ahead
    order = [name for _, name in seen]
    assert order == order[:3] * 4


def test_a_failure_passes_the_turn_and_leaves_the_others():
    turns, done = Turns(), []

    def fails():
        with turns.taken():
            turns.pass_on()
            raise ValueError("mine")

    def works():
        with turns.taken():
            for _ in range(5):
                turns.pass_on()
            done.append(True)

    errors = run_all(fails, works, works)
    assert [str(e) for e in errors] == ["mine"]
    assert done == [True, True]
    assert not turns.is_mine


def test_a_thread_that_waits_for_a_device_holds_nobody_up():
    turns, device = Turns(), threading.Event()
    began = threading.Event()

    def waits():
        with turns.taken():
            began.set()
            with turns.left():
                assert device.wait(10)
            assert turns.is_mine

    def other():
        began.wait(10)
        with turns.taken():
            device.set()

    assert run_all(waits, other) == []


def test_a_turn_is_taken_once_by_a_thread():
    turns = Turns()
    with turns.taken(), turns.taken():
        assert turns.is_mine
        turns.pass_on()  # nobody waits
        assert turns.is_mine
    assert not turns.is_mine
    turns.pass_on()  # not mine: nothing to pass
    with turns.left():
        assert not turns.is_mine
    with pytest.raises(KeyError), turns.taken():
        raise KeyError
    assert not turns.is_mine
