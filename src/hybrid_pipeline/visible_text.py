"""What of a text can be seen: the renderer draws it, and tables tell repeats by it."""

from __future__ import annotations

import unicodedata
from typing import Literal

import regex

_BREAKS = regex.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Also the zero-width space, which separates words, and two characters whose glyph has no ink:
# the blank Braille pattern and the placeholder of an object.
_BLANKS = regex.compile(r"[\t\x1f\p{Zs}\u200b\u2800\ufffc]")
# Control and format characters, variation selectors and the like: they have no shape of their own.
_UNSEEN = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}[\p{Cc}--\n][\p{Cf}--\p{Prepended_Concatenation_Mark}]]",
    regex.VERSION1,
)


def visible(text: str, form: Literal["NFC", "NFKC"] = "NFKC") -> str:
    r"""Every kind of line break as ``"\n"``, every blank as ``" "``, nothing without a shape.

    Two texts with the same visible text are drawn as the same image.

    Args:
        text: any string.
        form: Unicode's normal form of the rest. NFKC makes one of what looks nearly alike, such as
            a ligature and its letters; NFC only of one character's spellings.
    """
    if text.isascii() and text.isprintable():
        return text
    separated = _BLANKS.sub(" ", _BREAKS.sub("\n", text))
    return unicodedata.normalize(form, _UNSEEN.sub("", separated))


def normalised(text: str) -> str:
    """Lower case with single blanks, of what can be seen: what repeats of a text share."""
    return " ".join(visible(text).lower().split())
