"""What training leaves behind: a result per task and length, a cell per arm and seed.

A result lies under its content key as ``result.json``. Nodes exchange cells: small JSON files that
name the keys of their results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hybrid_pipeline.config import PrimaryMetric, StrictConfig
from hybrid_pipeline.storage import read_json, write_json_atomically

Finite = Annotated[float, Field(allow_inf_nan=False)]
Status = Literal["done", "diverged", "not_run"]


class PolicyScore(StrictConfig):
    """The mean primary score of a way to choose the depth.

    Attributes:
        score: mean over the test examples, in [0, 1].
        mean_steps: supervision steps per example.
        reads_labels: whether it looks at the answers: an optimistic bound, not a result.
    """

    score: Finite
    mean_steps: Finite
    reads_labels: bool


class ParameterCounts(StrictConfig):
    """Weights that training changes, and all that the arm itself holds (no frozen tower)."""

    trainable: int
    total: int


class _Outcome(StrictConfig):
    """What every trained model has, whether or not it diverged.

    Attributes:
        key: content key; names the folder.
        arm: the arm; two arms that are equal share a key and a folder.
        length: share of ``training.epochs`` that it was trained for; not in the key.
        metric: the task's primary metric.
        seconds: of training, the N2N stage included, interruptions left out.
        cell_seconds: the same with the evaluation, and with waiting for room or a turn on a device
            that other cells share.
    """

    key: str
    arm: str
    seed: int
    task: str
    length: float = 1.0
    metric: PrimaryMetric
    seconds: Finite
    cell_seconds: Finite


class CellResult(_Outcome):
    """One arm with one seed, trained to the end on one task at one length.

    Attributes:
        updates: of the whole training.
        test_score: mean primary score over the test examples at full depth; ``test_correct`` and
            ``test_slots``: whole answers and slots.
        mean_steps: per test example, where the DQN halts; at full depth without one.
        policies: the DQN and other ways to choose the depth: ``dqn``, ``fixed_1`` ...,
            ``random``, ``oracle``; empty without a DQN.
        validation_score: primary score at the end of training.
        flops_per_example: of one forward pass at full depth.
        metrics: component metrics, such as ``fusion/gate_mean``.
    """

    status: Literal["done"] = "done"
    updates: int
    test_score: Finite
    test_correct: Finite
    test_slots: Finite
    mean_steps: Finite
    policies: dict[str, PolicyScore]
    validation_score: Finite
    parameters: ParameterCounts
    flops_per_example: int
    metrics: dict[str, float]


class DivergedResult(_Outcome):
    """The same where training gave up; ``reason`` says when."""

    status: Literal["diverged"] = "diverged"
    reason: str


Result = Annotated[CellResult | DivergedResult, Field(discriminator="status")]
_RESULT: TypeAdapter[CellResult | DivergedResult] = TypeAdapter(Result)


def read_result(path: Path) -> CellResult | DivergedResult:
    """The result that lies in a cell's folder."""
    return _RESULT.validate_python(read_json(path))


def write_result(path: Path, result: CellResult | DivergedResult) -> None:
    """Write a result whole or not at all, without the length, which depends on who asks."""
    write_json_atomically(path, result.model_dump(mode="json", exclude={"length"}))


class Cell(StrictConfig):
    """One arm with one seed: its results by task and length.

    Attributes:
        setting: what a stability study calls the run; empty in an ablation.
        results: of every task at every length that was trained.
        not_run: why its block of seeds did not run; empty if it did.
    """

    arm: str
    seed: int
    setting: str = ""
    results: tuple[Result, ...] = ()
    not_run: str = ""

    @property
    def status(self) -> Status:
        """``diverged`` if any of the results is."""
        if self.not_run:
            return "not_run"
        return "diverged" if self.failures else "done"

    @property
    def finished(self) -> tuple[CellResult, ...]:
        """The results that have scores."""
        return tuple(r for r in self.results if isinstance(r, CellResult))

    @property
    def failures(self) -> tuple[DivergedResult, ...]:
        """The results whose training gave up."""
        return tuple(r for r in self.results if isinstance(r, DivergedResult))

    def at(self, length: float) -> Cell:
        """The same cell with the results of one length only."""
        return self.model_copy(
            update={"results": tuple(r for r in self.results if r.length == length)}
        )


def finished_results(cells: Iterable[Cell]) -> list[CellResult]:
    """All results that have scores, in the order of the cells."""
    return [result for cell in cells for result in cell.finished]


def longest(cells: Iterable[Cell]) -> float:
    """The longest training of the cells, as a share of ``training.epochs``."""
    return max((r.length for cell in cells for r in cell.results), default=1.0)


def diverged_seeds(cells: Iterable[Cell]) -> dict[str, list[int]]:
    """Arm -> seeds whose longest training gave up on a task."""
    cells = list(cells)
    judged, found = longest(cells), dict[str, list[int]]()
    for cell in cells:
        if cell.at(judged).failures:
            found.setdefault(cell.arm, []).append(cell.seed)
    return found


def merge_cells(parts: Sequence[Cell]) -> list[Cell]:
    """One cell per arm and seed from parts that hold some of its results, in order of first seen.

    Results are sorted by length, then by task.
    """
    found: dict[tuple[str, int, str], Cell] = {}
    for part in parts:
        name = (part.arm, part.seed, part.setting)
        before = found.get(name, part.model_copy(update={"results": ()}))
        results = sorted((*before.results, *part.results), key=lambda r: (r.length, r.task))
        found[name] = before.model_copy(
            update={"results": tuple(results), "not_run": before.not_run or part.not_run}
        )
    return list(found.values())
