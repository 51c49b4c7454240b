"""How far each node is: small files, so that the driver can show what happens in other processes.

A node writes ``<progress_dir>/<node>.json`` when it starts, while it trains and when it ends; the
live display reads the folder. The files are for people and decide nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hybrid_pipeline.storage import write_json_atomically

PROGRESS_FOLDER = Path("07_model_output/progress")
MIN_INTERVAL_S = 0.5
CELL_TAG = "cell"
ANNOUNCE_TAG = "announce"  # of a node whose decision is shown


@dataclass(frozen=True)
class CellName:
    """What the tags of a node say about the cell it trains.

    Attributes:
        node: the node's name.
        is_cell: whether it is tagged ``cell``.
        arm: from the tag ``arm.<name>``; empty without it.
        seed: from ``seed.<n>``.
        task: from ``task.<name>``, if a node is one task of an arm and a seed.
        length: from ``length.<share>``: the share of the study's epochs that it trains for.
        setting: from ``setting.<name>``, in a study of settings instead of arms.
    """

    node: str
    is_cell: bool = False
    arm: str = ""
    seed: str = ""
    task: str = ""
    length: float = 1.0
    setting: str = ""

    @classmethod
    def from_tags(cls, node: str, tags: Iterable[str]) -> CellName:
        """Read ``cell`` and what stands before the dots: ``arm.<name>``, ``seed.<n>`` ..."""
        pairs = dict(tag.split(".", 1) for tag in tags if "." in tag)
        return cls(
            node=node,
            is_cell=CELL_TAG in set(tags),
            arm=pairs.get("arm", ""),
            seed=pairs.get("seed", ""),
            task=pairs.get("task", ""),
            length=float(pairs.get("length", 1.0)),
            setting=pairs.get("setting", ""),
        )

    @property
    def title(self) -> str:
        """Short name for people: ``arm_4_trm seed 0 sudoku at 50 %``."""
        if not self.is_cell:
            return self.node
        share = f"at {100 * self.length:g} %" if self.length < 1 else ""
        parts = [self.arm or self.node, f"seed {self.seed}" if self.seed else "", self.task, share]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Progress:
    """State of one node.

    Attributes:
        cell: which node.
        state: ``running`` until it ended.
        started_s: seconds since the epoch; of a cell that goes on from a checkpoint, when it did.
        updated_s: seconds since the epoch.
        done: units of work finished, of the task that is running.
        total: units of work in all, of the task that is running.
        scores: accuracy so far by task; the task is empty if a cell has only one.
        note: one or two words.
        trained: whether anything was trained, or all results were found.
        message: a sentence for whoever watches the run; it stays on the screen.
        not_needed: the cell was not trained because a budget or a look had ended the study.
        shapes: of the tasks that the cell trains: task to the fields of its ``InputShape``.
        found: share of the cell whose results were found so far, among what is done.
        resumed: share of the cell that an earlier run trained, among what is done.
    """

    cell: CellName
    state: Literal["running", "done", "failed"] = "running"
    started_s: float = 0.0
    updated_s: float = 0.0
    done: int = 0
    total: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    note: str = ""
    trained: bool = False
    message: str = ""
    not_needed: bool = False
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    found: float = 0.0
    resumed: float = 0.0

    @property
    def share(self) -> float:
        """Share of the work that is done, in [0, 1]."""
        return (
            1.0 if self.state == "done" else min(self.done / self.total, 1) if self.total else 0.0
        )

    @property
    def gained(self) -> float:
        """Share of the work that this run did, in [0, 1]."""
        return max(0.0, self.share - self.found - self.resumed)


class ProgressFile:
    """Writes the progress of one node, at most every half second; never fails a run."""

    def __init__(self, folder: Path | None, cell: CellName) -> None:
        self._path = (
            folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', cell.node)}.json" if folder else None
        )
        self._value: dict[str, Any] = asdict(Progress(cell, started_s=time.time()))
        self._written_s = 0.0

    def update(self, *, now: bool = False, **changes: Any) -> None:
        """Change fields and write, unless the last write was a moment ago and ``now`` is false."""
        self._value.update(changes, updated_s=time.time())
        if self._path is None or (not now and time.monotonic() - self._written_s < MIN_INTERVAL_S):
            return
        with contextlib.suppress(OSError):
            write_json_atomically(self._path, self._value)
        self._written_s = time.monotonic()


def read_progress(folder: Path) -> list[Progress]:
    """All progress files of a run; unreadable ones are left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found.append(_parse(json.loads(path.read_text("utf-8"))))
    return found


def _parse(value: Mapping[str, Any]) -> Progress:
    return Progress(**{**value, "cell": CellName(**value["cell"])})


def clear_progress(folder: Path) -> None:
    """Forget the progress of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)
