"""Random strings for contrastive pretraining, their layouts, and the character tokenizer.

A *layout* is what gets drawn: lines of text, a grid of squares, or one with walls between
them. Its *caption* spells it out in at most ``context_length - 2`` characters. Captions are drawn
in families: one string and variants a few edits away, so telling them apart needs every square.

No layout is an example of a task: see :func:`check_disjoint`. Held-out captions are told from
training ones by a hash of the caption, so the two sets cannot meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from hybrid_pipeline.features.layouts import BLANK, WALL_CODES, Layout
from hybrid_pipeline.features.prompts import prompt_text
from hybrid_pipeline.seeding import rng_for

DIGITS = "123456"
TEXT_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*/=()[]<>?!#"
VOCABULARY = "".join(sorted({*TEXT_ALPHABET, *WALL_CODES, BLANK, "@", " ", "\n"}))
MAX_TEXT, MAX_SQUARES = 22, 18


class OverlapError(ValueError):
    """A pretraining string is also an example of a task."""


def draw_family(
    rng: np.random.Generator, num_variants: int, edits: int, *, held_out: bool = False
) -> list[Layout]:
    """A random layout and variants, each ``edits`` substitutions away from it.

    Returns:
        ``1 + num_variants`` layouts with different captions, all on the wanted side of the split,
        none of them like a task's example.
    """

    def accepted(layout: Layout) -> bool:
        return layout.is_held_out == held_out and not is_like_a_task(layout)

    while True:
        base, alphabet = _draw_layout(rng)
        if not accepted(base):
            continue
        family = {base.caption: base}
        for _ in range(64 * num_variants):
            if len(family) > num_variants:
                break
            variant = _edited(base, alphabet, edits, rng)
            if accepted(variant):
                family.setdefault(variant.caption, variant)
        if len(family) == 1 + num_variants:
            return list(family.values())


def _draw_layout(rng: np.random.Generator) -> tuple[Layout, str]:
    kind = rng.choice(3, p=(0.2, 0.45, 0.35))
    if kind == 0:
        return _draw_text(rng), TEXT_ALPHABET
    rows, cols = _draw_shape(rng)
    if kind == 1:
        alphabet = DIGITS[:rows]  # the renderer draws digits up to the number of rows
        return Layout("grid", rows, cols, _draw_squares(rows * cols, alphabet, rng)), alphabet
    return _draw_walls(rows, cols, rng), ""


def _draw_shape(rng: np.random.Generator) -> tuple[int, int]:
    """4 x 4 in seven of ten cases, else 2 to 6 a side and at most ``MAX_SQUARES`` squares."""
    if rng.random() < 0.7:
        return 4, 4
    while True:
        rows, cols = (int(n) for n in rng.integers(2, 7, size=2))
        if rows * cols <= MAX_SQUARES:
            return rows, cols


def _draw_text(rng: np.random.Generator) -> Layout:
    rows = int(rng.integers(1, 6))
    longest = min(10, (MAX_TEXT + 1) // rows - 1)
    cols = int(rng.integers(min(3, longest), longest + 1))
    characters = rng.integers(len(TEXT_ALPHABET), size=rows * cols)
    return Layout("text", rows, cols, tuple(TEXT_ALPHABET[c] for c in characters))


def _draw_squares(count: int, alphabet: str, rng: np.random.Generator) -> tuple[str, ...]:
    characters = rng.integers(len(alphabet), size=count)
    filled = rng.random(count) < rng.uniform(0.3, 1.0)
    return tuple(alphabet[c] if f else BLANK for c, f in zip(characters, filled, strict=True))


def _draw_walls(rows: int, cols: int, rng: np.random.Generator) -> Layout:
    count = rows * cols
    density = rng.uniform(0.2, 0.6)
    row, col = np.divmod(np.arange(count), cols)
    right = (rng.random(count) < density) & (col < cols - 1)
    below = (rng.random(count) < density) & (row < rows - 1)
    start, goal = (int(mark) for mark in rng.integers(count, size=2))
    marks = (goal, goal) if rng.random() < 0.5 else (start, goal)
    return Layout("walls", rows, cols, (), tuple((right + 2 * below).tolist()), marks)


def _edited(base: Layout, alphabet: str, edits: int, rng: np.random.Generator) -> Layout:
    if base.kind == "walls":
        return _with_other_walls(base, edits, rng)
    squares = list(base.squares)
    for position in rng.permutation(len(squares))[:edits]:
        others = [c for c in alphabet if c != squares[position]]
        squares[position] = others[int(rng.integers(len(others)))]
    return replace(base, squares=tuple(squares))


def _with_other_walls(base: Layout, edits: int, rng: np.random.Generator) -> Layout:
    """Toggle walls; in three of ten cases move G (and S, if it is there too) as one edit."""
    count, marks = len(base.walls), base.marks
    if rng.random() < 0.3:
        start, goal = marks
        moved = (goal + int(rng.integers(1, count))) % count
        marks, edits = (moved if start == goal else start, moved), edits - 1
    inner = [(p, 1) for p in range(count) if p % base.cols < base.cols - 1]
    inner += [(p, 2) for p in range(count) if p // base.cols < base.rows - 1]
    walls = list(base.walls)
    for choice in rng.permutation(len(inner))[:edits]:
        position, bit = inner[choice]
        walls[position] ^= bit
    return replace(base, walls=tuple(walls), marks=marks)


def is_like_a_task(layout: Layout) -> bool:
    """Whether a layout could be an example of a grid task.

    A 4 x 4 Sudoku shows only the digits 1 to 4 and no digit twice in a row, column or box; a maze
    has a way from S to another square G. Layouts with these properties are never used, whichever
    examples the tasks have drawn.
    """
    if layout.kind == "walls":
        start, goal = layout.marks
        return start != goal and goal in _reachable(layout, start)
    return layout.kind == "grid" and _is_consistent_sudoku(layout)


def _reachable(layout: Layout, start: int) -> set[int]:
    found, frontier = {start}, [start]
    while frontier:
        square = frontier.pop()
        row, col = divmod(square, layout.cols)
        ways = []
        if col + 1 < layout.cols and not layout.walls[square] & 1:
            ways.append(square + 1)
        if row + 1 < layout.rows and not layout.walls[square] & 2:
            ways.append(square + layout.cols)
        if col > 0 and not layout.walls[square - 1] & 1:
            ways.append(square - 1)
        if row > 0 and not layout.walls[square - layout.cols] & 2:
            ways.append(square - layout.cols)
        frontier += [way for way in ways if way not in found]
        found.update(ways)
    return found


def _is_consistent_sudoku(layout: Layout) -> bool:
    if (layout.rows, layout.cols) != (4, 4) or not set(layout.squares) <= set("1234" + BLANK):
        return False
    squares = np.array(layout.squares).reshape(4, 4)
    boxes = squares.reshape(2, 2, 2, 2).swapaxes(1, 2).reshape(4, 4)
    for unit in (*squares, *squares.T, *boxes):
        clues = [c for c in unit if c != BLANK]
        if len(set(clues)) < len(clues):
            return False
    return True


def check_disjoint(layouts: Iterable[Layout], prompts: Collection[str] = ()) -> None:
    """Refuse layouts that are examples of a task.

    Args:
        layouts: what the pretraining draws.
        prompts: of the task tables, as the renderer gets them.

    Raises:
        OverlapError: naming the first caption that overlaps.
    """
    known = frozenset(prompts)
    for layout in layouts:
        if is_like_a_task(layout):
            raise OverlapError(f"pretraining string {layout.caption!r} could be a task's example")
        if prompt_text(layout) in known or layout.caption in known:
            raise OverlapError(f"pretraining string {layout.caption!r} is a task's example")


def draw_batch(
    seed: int, batch: int, size: int, *, num_variants: int, edits: int, held_out: bool = False
) -> list[Layout]:
    """The layouts of one batch, addressed by number; captions are distinct within it.

    Families stay together.

    Args:
        seed: root seed of the pretraining.
        batch: number of the batch; the same number always gives the same layouts.
        size: layouts in the batch, a multiple of the family size.
        num_variants: hard negatives in a family.
        edits: substitutions between a string and its variants.
        held_out: evaluation strings instead of training strings.
    """
    rng = rng_for("clip_held_out" if held_out else "clip_strings", seed, batch)
    layouts: list[Layout] = []
    seen: set[str] = set()
    while len(layouts) < size:
        family = draw_family(rng, num_variants, edits, held_out=held_out)
        captions = {layout.caption for layout in family}
        if captions & seen:
            continue
        seen |= captions
        layouts += family
    return layouts[:size]


class CharacterTokenizer:
    """Characters to ids: 0 pads, 1 starts, the highest id ends (open_clip pools the maximum)."""

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length
        self.ids = {character: i + 2 for i, character in enumerate(VOCABULARY)}
        self.end_id = len(VOCABULARY) + 2
        self.vocab_size = self.end_id + 1

    def __call__(self, captions: Sequence[str]) -> np.ndarray:
        """Ids, int64 [n, context_length].

        Raises:
            ValueError: when a caption is too long or has an unknown character.
        """
        ids = np.zeros((len(captions), self.context_length), dtype=np.int64)
        for row, caption in zip(ids, captions, strict=True):
            if len(caption) > self.context_length - 2:
                raise ValueError(
                    f"caption {caption!r} has {len(caption)} characters;"
                    f" at most {self.context_length - 2} fit"
                )
            unknown = set(caption) - self.ids.keys()
            if unknown:
                raise ValueError(f"caption {caption!r} has unknown characters {sorted(unknown)}")
            row[: len(caption) + 2] = [1, *(self.ids[c] for c in caption), self.end_id]
        return ids
