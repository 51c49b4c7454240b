"""Sudoku from reasoning_gym's generators, its symmetries and its verifier."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_pipeline.config import ReasoningGymTask
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.tasks.example import Example, Source, posed_grid

CHUNK = {4: 512, 9: 32}
WL_ROUNDS = 4
HELD_OUT_OF_FEW_FORMS = (0.2, 0.3)

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


def sudoku_source(task: ReasoningGymTask) -> Source:
    """Puzzles of ``mini_sudoku`` (4 x 4) or ``sudoku`` (9 x 9); blank cells are scored.

    Up to symmetry there are only some thousand 4 x 4 puzzles with 7 to 9 blanks, so a fifth and
    three tenths of the forms are held out for validation and test: enough for one example a form.
    """
    side = 4 if task.generator == "mini_sudoku" else 9

    def examples() -> Iterator[Example]:
        for entries in generated(task, CHUNK[side]):
            puzzles = np.array([e["metadata"]["puzzle"] for e in entries], dtype=np.int64)
            solutions = np.array([e["metadata"]["solution"] for e in entries], dtype=np.int64)
            names = canonical_sudokus(puzzles)
            for puzzle, solution, name in zip(puzzles, solutions, names, strict=True):
                yield Example(
                    posed=posed_grid("sudoku", puzzle.tolist()),
                    canonical=name,
                    answer=tuple((solution.ravel() - 1).tolist()),
                    scored=tuple((puzzle.ravel() == 0).tolist()),
                )

    classes = tuple(str(d) for d in range(1, side + 1))
    held_out = HELD_OUT_OF_FEW_FORMS if side == 4 else None
    return Source(examples, classes, (side, side), verify_sudoku, held_out)


def generated(task: ReasoningGymTask, chunk: int) -> Iterator[list[dict[str, Any]]]:
    """Endless chunks of entries of a reasoning_gym generator; entry i has its own seed."""
    import reasoning_gym  # seconds to import, and only where data are made

    seed = seed_for(f"reasoning_gym/{task.generator}", task.data_seed) % 2**31
    start = 0
    while True:
        data = reasoning_gym.create_dataset(
            task.generator, seed=seed + start, size=chunk, **task.options
        )
        yield [data[i] for i in range(chunk)]
        start += chunk


def verify_sudoku(posed: str, answer: Sequence[int]) -> bool:
    """Whether every row, column and box holds each digit once and every clue is kept."""
    puzzle = np.array(json.loads(posed)["sudoku"], dtype=np.int64)
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


def canonical_sudokus(puzzles: Int64) -> list[str]:
    """A name for each puzzle that its symmetric twins share.

    The symmetries are relabelling, swaps of rows in a band, of bands, of columns and stacks
    likewise, and transposition. 4 x 4: twins share a name and nothing else does. 9 x 9 has 3.4
    million cell symmetries; there the name is an invariant of all of them: twins share it, and so
    might puzzles that are no twins, which then only land in one split.

    Args:
        puzzles: digits int64 [N, side, side], 0 for a blank; the clues determine the solution.
    """
    if puzzles.shape[1] == 4:
        return [f"{code:x}" for code in _smallest_codes(puzzles).tolist()]
    names = np.minimum(_invariants(puzzles), _invariants(puzzles.transpose(0, 2, 1)))
    return [f"{code:016x}" for code in names.tolist()]


def _smallest_codes(puzzles: Int64) -> Int64:
    """The smallest number, base 5, that a 4 x 4 puzzle or a twin spells; int64 [N]."""
    flat = puzzles.reshape(len(puzzles), 16)
    weights = 5 ** np.arange(15, -1, -1, dtype=np.int64)
    best = np.full(len(puzzles), np.iinfo(np.int64).max)
    for order in cell_orders(4):
        best = np.minimum(best, _relabelled(flat[:, order], 4) @ weights)
    return best


@cache
def cell_orders(side: int) -> tuple[Int64, ...]:
    """Permutations of the cells that map Sudokus to Sudokus, as orders of the flat cells."""
    box = round(side**0.5)
    cells = np.arange(side * side).reshape(side, side)
    lines = [
        [band * box + row for band, rows in zip(bands, inner, strict=True) for row in rows]
        for bands in permutations(range(box))
        for inner in product(permutations(range(box)), repeat=box)
    ]
    orders = [cells[np.ix_(r, c)] for r in lines for c in lines]
    return tuple(order.ravel() for grid in orders for order in (grid, grid.T))


def _relabelled(flat: Int64, side: int) -> Int64:
    """Digits renamed in the order of their first appearance; blanks stay 0."""
    is_digit = flat[:, None, :] == np.arange(1, side + 1)[:, None]
    first = np.where(is_digit.any(2), is_digit.argmax(2), flat.shape[1] + np.arange(side))
    rank = first.argsort(1).argsort(1) + 1
    names = np.concatenate([np.zeros((len(flat), 1), dtype=np.int64), rank], axis=1)
    return np.take_along_axis(names, flat, axis=1)


def _invariants(puzzles: Int64) -> UInt64:
    """Colour refinement (Weisfeiler and Leman) of the cells, summed up; uint64 [N].

    Each round a cell's colour takes up the sums of hashed colours over its row, its band, its
    column, its stack, its box and the clues of its digit. Sums do not see order, so neither
    relabelling nor any swap changes the result.
    """
    n, side = puzzles.shape[:2]
    box = round(side**0.5)
    colours = _mixed((puzzles > 0).astype(np.uint64))
    same_digit = (puzzles[:, :, :, None] == np.arange(1, side + 1)).reshape(n, -1, side)
    for _ in range(WL_ROUNDS):
        blocks = (n, box, box, box, box)
        rows = _mixed(colours.sum(2))[:, :, None]
        columns = _mixed(colours.sum(1) * np.uint64(3))[:, None, :]
        bands = rows.reshape(n, box, box).sum(2).repeat(box, 1)[:, :, None]
        stacks = columns.reshape(n, box, box).sum(2).repeat(box, 1)[:, None, :]
        boxes = colours.reshape(blocks).sum((2, 4)).repeat(box, 1).repeat(box, 2)
        digits = (colours.reshape(n, -1, 1) * same_digit).sum(1)
        of_clue = (_mixed(digits)[:, None, :] * same_digit).sum(2).reshape(n, side, side)
        colours = _mixed(colours + rows + columns) + _mixed(bands + np.uint64(1))
        colours = _mixed(colours + _mixed(stacks + np.uint64(2)) + _mixed(boxes) + of_clue)
    return np.asarray(_mixed(colours.sum((1, 2))), dtype=np.uint64)


def _mixed(values: NDArray[Any]) -> UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), element by element."""
    z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
