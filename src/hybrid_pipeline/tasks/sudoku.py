"""Sudoku: its symmetries, its verifier and how many blanks it has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering import UInt8, render_grids
from hybrid_pipeline.tasks.reasoning_gym import ReasoningGymTask, generated, register_generator
from hybrid_pipeline.tasks.source import (
    GENERATED_SPLITS,
    Example,
    GeneratedSource,
    grid_prompt,
)

WL_ROUNDS = 4
HELD_OUT_OF_FEW_FORMS = (0.2, 0.3)
SHARED_SOLUTIONS = (
    "All 4 x 4 Sudoku grids fall into two orbits of those symmetries, so solved grids recur across"
    " splits; puzzles do not."
)

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


class Sudoku(GeneratedSource[ReasoningGymTask]):
    """Puzzles whose blank squares are scored; a subclass says how large."""

    side: int
    libraries = ("reasoning-gym",)

    @property
    def classes(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(str(digit) for digit in range(1, self.side + 1))

    @property
    def grid_shape(self) -> tuple[int, int]:
        """A slot per square."""
        return self.side, self.side

    def examples(self) -> Iterator[Example]:
        """Puzzles from the generator's metadata."""
        for entries in generated(self.task, self.chunk):
            for entry in entries:
                puzzle = np.array(entry["metadata"]["puzzle"], dtype=np.int64)
                solution = np.array(entry["metadata"]["solution"], dtype=np.int64)
                yield Example(
                    prompt=grid_prompt("sudoku", puzzle.tolist()),
                    answer=tuple((solution.ravel() - 1).tolist()),
                    scored=tuple((puzzle.ravel() == 0).tolist()),
                )

    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """Exact for 4 x 4; an invariant for 9 x 9."""
        return canonical_sudokus(np.array([_clues(text) for text in prompts]))

    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """Whether every row, column and box holds each digit once and every clue is kept."""
        return verify_sudoku(prompt, answer)

    def paint(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> UInt8:
        """The clues in a grid with darker boxes."""
        return render_grids(prompts, rendering, names)

    def remarks(self, prompts: Sequence[str], targets: NDArray[Any]) -> list[str]:
        """How many puzzles have another number of blanks than was asked for.

        The generator blanks a square only if the solution stays unique, so it may stop early.
        """
        del targets
        low, high = (int(self.task.all_options[name]) for name in ("min_empty", "max_empty"))
        blanks = Counter(int((np.array(_clues(text)) == 0).sum()) for text in prompts)
        other = sum(count for number, count in blanks.items() if not low <= number <= high)
        if not other:
            return []
        found = ", ".join(f"{number}: {blanks[number]:,}" for number in sorted(blanks))
        return [
            f"{low if low == high else f'{low} to {high}'} blanks were asked for; {other:,} of "
            f"{len(prompts):,} puzzles have another number, because a solution must stay unique "
            f"(blanks: puzzles): {found}"
        ]


@register_generator("mini_sudoku")
class MiniSudoku(Sudoku):
    """4 x 4. Up to symmetry there are only some thousand puzzles with 7 to 9 blanks.

    So a fifth and three tenths of the forms are held out for validation and test: enough for one
    example a form.
    """

    side = 4
    chunk = 512
    held_out = HELD_OUT_OF_FEW_FORMS
    splits_notes = (GENERATED_SPLITS, SHARED_SOLUTIONS)


@register_generator("sudoku")
class LargeSudoku(Sudoku):
    """9 x 9."""

    side = 9
    chunk = 32


def _clues(prompt: str) -> list[list[int]]:
    clues: list[list[int]] = json.loads(prompt)["sudoku"]
    return clues


def verify_sudoku(prompt: str, answer: Sequence[int]) -> bool:
    """Whether every row, column and box holds each digit once and every clue is kept."""
    puzzle = np.array(_clues(prompt), dtype=np.int64)
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
    million square symmetries; there the name is an invariant of all of them: twins share it, and so
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
    for order in square_orders(4):
        best = np.minimum(best, _relabelled(flat[:, order], 4) @ weights)
    return best


@cache
def square_orders(side: int) -> tuple[Int64, ...]:
    """Permutations of the squares that map Sudokus to Sudokus, as orders of the flat squares."""
    box = round(side**0.5)
    squares = np.arange(side * side).reshape(side, side)
    lines = [
        [band * box + row for band, rows in zip(bands, inner, strict=True) for row in rows]
        for bands in permutations(range(box))
        for inner in product(permutations(range(box)), repeat=box)
    ]
    orders = [squares[np.ix_(r, c)] for r in lines for c in lines]
    return tuple(order.ravel() for grid in orders for order in (grid, grid.T))


def _relabelled(flat: Int64, side: int) -> Int64:
    """Digits renamed in the order of their first appearance; blanks stay 0."""
    is_digit = flat[:, None, :] == np.arange(1, side + 1)[:, None]
    first = np.where(is_digit.any(2), is_digit.argmax(2), flat.shape[1] + np.arange(side))
    rank = first.argsort(1).argsort(1) + 1
    names = np.concatenate([np.zeros((len(flat), 1), dtype=np.int64), rank], axis=1)
    return np.take_along_axis(names, flat, axis=1)


def _invariants(puzzles: Int64) -> UInt64:
    """Colour refinement (Weisfeiler and Leman) of the squares, summed up; uint64 [N].

    Each round a square's colour takes up the sums of hashed colours over its row, its band, its
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
