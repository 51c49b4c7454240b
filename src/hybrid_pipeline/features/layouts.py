"""One drawable string: lines of text, a grid of digits, or squares with walls; and its caption."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

LayoutKind = Literal["text", "grid", "walls"]
WALL_CODES = "~|_:"  # no wall, a wall to the right, a wall below, both
BLANK = "."
SQUARE_NAMES = "0123456789ABCDEFGH"
HELD_OUT_ONE_IN = 16


@dataclass(frozen=True)
class Layout:
    """One drawable string.

    Attributes:
        kind: lines of text, a ruled grid of digits, or squares with walls between them.
        rows: lines of text, or rows of squares.
        cols: characters a line, or columns of squares.
        squares: for text and grids, ``rows * cols`` characters, row-major; ``BLANK`` for none.
        walls: for ``walls``, a code 0 to 3 a square: bit 0 a wall to the right, bit 1 one below.
        marks: for ``walls``, the squares of S and G; in one square, G hides S.
    """

    kind: LayoutKind
    rows: int
    cols: int
    squares: tuple[str, ...] = ()
    walls: tuple[int, ...] = ()
    marks: tuple[int, int] = (0, 0)

    @property
    def caption(self) -> str:
        """The text that goes with the image."""
        if self.kind == "grid":
            return "".join(self.squares) + f" {self.rows}{self.cols}"
        if self.kind == "walls":
            start, goal = (SQUARE_NAMES[mark] for mark in self.marks)
            return "".join(WALL_CODES[code] for code in self.walls) + f"@{start}{goal}{self.rows}"
        starts = range(0, len(self.squares), self.cols)
        return "\n".join("".join(self.squares[s : s + self.cols]) for s in starts)

    @property
    def is_held_out(self) -> bool:
        """Whether this caption belongs to evaluation; one in ``HELD_OUT_ONE_IN`` does."""
        digest = hashlib.blake2b(self.caption.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "little") % HELD_OUT_ONE_IN == 0
