"""Files that appear whole or not at all: temporary file, fsync, ``os.replace``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], Any],
    *,
    before: Callable[[Path], None] | None = None,
) -> None:
    """Write a temporary file beside ``path``, fsync it and put it in place.

    Args:
        path: where it ends.
        write: called with the open file.
        before: called with the path of the finished temporary file before it is put in place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        if before is not None:
            before(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's mask of permissions; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json_atomically(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal files."""
    write_text_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text("utf-8"))


def canonical_json(value: Any) -> str:
    """JSON in one form for equal values: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
