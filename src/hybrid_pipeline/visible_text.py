"""What of a text can be seen: the renderer draws it, and tables tell repeats by it."""

from __future__ import annotations

import unicodedata

INVISIBLE = ("Cc", "Cf")
"""Unicode's categories of control and format characters: they have no shape of their own."""


def visible(text: str) -> str:
    """NFKC, tabs as spaces, no control or format characters but the line break.

    Two texts with the same visible text are drawn as the same image.
    """
    if text.isascii() and text.isprintable():
        return text
    plain = unicodedata.normalize("NFKC", text).replace("\t", " ")
    return "".join(c for c in plain if c == "\n" or unicodedata.category(c) not in INVISIBLE)
