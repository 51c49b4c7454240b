"""Sudoku: symmetries, canonical forms and the verifier, against brute force."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_pipeline.tasks.reasoning_gym import ReasoningGymTask, reasoning_gym_source
from hybrid_pipeline.tasks.sudoku import (
    canonical_sudokus,
    square_orders,
    verify_sudoku,
)


def task(generator="mini_sudoku", **options):
    return ReasoningGymTask(
        source="reasoning_gym",
        generator=generator,
        options=options,
        num_train=8,
        num_validation=2,
        num_test=2,
    )


def drawn(count, generator="mini_sudoku", **options):
    stream = reasoning_gym_source("s", task(generator, **options), Path()).examples()
    return list(itertools.islice(stream, count))


@pytest.fixture(scope="module")
def puzzles():
    return np.array([json.loads(e.prompt)["sudoku"] for e in drawn(60, min_empty=7, max_empty=9)])


def all_grids():
    """Every solved 4 x 4 grid, by brute force over rows."""
    rows = list(itertools.permutations(range(1, 5)))
    grids = []
    for grid in itertools.product(rows, repeat=4):
        if all(len({row[c] for row in grid}) == 4 for c in range(4)):
            flat = np.array(grid)
            boxes = flat.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
            if all(len(set(box)) == 4 for box in boxes.tolist()):
                grids.append(flat)
    return np.array(grids)


def solutions_of(puzzle, grids):
    return grids[((grids == puzzle) | (puzzle == 0)).all((1, 2))]


def test_the_288_grids_fall_into_two_orbits():
    grids = all_grids()
    assert len(grids) == 288
    assert len(set(canonical_sudokus(grids))) == 2


def test_every_symmetry_of_a_puzzle_has_its_one_name(puzzles):
    rng = np.random.default_rng(0)
    assert len({tuple(order) for order in square_orders(4)}) == 128
    for puzzle in puzzles[:5]:
        twins = []
        for order in square_orders(4):
            labels = np.concatenate([[0], rng.permutation(4) + 1])
            twins.append(labels[puzzle.ravel()[order]].reshape(4, 4))
        assert len(set(canonical_sudokus(np.array(twins)))) == 1
        assert canonical_sudokus(np.array(twins[:1])) == canonical_sudokus(puzzle[None])


def test_names_tell_apart_what_is_not_symmetric(puzzles):
    """Equal names only where a search over all 128 x 24 twins finds the other puzzle."""
    names = canonical_sudokus(puzzles)
    labels = [np.array([0, *p]) for p in itertools.permutations(range(1, 5))]
    first = puzzles[0].ravel()
    twins = {tuple(label[first[order]]) for order in square_orders(4) for label in labels}
    for puzzle, name in zip(puzzles, names, strict=True):
        assert (name == names[0]) == (tuple(puzzle.ravel()) in twins)


def test_one_more_clue_is_another_puzzle(puzzles):
    more = puzzles[0].copy()
    more[tuple(np.argwhere(more == 0)[0])] = 1
    assert canonical_sudokus(more[None]) != canonical_sudokus(puzzles[:1])


def test_generated_puzzles_have_one_solution_and_it_is_the_answer(puzzles):
    grids = all_grids()
    for example in drawn(60, min_empty=7, max_empty=9):
        puzzle = np.array(json.loads(example.prompt)["sudoku"])
        found = solutions_of(puzzle, grids)
        assert len(found) == 1
        assert found[0].ravel().tolist() == [a + 1 for a in example.answer]
        assert 7 <= sum(example.scored) <= 9
        assert [bool(s) for s in (puzzle == 0).ravel()] == list(example.scored)


def test_the_verifier_accepts_the_answer_and_no_other(puzzles):
    example = drawn(1)[0]
    assert verify_sudoku(example.prompt, example.answer)
    for slot in range(16):
        for wrong in set(range(4)) - {example.answer[slot]}:
            answer = list(example.answer)
            answer[slot] = wrong
            assert not verify_sudoku(example.prompt, answer)


def test_the_verifier_refuses_a_valid_grid_that_contradicts_a_clue():
    example = drawn(1)[0]
    relabelled = [(a + 1) % 4 for a in example.answer]
    assert not verify_sudoku(example.prompt, relabelled)
    blank = json.dumps({"sudoku": [[0] * 4] * 4})
    assert verify_sudoku(blank, relabelled)


def big_puzzles():
    return [e for e in drawn(3, "sudoku", min_empty=30, max_empty=32)]


def twin_of(puzzle, rng):
    """A random relabelling, band, row, stack and column swap, and perhaps the transposition."""

    def lines():
        return [3 * b + r for b in rng.permutation(3) for r in rng.permutation(3)]

    twin = np.concatenate([[0], rng.permutation(9) + 1])[puzzle][lines()][:, lines()]
    return twin.T if rng.integers(2) else twin


def test_nine_by_nine_twins_share_their_name_and_other_puzzles_do_not():
    rng = np.random.default_rng(0)
    puzzles = [np.array(json.loads(e.prompt)["sudoku"]) for e in big_puzzles()]
    names = canonical_sudokus(np.array(puzzles))
    assert len(set(names)) == len(names)
    for puzzle, name in zip(puzzles, names, strict=True):
        twins = np.array([twin_of(puzzle, rng) for _ in range(40)])
        assert set(canonical_sudokus(twins)) == {name}
        moved = puzzle.copy()
        given, blank = np.argwhere(puzzle > 0)[0], np.argwhere(puzzle == 0)[0]
        moved[tuple(blank)], moved[tuple(given)] = puzzle[tuple(given)], 0
        assert canonical_sudokus(moved[None]) != [name]


def test_nine_by_nine_answers_pass_the_verifier():
    for example in big_puzzles():
        assert verify_sudoku(example.prompt, example.answer)
        wrong = list(example.answer)
        wrong[40] = (wrong[40] + 1) % 9
        assert not verify_sudoku(example.prompt, wrong)
