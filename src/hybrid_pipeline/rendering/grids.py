"""Grids as images: Sudoku clues and mazes with walls.

A grid task's prompt is a JSON object with one key, the kind:

- ``{"sudoku": [[0, 3, ...], ...]}``: clues, 0 for a blank; boxes are the square root of the side;
- ``{"maze": {"right": [[0, 1], ...], "down": [...], "start": 0, "goal": 15}}``: ``right[r][c]`` is
  1 where the way from (r, c) to (r, c + 1) is open, ``down[r][c]`` likewise to (r + 1, c); squares
  are numbered row by row; the outer border is always walled.

A square has ``image_size // max(rows, columns)`` pixels a side, so the grid fills the image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering.atlas import sprite
from hybrid_pipeline.rendering.levels import UInt8, from_coverage
from hybrid_pipeline.rendering.text import DoesNotFitError

MIN_SQUARE_PX = 7
THIN_LINE = 110
THICK_LINE = 255

Examples = Sequence[Any]


def render_grids(
    prompts: Sequence[str], config: RenderingConfig, names: Sequence[str] | None = None
) -> UInt8:
    """Draw grids of one kind and one shape.

    Args:
        prompts: n JSON objects as described above.
        config: image size in pixels.
        names: what to call each grid in an error; its position if left out.

    Returns:
        uint8 [n, H, W] in the levels of :mod:`hybrid_pipeline.rendering.levels`.

    Raises:
        DoesNotFitError: if a square would have fewer than 7 pixels.
        ValueError: if kinds or shapes differ, or a kind is unknown.
    """
    if not prompts:
        return np.zeros((0, config.image_size, config.image_size), dtype=np.uint8)
    examples = [json.loads(text) for text in prompts]
    kinds = sorted({str(kind) for example in examples for kind in example})
    if len(kinds) > 1 or kinds[0] not in _PAINTERS:
        raise ValueError(f"grid kinds {kinds}: one of {sorted(_PAINTERS)} for all is needed")
    first = names[0] if names is not None else "example 0"
    contents = [example[kinds[0]] for example in examples]
    return from_coverage(_PAINTERS[kinds[0]](contents, config.image_size, first))


def is_grid(prompt: str) -> bool:
    """Whether a prompt is a grid rather than text."""
    return any(prompt.startswith(f'{{"{kind}":') for kind in _PAINTERS)


class GridCanvas:
    """Coverage of n images with a grid of squares in their middle; a painter's tool.

    Args:
        n: images.
        rows: of squares.
        columns: of squares.
        image_size: pixels a side.
        name: what an error calls the first grid.

    Raises:
        DoesNotFitError: if a square would have fewer than 7 pixels.
    """

    def __init__(self, n: int, rows: int, columns: int, image_size: int, name: str) -> None:
        self.square = image_size // max(rows, columns)
        if self.square < MIN_SQUARE_PX:
            limit = image_size // MIN_SQUARE_PX
            raise DoesNotFitError(
                f"{name} is a grid of {rows} x {columns} squares, but an image of "
                f"{image_size} px holds at most {limit} x {limit} (squares of {MIN_SQUARE_PX} px)"
            )
        self.rows, self.columns = rows, columns
        self.top = (image_size - rows * self.square) // 2
        self.left = (image_size - columns * self.square) // 2
        self.coverage: UInt8 = np.zeros((n, image_size, image_size), dtype=np.uint8)
        self._size = image_size

    def horizontal(self, line: int, columns: slice, ink: UInt8 | int, width: int) -> None:
        """A line between rows ``line - 1`` and ``line`` along some columns; ink [n] or a number."""
        start = self._clip(self.top + line * self.square - width // 2, width)
        x0 = max(0, self.left + columns.start * self.square - width // 2)
        x1 = min(self._size, self.left + columns.stop * self.square + (width + 1) // 2)
        self._darken(slice(start, start + width), slice(x0, x1), ink)

    def vertical(self, line: int, rows: slice, ink: UInt8 | int, width: int) -> None:
        """A line between columns ``line - 1`` and ``line`` along some rows; ink [n] or a number."""
        start = self._clip(self.left + line * self.square - width // 2, width)
        y0 = max(0, self.top + rows.start * self.square - width // 2)
        y1 = min(self._size, self.top + rows.stop * self.square + (width + 1) // 2)
        self._darken(slice(y0, y1), slice(start, start + width), ink)

    def _clip(self, start: int, width: int) -> int:
        return min(max(0, start), self._size - width)

    def _darken(self, ys: slice, xs: slice, ink: UInt8 | int) -> None:
        window = self.coverage[:, ys, xs]
        value = np.asarray(ink, dtype=np.uint8).reshape(-1, 1, 1)
        np.maximum(window, value, out=window)

    def stamp(self, sprites: UInt8, codes: npt.NDArray[np.int64]) -> None:
        """Put sprite ``codes[n, r, c]`` of uint8 [V, side, side] into every square: one gather."""
        height, width = self.rows * self.square, self.columns * self.square
        pictures = sprites[codes].transpose(0, 1, 3, 2, 4).reshape(len(codes), height, width)
        window = self.coverage[:, self.top : self.top + height, self.left : self.left + width]
        np.maximum(window, pictures, out=window)

    def frame(self, ink: int, width: int) -> None:
        """The outer border."""
        for line in (0, self.rows):
            self.horizontal(line, slice(0, self.columns), ink, width)
        for line in (0, self.columns):
            self.vertical(line, slice(0, self.rows), ink, width)


def character_sprites(characters: str, square: int) -> UInt8:
    """An empty square, then each character centred in one: uint8 [1 + len, square, square]."""
    blank = np.zeros((square, square), dtype=np.uint8)
    return np.stack([blank, *(sprite(c, square) for c in characters)])


def _paint_sudoku(examples: Examples, image_size: int, name: str) -> UInt8:
    clues = _stack(examples)
    n, rows, columns = clues.shape
    box = round(rows**0.5)
    canvas = GridCanvas(n, rows, columns, image_size, name)
    for line in range(1, rows):
        ink = THICK_LINE if line % box == 0 else THIN_LINE
        canvas.horizontal(line, slice(0, columns), ink, 1)
    for line in range(1, columns):
        ink = THICK_LINE if line % box == 0 else THIN_LINE
        canvas.vertical(line, slice(0, rows), ink, 1)
    canvas.frame(THICK_LINE, 1)
    canvas.stamp(character_sprites("123456789"[:rows], canvas.square), clues)
    return canvas.coverage


def _paint_maze(examples: Examples, image_size: int, name: str) -> UInt8:
    right = 1 - _stack([example["right"] for example in examples])
    down = 1 - _stack([example["down"] for example in examples])
    n, rows = right.shape[:2]
    columns = down.shape[2]
    canvas = GridCanvas(n, rows, columns, image_size, name)
    width = 1 if canvas.square < 12 else 2
    ink_right = (right * THICK_LINE).astype(np.uint8)
    ink_down = (down * THICK_LINE).astype(np.uint8)
    for r in range(rows):
        for c in range(columns - 1):
            canvas.vertical(c + 1, slice(r, r + 1), ink_right[:, r, c], width)
    for r in range(rows - 1):
        for c in range(columns):
            canvas.horizontal(r + 1, slice(c, c + 1), ink_down[:, r, c], width)
    canvas.frame(THICK_LINE, width)
    canvas.stamp(character_sprites("SG", canvas.square), _ends(examples, (n, rows, columns)))
    return canvas.coverage


def _stack(grids: Sequence[Any]) -> npt.NDArray[np.int64]:
    shapes = {np.shape(grid) for grid in grids}
    if len(shapes) > 1:
        raise ValueError(f"grids of one batch must have one shape, not {sorted(shapes)}")
    return np.array(grids, dtype=np.int64)


def _ends(examples: Examples, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Codes [n, rows, columns]: 1 at the start, 2 at the goal, 0 elsewhere."""
    codes = np.zeros((shape[0], shape[1] * shape[2]), dtype=np.int64)
    rows = np.arange(shape[0])
    for code, key in ((1, "start"), (2, "goal")):
        codes[rows, [example[key] for example in examples]] = code
    return codes.reshape(shape)


_PAINTERS: dict[str, Callable[[Examples, int, str], UInt8]] = {
    "sudoku": _paint_sudoku,
    "maze": _paint_maze,
}
