"""A monospaced glyph atlas: every character once, as anti-aliased coverage.

The font is DejaVu Sans Mono as matplotlib ships it (found without importing matplotlib). Pillow's
basic layout engine is pinned: raqm, where it is installed, places glyphs differently.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hybrid_pipeline.rendering.levels import Int64, UInt8
from hybrid_pipeline.storage import file_key

FONT = "DejaVu Sans Mono"
PRINTABLE_ASCII = "".join(chr(c) for c in range(32, 127))
NO_CHARACTER = "\uffff"
GLYPH_TEST_PX = 48


@cache
def font_path() -> Path:
    """Where DejaVuSansMono.ttf lies.

    Raises:
        FileNotFoundError: if matplotlib, which carries the font, is not installed whole.
    """
    spec = importlib.util.find_spec("matplotlib")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        path = Path(place) / "mpl-data" / "fonts" / "ttf" / "DejaVuSansMono.ttf"
        if path.is_file():
            return path
    raise FileNotFoundError(
        "DejaVuSansMono.ttf was not found in matplotlib's mpl-data; install matplotlib>=3.10"
    )


@cache
def font_key() -> str:
    """A key of the font's bytes."""
    return file_key(font_path())


@lru_cache(maxsize=64)
def load_font(size_px: int) -> ImageFont.FreeTypeFont:
    """The font at a size, with the basic layout engine."""
    return ImageFont.truetype(str(font_path()), size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def has_glyph(character: str) -> bool:
    """Whether the font has a character, rather than drawing its box for missing ones."""
    if character in PRINTABLE_ASCII or character == "\n":
        return True
    return not 0xD800 <= ord(character) <= 0xDFFF and _drawn(character) != _drawn(NO_CHARACTER)


@cache
def _drawn(character: str) -> tuple[tuple[int, int], bytes]:
    mask, _ = load_font(GLYPH_TEST_PX).getmask2(character)
    return mask.size, bytes(mask)


@dataclass(frozen=True)
class Atlas:
    """The glyphs of one font size.

    Attributes:
        characters: the characters in it, sorted; a code is a position in it.
        blocks: coverage uint8 [down, right, G, pitch, advance]: a glyph cut into blocks of one
            line pitch by one advance, because ink may reach into neighbouring boxes.
        origin: the (row, column) of blocks at which the character's own box lies.
        advance: pixels from one character to the next.
        pitch: pixels from one line to the next; one em, so that lines are set solid.
        ink_top: first pixel row, below the line's top, on which any printable ASCII has ink.
        ink_bottom: the row after the last one.
        overhang: pixels by which the ink of printable ASCII leaves its box to the right.
    """

    characters: str
    blocks: UInt8
    origin: tuple[int, int]
    advance: int
    pitch: int
    ink_top: int
    ink_bottom: int
    overhang: int

    def codes(self, text: str) -> Int64:
        """Positions of the characters of ``text`` in the atlas, int64 [len(text)]."""
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        known = np.frombuffer(self.characters.encode("utf-32-le"), dtype=np.uint32)
        return np.searchsorted(known, points).astype(np.int64)


def atlas_for(font_size_px: int, texts: str = "") -> Atlas:
    """The atlas of a size with printable ASCII and whatever else ``texts`` contains."""
    extra = set(texts) - set(PRINTABLE_ASCII)
    return _build(font_size_px, "".join(sorted(extra | set(PRINTABLE_ASCII))))


@lru_cache(maxsize=32)
def _build(font_size_px: int, characters: str) -> Atlas:
    font = load_font(font_size_px)
    advance = round(font.getlength("0"))
    pitch = font_size_px
    boxes = np.array([font.getbbox(c) for c in characters], dtype=np.int64)
    above = max(0, -int(boxes[:, 1].min()) + pitch - 1) // pitch
    left = max(0, -int(boxes[:, 0].min()) + advance - 1) // advance
    rows = above + -(-max(pitch, int(boxes[:, 3].max())) // pitch)
    columns = left + -(-max(advance, int(boxes[:, 2].max())) // advance)
    drawn = np.zeros((len(characters), rows * pitch, columns * advance), dtype=np.uint8)
    for index, character in enumerate(characters):
        image = Image.new("L", (columns * advance, rows * pitch), 0)
        ImageDraw.Draw(image).text((left * advance, above * pitch), character, 255, font)
        drawn[index] = np.asarray(image)
    blocks = drawn.reshape(len(characters), rows, pitch, columns, advance).transpose(1, 3, 0, 2, 4)
    ascii_boxes = boxes[[characters.index(c) for c in PRINTABLE_ASCII if c != " "]]
    return Atlas(
        characters=characters,
        blocks=np.ascontiguousarray(blocks),
        origin=(above, left),
        advance=advance,
        pitch=pitch,
        ink_top=int(ascii_boxes[:, 1].min()),
        ink_bottom=int(ascii_boxes[:, 3].max()),
        overhang=max(0, int(ascii_boxes[:, 2].max()) - advance),
    )


@lru_cache(maxsize=256)
def sprite(character: str, square_px: int) -> UInt8:
    """One character centred in a square by its ink, coverage uint8 [square_px, square_px].

    The largest size is taken whose capitals fill at most 70 % of the square.
    """
    font = load_font(sprite_font_px(square_px))
    image = Image.new("L", (square_px, square_px), 0)
    left, top, right, bottom = font.getbbox(character)
    place = (round((square_px - right - left) / 2), round((square_px - bottom - top) / 2))
    ImageDraw.Draw(image).text(place, character, 255, font)
    return np.asarray(image)


@cache
def sprite_font_px(square_px: int) -> int:
    """The font size of single characters in squares of ``square_px`` pixels."""
    size = 5
    while True:
        _, top, _, bottom = load_font(size + 1).getbbox("0")
        if bottom - top > 0.7 * square_px:
            return size
        size += 1
