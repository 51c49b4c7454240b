"""Text as images: wrapped at words, set in a monospaced grid, one gather per batch."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering.atlas import FONT, Atlas, atlas_for, has_glyph
from hybrid_pipeline.rendering.levels import UInt8, from_coverage
from hybrid_pipeline.visible_text import visible

MAX_SHOWN = 5
RIGHT_TO_LEFT = ("R", "AL")
"""Unicode's bidirectional classes of Hebrew, Arabic and the like."""


class UndrawableError(ValueError):
    """An example cannot be drawn; the message names it, the reason and how many more there are."""


class DoesNotFitError(UndrawableError):
    """An example is too large for the image; the message names it and the limit."""


class MissingGlyphError(UndrawableError):
    """A character cannot be drawn: the font lacks it, or its script needs shaping."""


@dataclass(frozen=True)
class TextGrid:
    """How many characters an image holds: ``rows`` lines of ``columns`` characters."""

    rows: int
    columns: int


def text_grid(config: RenderingConfig) -> TextGrid:
    """The number of lines and columns that fit into ``config.image_size`` pixels."""
    atlas = atlas_for(config.font_size_px)
    ink = atlas.ink_bottom - atlas.ink_top
    rows = 1 + (config.image_size - ink) // atlas.pitch
    grid = TextGrid(rows=rows, columns=(config.image_size - atlas.overhang) // atlas.advance)
    if grid.rows < 1 or grid.columns < 1:
        raise DoesNotFitError(
            f"rendering.font_size_px {config.font_size_px} leaves no room for a character in an "
            f"image of {config.image_size} px"
        )
    return grid


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most ``columns`` characters: kept line breaks, then words, then hard breaks."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines.extend(_wrap_paragraph(paragraph.rstrip(), columns))
    return lines


def _wrap_paragraph(paragraph: str, columns: int) -> list[str]:
    lines: list[str] = []
    rest = paragraph
    while len(rest) > columns:
        cut = rest.rfind(" ", 1, columns + 1)
        if cut <= 0 or not rest[:cut].strip():
            lines.append(rest[:columns])
            rest = rest[columns:]
        else:
            lines.append(rest[:cut].rstrip())
            rest = rest[cut + 1 :]
    lines.append(rest)
    return lines


def text_lines(
    texts: Sequence[str], config: RenderingConfig, names: Sequence[str] | None = None
) -> list[list[str]]:
    r"""The lines that each text is drawn in.

    Args:
        texts: n strings; ``"\n"`` breaks a line, longer lines are wrapped.
        config: image size and font size in pixels.
        names: what to call each text in an error, such as ``row 7``; its position if left out.

    Raises:
        MissingGlyphError: if a character cannot be drawn: all that the font lacks look alike.
        DoesNotFitError: if a text needs more lines than the image has.
    """
    grid = text_grid(config)
    called = names if names is not None else [f"example {index}" for index in range(len(texts))]
    shown = [visible(text) for text in texts]
    undrawn = [(row, reason) for row, text in enumerate(shown) if (reason := undrawable(text))]
    if undrawn:
        first, reason = undrawn[0]
        others = _others([called[row] for row, _ in undrawn])
        raise MissingGlyphError(f"{called[first]} {reason}: {texts[first][:60]!r}{others}")
    lines = [wrap(text, grid.columns) for text in shown]
    long = [row for row, example in enumerate(lines) if len(example) > grid.rows]
    if long:
        first = long[0]
        raise DoesNotFitError(
            f"{called[first]} needs {len(lines[first])} lines of {grid.columns} characters, but "
            f"an image of {config.image_size} px at font_size_px {config.font_size_px} holds "
            f"{grid.rows}: {texts[first][:60]!r}{_others([called[row] for row in long])}"
        )
    return lines


def undrawable(text: str) -> str | None:
    """Why a visible text cannot be drawn, as the rest of a sentence about it; None if it can."""
    for character in text:
        if unicodedata.bidirectional(character) in RIGHT_TO_LEFT:
            return (
                f"has the character {character!r} (U+{ord(character):04X}) of a script that is "
                "written from right to left, which the renderer does not set"
            )
        if not has_glyph(character):
            return (
                f"has the character {character!r} (U+{ord(character):04X}), which the font {FONT} "
                "lacks, so it would look like every other such character"
            )
    return None


def _others(names: Sequence[str]) -> str:
    """How many more are affected, after the first, and what the next are called."""
    if len(names) == 1:
        return ""
    rest = names[1:]
    shown = ", ".join(rest[:MAX_SHOWN]) + (", ..." if len(rest) > MAX_SHOWN else "")
    return f"; {len(rest):,} more cannot be drawn for such a reason: {shown}"


def render_text(
    texts: Sequence[str], config: RenderingConfig, names: Sequence[str] | None = None
) -> UInt8:
    r"""Draw each text top left into an image.

    Args:
        texts: n strings; ``"\n"`` breaks a line, longer lines are wrapped.
        config: image size and font size in pixels.
        names: what to call each text in an error; its position if left out.

    Returns:
        uint8 [n, H, W] in the levels of :mod:`hybrid_pipeline.rendering.levels`.

    Raises:
        MissingGlyphError: if a character cannot be drawn.
        DoesNotFitError: if a text needs more lines than the image has.
    """
    grid = text_grid(config)
    lines = text_lines(texts, config, names)
    block = "".join(
        "".join(line.ljust(grid.columns) for line in example)
        + " " * (grid.columns * (grid.rows - len(example)))
        for example in lines
    )
    atlas = atlas_for(config.font_size_px, block)
    codes = atlas.codes(block).reshape(len(texts), grid.rows, grid.columns)
    return from_coverage(_compose(atlas, codes, config.image_size))


def _compose(atlas: Atlas, codes: np.ndarray, image_size: int) -> UInt8:
    """Coverage [n, image_size, image_size] of character codes [n, rows, columns].

    Every character's own box is one gather; ink that reaches into neighbouring boxes is added
    where there is any, blended with what is there as Pillow does.
    """
    n, rows, columns = codes.shape
    down, right = atlas.blocks.shape[:2]
    shape = (n, rows + down - 1, atlas.pitch, columns + right - 1, atlas.advance)
    canvas = np.zeros(shape, dtype=np.uint8)
    y, x = atlas.origin
    own = atlas.blocks[y, x][codes].transpose(0, 1, 3, 2, 4)
    canvas[:, y : y + rows, :, x : x + columns, :] = own
    for a, b in np.ndindex(down, right):
        if (a, b) != atlas.origin and atlas.blocks[a, b].any():
            window = canvas[:, a : a + rows, :, b : b + columns, :].transpose(0, 1, 3, 2, 4)
            _spill(window, atlas.blocks[a, b], codes)
    flat = canvas.reshape(n, shape[1] * shape[2], shape[3] * shape[4])
    first_row = atlas.origin[0] * atlas.pitch
    first_column = atlas.origin[1] * atlas.advance
    top, left = margins(atlas, rows, columns, image_size)
    return _crop(flat, first_row - top, first_column - left, image_size)


def _spill(window: UInt8, glyphs: UInt8, codes: np.ndarray) -> None:
    """Blend the part of each glyph that lies in a neighbouring box into ``window``."""
    reaching = np.nonzero(np.asarray(glyphs.any((1, 2)))[codes])
    spilled = glyphs[codes[reaching]].astype(np.int64)
    there = window[reaching].astype(np.int64)
    window[reaching] = there + spilled - (2 * there * spilled + 255) // 510


def margins(atlas: Atlas, rows: int, columns: int, image_size: int) -> tuple[int, int]:
    """Pixels from the image's corner to the first line's top and the first column."""
    height = (rows - 1) * atlas.pitch + atlas.ink_bottom - atlas.ink_top
    top = (image_size - height) // 2 - atlas.ink_top
    return top, (image_size - columns * atlas.advance - atlas.overhang) // 2


def _crop(flat: UInt8, top: int, left: int, size: int) -> UInt8:
    """The window [top : top + size, left : left + size], zero where it leaves ``flat``."""
    image = np.zeros((flat.shape[0], size, size), dtype=np.uint8)
    y0, x0 = max(0, -top), max(0, -left)
    window = flat[:, top + y0 : top + size, left + x0 : left + size]
    image[:, y0 : y0 + window.shape[1], x0 : x0 + window.shape[2]] = window
    return image
