"""Pretraining strings: hard negatives, no example of a task, held-out apart from training."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hybrid_pipeline.features.captions import (
    CharacterTokenizer,
    OverlapError,
    check_disjoint,
    draw_batch,
    is_like_a_task,
)
from hybrid_pipeline.features.layouts import BLANK, Layout
from hybrid_pipeline.features.prompts import prompt_text

SUDOKU = Layout("grid", 4, 4, tuple("1..4" + "..1." + ".1.." + "4..1"))
MAZE = Layout("walls", 2, 2, (), (1, 0, 0, 0), (0, 3))  # S, down, right to G; a wall beside S


def batch(number: int, size: int = 64, **options: bool) -> list[Layout]:
    return draw_batch(0, number, size, num_variants=1, edits=2, **options)


def test_a_batch_is_addressed_by_its_number() -> None:
    assert batch(3) == batch(3)
    assert batch(3) != batch(4)
    assert draw_batch(1, 3, 64, num_variants=1, edits=2) != batch(3)


def test_captions_of_a_batch_are_distinct() -> None:
    for number in range(5):
        captions = [layout.caption for layout in batch(number)]
        assert len(set(captions)) == len(captions)


def test_hard_negatives_are_two_edits_away() -> None:
    for number in range(5):
        layouts = batch(number)
        for base, variant in zip(layouts[::2], layouts[1::2], strict=True):
            assert (base.kind, base.rows, base.cols) == (variant.kind, variant.rows, variant.cols)
            if base.kind == "walls":
                toggled = [a ^ b for a, b in zip(base.walls, variant.walls, strict=True)]
                changed = sum(code.bit_count() for code in toggled) + (base.marks != variant.marks)
            else:
                changed = sum(a != b for a, b in zip(base.squares, variant.squares, strict=True))
            assert changed == 2


def test_equal_captions_mean_equal_layouts() -> None:
    """A caption that two layouts share would be a false negative in the batch."""
    seen: dict[str, Layout] = {}
    for number in range(20):
        for layout in batch(number):
            assert seen.setdefault(layout.caption, layout) == layout


def test_walls_stay_inside() -> None:
    for layout in batch(0, 256):
        if layout.kind == "walls":
            walls = np.array(layout.walls).reshape(layout.rows, layout.cols)
            assert not (walls[:, -1] & 1).any()
            assert not (walls[-1] & 2).any()


def test_held_out_strings_are_never_trained_on() -> None:
    training = {layout.caption for n in range(30) for layout in batch(n)}
    held_out = {layout.caption for n in range(3) for layout in batch(n, held_out=True)}
    assert held_out
    assert not training & held_out


def test_sudokus_and_mazes_are_recognised() -> None:
    assert is_like_a_task(SUDOKU)
    assert is_like_a_task(replace(SUDOKU, squares=(BLANK,) * 16))
    twice_in_a_row = tuple("11.." + "...." * 3)
    twice_in_a_column = tuple("1..." * 2 + "...." * 2)
    twice_in_a_box = tuple("1..." + ".1.." + "...." * 2)
    for squares in (twice_in_a_row, twice_in_a_column, twice_in_a_box, tuple("5..." + "...." * 3)):
        assert not is_like_a_task(replace(SUDOKU, squares=squares))
    assert not is_like_a_task(Layout("grid", 2, 2, tuple("1234")))
    assert is_like_a_task(MAZE)
    assert not is_like_a_task(replace(MAZE, walls=(3, 0, 0, 0)))
    assert not is_like_a_task(replace(MAZE, marks=(3, 3)))


def test_a_way_is_found_in_every_direction() -> None:
    snake = Layout("walls", 3, 3, (), (2, 2, 0, 0, 2, 2, 0, 0, 0), (0, 8))  # right, back, right
    for marks in ((0, 8), (8, 0), (5, 3)):
        assert is_like_a_task(replace(snake, marks=marks))
    cut = (2, 2, 0, 0, 3, 2, 0, 0, 0)
    assert not is_like_a_task(replace(snake, walls=cut))
    assert is_like_a_task(replace(snake, walls=cut, marks=(3, 8)))


def test_no_batch_is_like_a_task() -> None:
    for number in range(20):
        check_disjoint(batch(number))


def test_the_check_raises() -> None:
    with pytest.raises(OverlapError, match=r"could be a task's example"):
        check_disjoint([SUDOKU])
    with pytest.raises(OverlapError, match=r"could be a task's example"):
        check_disjoint([MAZE])
    text = Layout("text", 1, 3, tuple("abc"))
    check_disjoint([text], ["abd"])
    with pytest.raises(OverlapError, match=r"'abc' is a task's example"):
        check_disjoint([text], ["abc"])
    digits = Layout("grid", 2, 2, tuple("9876"))
    with pytest.raises(OverlapError, match=r"is a task's example"):
        check_disjoint([digits], [prompt_text(digits)])


def test_the_prompt_is_what_the_renderer_reads() -> None:
    grid = Layout("grid", 2, 2, tuple("1.21"))
    assert json.loads(prompt_text(grid)) == {
        "sudoku": [[1, 0], [2, 1]],
    }
    assert json.loads(prompt_text(replace(MAZE, walls=(3, 0, 0, 0)))) == {
        "maze": {"right": [[0], [1]], "down": [[0, 1]], "start": 0, "goal": 3},
    }
    assert prompt_text(Layout("text", 2, 2, tuple("abcd"))) == "ab\ncd"


def test_every_caption_fits_and_ends_with_the_highest_id() -> None:
    tokenizer = CharacterTokenizer(24)
    captions = [layout.caption for n in range(10) for layout in batch(n)]
    ids = tokenizer(captions)
    assert ids.shape == (len(captions), 24)
    np.testing.assert_array_equal(ids.argmax(axis=1), [len(c) + 1 for c in captions])
    assert ids.max() == tokenizer.end_id == tokenizer.vocab_size - 1
    assert (ids[:, 0] == 1).all()
    assert len(np.unique(ids, axis=0)) == len(set(captions))


def test_the_tokenizer_refuses_what_it_cannot_spell() -> None:
    with pytest.raises(ValueError, match="at most 6 fit"):
        CharacterTokenizer(8)(["1234567"])
    with pytest.raises(ValueError, match="unknown characters"):
        CharacterTokenizer(8)(["é"])
