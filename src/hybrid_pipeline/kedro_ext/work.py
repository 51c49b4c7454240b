"""What the cells of a run have before them, asked in a process of its own while the run trains.

First the results that lie there already: their keys are those that the cells themselves will ask
for. Then FLOPs of an update by arm: a model is built to be counted, without weights, but under the
lock of torch's one generator, for which cells of the run's process would wait. The process is nice,
is asked once per run, when the first cell has read its data, and is ended with the display; without
its answers the display knows less and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from hybrid_pipeline.kedro_ext.progress import CellName
from hybrid_pipeline.kedro_ext.project_parameters import PARAMETER_GROUPS, load_own_plugins
from hybrid_pipeline.storage import SEAL, Workspace

if TYPE_CHECKING:
    from hybrid_pipeline.training.handles import TaskHandle
    from hybrid_pipeline.training.loader import TaskData
    from hybrid_pipeline.training.spec import CellSpec

Shapes = Mapping[str, Mapping[str, Any]]  # task -> the fields of its InputShape
NICENESS = 5  # the answer is worth having in the first minute or two
MAX_BYTES = 1 << 24  # of the answers


@dataclass(frozen=True)
class Work:
    """What cells have before them; ``None`` is not known, or not yet.

    Attributes:
        flops: arm to FLOPs of an update per example, summed over the tasks.
        found: node to the share of its cell's tasks whose results lay there before the run.
    """

    flops: dict[str, float] | None = None
    found: dict[str, float] | None = None


class WorkProcess:
    """Asks what the cells have before them and takes the answer when it is there.

    Args:
        cells: of the run.
        parameters: merged parameters of the run.
        task_data: file of the tasks' handles; without it nothing is known of results.
    """

    def __init__(
        self, cells: Sequence[CellName], parameters: Mapping[str, Any], task_data: Path | None
    ) -> None:
        self._cells = [asdict(cell) for cell in cells]
        self._parameters = parameters
        self._task_data = task_data
        self._asked_s = time.time()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: IO[bytes] | None = None
        self._known: Work | None = None

    def ask(self, shapes: Shapes) -> Work | None:
        """What is known so far; ``None`` until anything is. The first call starts the process.

        Args:
            shapes: of the tasks, from the progress file of a cell that reads them.
        """
        if self._process is None:
            self._start(shapes)
        elif self._answers is not None:
            has_ended = self._process.poll() is not None
            lines = os.pread(self._answers.fileno(), MAX_BYTES, 0).split(b"\n")[:-1]
            known = {name: value for line in lines for name, value in json.loads(line).items()}
            self._known = Work(**known) if known or has_ended else None
        return self._known

    def stop(self) -> None:
        """End the process, if it still counts."""
        if self._process is not None and self._answers is not None:
            self._process.kill()
            self._process.wait()
            self._answers.close()
            self._answers = None

    def _start(self, shapes: Shapes) -> None:
        question = {
            "cells": self._cells,
            "shapes": shapes,
            "parameters": self._parameters,
            "task_data": self._task_data,
            "asked_s": self._asked_s,
        }
        self._answers = tempfile.TemporaryFile()  # noqa: SIM115 - until the run ends
        with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
            json.dump(question, asked, default=str)
            asked.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hybrid_pipeline.kedro_ext.work"],
                stdin=asked,
                stdout=self._answers,
                stderr=subprocess.DEVNULL,
            )


def look_ahead(question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of ``Work``, each as soon as it is known.

    Args:
        question: ``cells`` (the fields of their ``CellName``), ``shapes`` (task to the fields of
            its ``InputShape``), ``parameters``, ``task_data``, the file of the tasks' handles, and
            ``asked_s``: what was made after this moment, in seconds since the epoch, the run has
            trained itself.
    """
    from hybrid_pipeline.kedro_ext.datasets import HandlesDataset

    parameters = question["parameters"]
    load_own_plugins(parameters)
    cells = [CellName(**fields) for fields in question["cells"]]
    specs = {cell: spec_of(cell, parameters) for cell in cells}
    if question["task_data"] is not None:
        handles = HandlesDataset(question["task_data"]).load()
        read = [handle for task, handle in handles.items() if task in question["shapes"]]
        root = Workspace(_group("storage", parameters).root).cells
        yield {"found": _found(specs, read, root, question["asked_s"])}
    yield {"flops": _flops(specs, question["shapes"])}


def _group(name: str, parameters: Mapping[str, Any]) -> Any:
    return PARAMETER_GROUPS[name].model_validate(parameters.get(name) or {})


def spec_of(cell: CellName, parameters: Mapping[str, Any]) -> CellSpec:
    """What a node trains, as the nodes of the pipelines make it."""
    from hybrid_pipeline.training.learner import Learner

    groups = (_group(name, parameters) for name in ("training", "halting", "model"))
    learner, seed = Learner(*groups), int(cell.seed)
    if not cell.setting:
        return learner.cell(cell.arm, seed).at(cell.length)
    from hybrid_pipeline.stability.study import setting_spec

    review, stability = _group("review", parameters), _group("stability", parameters)
    return setting_spec(cell.setting, seed, learner, review.document, stability)


def _flops(specs: Mapping[CellName, CellSpec], shapes: Shapes) -> dict[str, float]:
    from hybrid_pipeline.models.parts import InputShape
    from hybrid_pipeline.training.work import work_of_arms

    first = next(iter(specs.values()))
    work = work_of_arms(
        sorted({spec.arm.name for spec in specs.values()}),
        map(InputShape.from_json, shapes.values()),
        first.model,
        encodes_every_step=first.training.update == "per_supervision_step",
    )
    return {cell.arm: work[spec.arm.name] for cell, spec in specs.items()}


class _Keyed(NamedTuple):
    """A table or a store by its key."""

    key: str


class _Keys(NamedTuple):
    """What the key of a cell takes of a ``TaskData``, without opening anything."""

    table: _Keyed
    images: _Keyed
    features: _Keyed | None


def _found(
    specs: Mapping[CellName, CellSpec], handles: Sequence[TaskHandle], root: Path, asked_s: float
) -> dict[str, float]:
    shares = {}
    for cell, spec in specs.items():
        folders = [root / spec.key(_keys(h, spec.arm.tower == "random")) for h in handles]
        shares[cell.node] = sum(_was_there(f, asked_s) for f in folders) / len(folders)
    return shares


def _keys(handle: TaskHandle, is_random: bool) -> TaskData:
    features = handle.random_features if is_random else handle.features
    tokens = None if features is None else _Keyed(features)
    return cast("TaskData", _Keys(_Keyed(handle.table), _Keyed(handle.views), tokens))


def _was_there(folder: Path, asked_s: float) -> bool:
    try:
        return (folder / SEAL).stat().st_mtime < asked_s
    except FileNotFoundError:
        return False


def main() -> None:
    """Answer the question on standard input, a line for each field."""
    os.nice(NICENESS)
    for known in look_ahead(json.load(sys.stdin)):
        sys.stdout.write(json.dumps(known) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
