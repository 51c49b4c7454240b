"""What cells report, as lines in files: written by any process, read only by the driver.

Workers therefore need no MLflow (seconds and memory in each), only one process writes to the
database, and what a killed run had reported is still there for the next one to send.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

SPOOL_FOLDER = Path("07_model_output/spool")


def spool_folder(data_dir: Path, study: Mapping[str, str]) -> Path:
    """Where the cells of a study write: two studies at work in one folder do not mix.

    Args:
        data_dir: the data folder.
        study: tags of the study; ``study_key`` among them.
    """
    return data_dir / SPOOL_FOLDER / study["study_key"]


class SpoolWriter:
    """Appends the events of one node to a file of its own."""

    def __init__(self, folder: Path, node: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", node)
        # the time comes first: files are sent in the order in which they were begun
        self._path = folder / f"{time.time_ns()}.{os.getpid()}.{safe}.jsonl"
        self._file: TextIO | None = None

    def write(self, kind: str, **content: Any) -> None:
        """Append one event with the present time; a full disk is not the training's problem."""
        line = json.dumps(
            {"kind": kind, "time_ms": int(time.time() * 1000), **content}, default=str
        )
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8", buffering=1)
            self._file.write(line + "\n")
        except OSError:
            return

    def close(self) -> None:
        """Close the file; it is deleted by its reader."""
        if self._file is not None:
            self._file.close()


class SpoolReader:
    """Reads the events of all nodes, each once.

    Args:
        folder: of the files; those that are there already belong to a run that was killed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def new_events(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Pairs (source, event) of all whole lines since the last call."""
        for path in sorted(self._folder.glob("*.jsonl")):
            yield from ((path.name, event) for event in self._read(path))

    def _read(self, path: Path) -> list[Mapping[str, Any]]:
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            block = file.read()
        whole = block[: block.rfind(b"\n") + 1]
        self._offsets[path] = offset + len(whole)
        events = []
        for line in whole.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:  # cut by a full disk
                continue
        return events

    def delete_read(self) -> None:
        """Delete what was read; to be called when no cell is running."""
        for path in self._offsets:
            path.unlink(missing_ok=True)
        self._offsets.clear()
