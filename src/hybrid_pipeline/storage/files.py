"""Files that appear whole or not at all: temporary file, fsync, ``os.replace``."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from hybrid_pipeline.storage.locks import hold_open_file


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

    Raises:
        OSError: naming ``path`` if it cannot be written, a full disk for example.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _named(error, path) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            hold_open_file(file)  # so that nobody takes it for what a killed run left
            write(file)
            file.flush()
            _allow_others(file)
            _sync(file)
            if before is not None:
                before(temporary)
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):
            raise _named(error, path) from error
        raise


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the name of the file that was to be written."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def _allow_others(file: BinaryIO) -> None:
    """The permissions of an ordinary new file; some file systems have none to set."""
    with suppress(OSError):
        os.fchmod(file.fileno(), 0o666 & ~_umask())


def _sync(file: BinaryIO) -> None:
    """Put the bytes on the disk; some file systems offer no ``fsync``."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
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
    write_text_atomically(path, json_text(value))


def json_text(value: Any) -> str:
    """JSON for a file: sorted keys, a value per line."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text("utf-8"))


def canonical_json(value: Any) -> str:
    """JSON in one form for equal values: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
