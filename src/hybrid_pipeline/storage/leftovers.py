"""Temporary files that killed processes left, found by the next run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hybrid_pipeline.storage.locks import is_in_use

TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as write_atomically names them
OUR_LAYERS = (
    "03_primary",
    "04_feature",
    "05_model_input",
    "06_models",
    "07_model_output",
    "08_reporting",
)
UNKNOWN_AGE_S = 3600.0


def sweep(root: Path, before_s: float) -> list[Path]:
    """Delete temporary files of runs that are over.

    A file that a process still writes is locked by it and stays; if the file system has no such
    lock, a file stays for an hour.

    Args:
        root: the data folder; its raw and intermediate layers are the user's and left alone.
        before_s: when this run began, in seconds since the epoch.

    Returns:
        What was deleted.
    """
    swept = []
    for path in _temporary_files(root):
        with suppress(OSError):
            age_s = before_s - path.stat().st_mtime
            in_use = is_in_use(path)
            if age_s > 0 and (in_use is False or (in_use is None and age_s > UNKNOWN_AGE_S)):
                path.unlink()
                swept.append(path)
    return swept


def _temporary_files(root: Path) -> Iterator[Path]:
    for layer in OUR_LAYERS:
        for folder, _, names in os.walk(root / layer):
            yield from (Path(folder, name) for name in names if TEMPORARY.fullmatch(name))
