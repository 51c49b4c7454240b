"""An answer to a grid task as a small SVG: clues, answers, walls, and crosses over what is wrong.

Colours come from the page's style, so that the drawing follows the reader's theme. Shapes are
joined into few elements: a page holds hundreds of these.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hybrid_pipeline.report.gallery import ExampleCard

SIDE = 20  # units of one square
EDGE = 2
INSET = 5  # of a cross

Slot = tuple[int, int, int]  # index, row, column


def answer_svg(card: ExampleCard, predicted: Sequence[int], label: str) -> str:
    """One answer, or the truth, as an SVG element.

    Args:
        card: the example; a grid.
        predicted: class of each slot.
        label: what a screen reader says.

    Raises:
        ValueError: for an example that is no grid.
    """
    if card.grid is None:
        raise ValueError(f"example {card.example} of {card.task!r} is text, which has no grid")
    rows, columns = card.grid
    slots = [(i, *divmod(i, columns)) for i in range(rows * columns)]
    wrong = card.wrong(predicted)
    maze = _maze(card.prompt)
    marked = len(card.classes) == 2  # a slot is on or off: filled instead of named
    parts = [f'<path class="square" d="{_squares(slots)}"/>']
    if marked:
        filled = [s for s in slots if predicted[s[0]] and not wrong[s[0]]]
        parts += _path("on", _squares(filled))
    parts += _path("bad", _squares([s for s in slots if wrong[s[0]]]))
    if marked:
        parts += _path("dot", _dots([s for s in slots if predicted[s[0]]]))
    else:
        parts += _names(card, predicted, slots)
    if maze is not None:
        parts += [*_path("wall", _walls(maze, rows, columns)), *_ends(maze, columns)]
    parts += _path("cross", _crosses([s for s in slots if wrong[s[0]]]))
    width, height = columns * SIDE + 2 * EDGE, rows * SIDE + 2 * EDGE
    return (
        f'<svg viewBox="{-EDGE} {-EDGE} {width} {height}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{"".join(parts)}</svg>'
    )


def _path(kind: str, drawing: str) -> list[str]:
    return [f'<path class="{kind}" d="{drawing}"/>'] if drawing else []


def _squares(slots: Iterable[Slot]) -> str:
    return "".join(f"M{c * SIDE} {r * SIDE}h{SIDE}v{SIDE}h-{SIDE}z" for _, r, c in slots)


def _dots(slots: Iterable[Slot]) -> str:
    """A small dot in the middle of a marked square: colour alone would not print."""
    return "".join(f"M{c * SIDE + 8} {r * SIDE + 8}h4v4h-4z" for _, r, c in slots)


def _crosses(slots: Iterable[Slot]) -> str:
    far = SIDE - 2 * INSET
    return "".join(
        f"M{c * SIDE + INSET} {r * SIDE + INSET}l{far} {far}m0-{far}l-{far} {far}"
        for _, r, c in slots
    )


def _names(card: ExampleCard, predicted: Sequence[int], slots: Sequence[Slot]) -> Iterator[str]:
    """Clues in a soft tone, answers in a strong one; names of one character share an element."""
    short = all(len(name) == 1 for name in card.classes)
    for kind, wanted in (("given", False), ("own", True)):
        chosen = [s for s in slots if card.scored[s[0]] is wanted]
        for row in sorted({r for _, r, _ in chosen}):
            shown = predicted if wanted else card.truth  # a clue is part of the prompt
            squares = [(c, card.classes[shown[i]]) for i, r, c in chosen if r == row]
            groups = [squares] if short else [[square] for square in squares]
            for group in groups:
                xs = " ".join(str(c * SIDE + SIDE // 2) for c, _ in group)
                text = html.escape("".join(name for _, name in group))
                size = "" if short else ' font-size="7"'
                y = row * SIDE + SIDE // 2 + 1
                yield f'<text class="{kind}" x="{xs}" y="{y}"{size}>{text}</text>'


def _maze(prompt: str) -> dict[str, Any] | None:
    try:
        content = json.loads(prompt)
    except json.JSONDecodeError:
        return None
    maze = content.get("maze") if isinstance(content, dict) else None
    return maze if isinstance(maze, dict) else None


def _walls(maze: dict[str, Any], rows: int, columns: int) -> str:
    """The outer border, and a line wherever the way to a neighbour is closed."""
    lines = [f"M0 0h{columns * SIDE}v{rows * SIDE}h-{columns * SIDE}z"]
    for r, row in enumerate(maze["right"]):
        lines += [
            f"M{(c + 1) * SIDE} {r * SIDE}v{SIDE}" for c, open_ in enumerate(row) if not open_
        ]
    for r, row in enumerate(maze["down"]):
        lines += [
            f"M{c * SIDE} {(r + 1) * SIDE}h{SIDE}" for c, open_ in enumerate(row) if not open_
        ]
    return "".join(lines)


def _ends(maze: dict[str, Any], columns: int) -> Iterator[str]:
    for letter, key in (("S", "start"), ("G", "goal")):
        row, column = divmod(int(maze[key]), columns)
        x, y = column * SIDE + SIDE // 2, row * SIDE + SIDE // 2 + 1
        yield f'<text class="own" x="{x}" y="{y}">{letter}</text>'
