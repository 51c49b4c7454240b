"""Sudoku from reasoning_gym's generators, its symmetries and its verifier."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product

import numpy as np
import reasoning_gym
from numpy.typing import NDArray

from hybrid_pipeline.config import ReasoningGymTask
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.tasks.example import Example, Source, posed_grid

CHUNK = 256


def sudoku_source(task: ReasoningGymTask) -> Source:
    """Puzzles of ``mini_sudoku`` (4 x 4) or ``sudoku`` (9 x 9); blank cells are scored."""
    side = 4 if task.generator == "mini_sudoku" else 9
    box = round(side**0.5)

    def examples() -> Iterator[Example]:
        seed = seed_for(f"reasoning_gym/{task.generator}", task.data_seed) % 2**31
        start = 0
        while True:
            data = reasoning_gym.create_dataset(
                task.generator, seed=seed + start, size=CHUNK, **task.options
            )
            entries = [data[i]["metadata"] for i in range(CHUNK)]
            puzzles = np.array([e["puzzle"] for e in entries], dtype=np.int64)
            solutions = np.array([e["solution"] for e in entries], dtype=np.int64)
            names = canonical_sudokus(puzzles)
            for puzzle, solution, name in zip(puzzles, solutions, names, strict=True):
                yield Example(
                    posed=posed_grid("sudoku", box=[box, box], clues=puzzle.tolist()),
                    canonical=name,
                    answer=tuple((solution.ravel() - 1).tolist()),
                    scored=tuple((puzzle.ravel() == 0).tolist()),
                )
            start += CHUNK

    classes = tuple(str(d) for d in range(1, side + 1))
    return Source(examples, classes, (side, side), verify_sudoku)


def verify_sudoku(posed: str, answer: Sequence[int]) -> bool:
    """Whether every row, column and box holds each digit once and every clue is kept."""
    puzzle = np.array(json.loads(posed)["clues"], dtype=np.int64)
    side = len(puzzle)
    box = round(side**0.5)
    grid = np.array(answer, dtype=np.int64).reshape(side, side) + 1
    if not np.array_equal(grid[puzzle > 0], puzzle[puzzle > 0]):
        return False
    boxes = grid.reshape(box, box, box, box).transpose(0, 2, 1, 3).reshape(side, side)
    wanted = np.arange(1, side + 1)
    return all(
        np.array_equal(np.sort(part), np.broadcast_to(wanted, part.shape))
        for part in (grid, grid.T, boxes)
    )


def canonical_sudokus(puzzles: NDArray[np.int64]) -> list[str]:
    """A name for each puzzle that its symmetric twins share.

    4 x 4: exact, over relabelling x rows in bands x bands x columns likewise x transposition. 9 x 9
    has 3.4 million cell symmetries; there relabelling and transposition alone are used, so twins by
    row or column swaps are not recognised.

    Args:
        puzzles: digits int64 [N, side, side], 0 for a blank; the clues determine the solution.
    """
    n, side = puzzles.shape[:2]
    flat = puzzles.reshape(n, side * side)
    best: NDArray[np.int64] | None = None
    for order in _cell_orders(side):
        candidate = _relabelled(flat[:, order], side)
        best = candidate if best is None else _smaller(best, candidate)
    if best is None:
        raise RuntimeError("a sudoku without a symmetry")
    return ["".join(map(str, row)) for row in best.tolist()]


@cache
def _cell_orders(side: int) -> tuple[NDArray[np.int64], ...]:
    """Permutations of the cells that map Sudokus to Sudokus, as orders of the flat cells."""
    box = round(side**0.5)
    cells = np.arange(side * side).reshape(side, side)
    if side > 4:
        return (cells.ravel(), cells.T.ravel())
    lines = [
        [band * box + row for band, rows in zip(bands, inner, strict=True) for row in rows]
        for bands in permutations(range(box))
        for inner in product(permutations(range(box)), repeat=box)
    ]
    orders = [cells[np.ix_(r, c)] for r in lines for c in lines]
    return tuple(order.ravel() for grid in orders for order in (grid, grid.T))


def _relabelled(flat: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Digits renamed in the order of their first appearance; blanks stay 0."""
    is_digit = flat[:, :, None] == np.arange(1, side + 1)
    first = np.where(is_digit.any(1), is_digit.argmax(1), flat.shape[1] + np.arange(side))
    rank = first.argsort(1).argsort(1) + 1
    names = np.concatenate([np.zeros((len(flat), 1), dtype=np.int64), rank], axis=1)
    return np.take_along_axis(names, flat, axis=1)


def _smaller(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row by row the lexicographically smaller one."""
    differs = a != b
    at = differs.argmax(1)[:, None]
    less = np.take_along_axis(b, at, 1) < np.take_along_axis(a, at, 1)
    return np.where(less, b, a)
