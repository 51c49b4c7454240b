"""Damage done to files for real: what disks, cables and people do."""

from __future__ import annotations

import random
from pathlib import Path


def replace_bytes(path: Path, content: bytes) -> None:
    """Put other bytes in a file's place, as a file of its own (no clock tick is shared)."""
    path.unlink()
    path.write_bytes(content)


def flip_bytes(path: Path, count: int = 8, seed: int = 0) -> None:
    """Invert ``count`` bytes in the last three quarters, behind any header."""
    content = bytearray(path.read_bytes())
    for place in random.Random(seed).sample(range(len(content) // 4, len(content)), count):
        content[place] ^= 0xFF
    replace_bytes(path, bytes(content))


def flip_bit(path: Path, place: int, bit: int) -> None:
    """Invert one bit of one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    replace_bytes(path, bytes(content))


def zero_half(path: Path) -> None:
    """Zero the second half, as a disk does that lost it."""
    content = path.read_bytes()
    half = len(content) // 2
    replace_bytes(path, content[:half] + bytes(len(content) - half))


def truncate(path: Path, num_bytes: int) -> None:
    """Keep the first bytes only."""
    replace_bytes(path, path.read_bytes()[:num_bytes])


def set_aside_of(folder: Path) -> list[str]:
    """Names below a folder that were set aside."""
    return sorted(p.name for p in folder.rglob("*.damaged*"))
