"""What a report is made of: the analysis plus the records that give it context.

Scores and verdicts come only from ``StudyResults``; nothing here is computed from scores again.
Times are inputs, so the same inputs always give the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.config import StrictConfig
from hybrid_pipeline.report.gallery import GalleryInputs
from hybrid_pipeline.report.wording import task_label
from hybrid_pipeline.stability.section import StabilitySection
from hybrid_pipeline.stats.halting import HaltingRow
from hybrid_pipeline.stats.results import StudyResults

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class PolicyScores(StrictConfig):
    """Accuracy of one trained cell under several ways to decide when to stop thinking.

    Attributes:
        halted: the learned DQN policy.
        fixed: always the same number of supervision steps, 1 to the largest.
        full_depth: always the largest number of supervision steps.
        random: a random legal action at every step.
        oracle: the best step chosen with the label in hand; optimistic, no policy can use it.
    """

    halted: Share | None = None
    fixed: tuple[Share, ...] = ()
    full_depth: Share | None = None
    random: Share | None = None
    oracle: Share | None = None


class CellRecord(StrictConfig):
    """Cost and inner life of one cell: one arm, one seed, one task.

    Attributes:
        parameters: weights that the arm holds, the frozen adapter included and the tower not.
        flops_per_example: floating-point operations of one forward pass on one example.
        mean_steps: supervision steps per test example where the DQN halts; all of them without one.
        mean_gate: the fusion's gate; 1 keeps CLIP, 0 keeps the custom ViT.
        path_disagreement: share of answer slots on which COCONUT's paths differ.
        path_weight_entropy: entropy of the path weights in nats; ln 4 is 1.386.
        n2n_error: Noise2Noise loss of the adapter; ``n2n_identity_error``: without it.
    """

    arm: str
    seed: int
    task: str
    parameters: int | None = Field(default=None, ge=0)
    flops_per_example: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    mean_steps: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    policies: PolicyScores = Field(default_factory=PolicyScores)
    mean_gate: Share | None = None
    path_disagreement: Share | None = None
    path_weight_entropy: Finite | None = None
    n2n_error: Finite | None = None
    n2n_identity_error: Finite | None = None


class LearningCurve(StrictConfig):
    """Validation score and training loss of one cell over optimiser steps.

    The values are as long as ``steps``; ``None`` if a step has none.

    Attributes:
        disagreement: share of answer slots on which COCONUT's paths differ.
        entropy: of the path weights, in nats.
    """

    arm: str
    seed: int
    task: str
    steps: tuple[int, ...]
    validation: tuple[Finite | None, ...] = ()
    loss: tuple[Finite | None, ...] = ()
    disagreement: tuple[Finite | None, ...] = ()
    entropy: tuple[Finite | None, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        for name in ("validation", "loss", "disagreement", "entropy"):
            values = getattr(self, name)
            if values and len(values) != len(self.steps):
                raise ValueError(
                    f"{name} has {len(values)} values for {len(self.steps)} steps "
                    f"({self.arm}, seed {self.seed}, {self.task})"
                )
        return self


class TaskBaseline(StrictConfig):
    """What no learning reaches on a task, in its primary metric."""

    task: str
    majority: Share | None = None
    chance: Share | None = None
    description: str = Field(default="", description="the task in a few words")


class TowerDisclosure(StrictConfig):
    """Which frozen tower gave the CLIP features.

    ``said`` is printed; for the bundled tower the report always adds that it is not OpenAI's CLIP
    if that does not say so.

    Attributes:
        name: of the tower.
        source: where its weights come from.
        sentence: that the tower says of itself.
        key: of weights, model config, preprocessing and layer.
        close_tasks: tasks of the study that look like what it was pretrained on.
    """

    name: str
    source: str
    sentence: str
    key: str = ""
    close_tasks: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The sentence; after it, which tasks the pretraining favours, if there are any."""
        if not self.close_tasks:
            return self.sentence
        named = ", ".join(map(task_label, self.close_tasks))
        return f"{self.sentence} Its pretraining is close to these tasks: {named}."


class CellFailure(StrictConfig):
    """A cell that broke or diverged, with the reason in a sentence."""

    arm: str
    seed: int
    task: str
    reason: str


class ClaimsDocument(StrictConfig):
    """The document that the claims are taken from: where it lies in the project, and its text."""

    path: str
    text: str


class ReportContext(StrictConfig):
    """What stands around the figures of a report.

    Attributes:
        gallery: test examples with the arms' answers.
        command: what runs this study again.
        document: what the claims are taken from.
        halting: the DQN against every other way to choose a depth.
        provenance: commit, keys, versions, seeds, hardware; nested mappings become groups. A report
            from kept files has that of the study.
    """

    provenance: dict[str, Any] = Field(default_factory=dict)
    gallery: GalleryInputs = Field(default_factory=GalleryInputs)
    command: str = ""
    document: ClaimsDocument | None = None
    halting: tuple[HaltingRow, ...] = ()


class ReportInputs(ReportContext):
    """All that a report shows.

    Attributes:
        results: the analysis; the source of every accuracy, interval and verdict.
        cells: cost and inner life of every finished cell.
        curves: learning curves, one for every cell.
        baselines: majority and chance of every task.
        tower: which frozen tower; ``None`` for a study without CLIP.
        failures: cells that broke; cells without scores are in ``results.missing``.
        disclosures: sentences a reader must know, such as how the splits were made.
    """

    title: str = "Does each component really help?"
    results: StudyResults
    cells: tuple[CellRecord, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    baselines: tuple[TaskBaseline, ...] = ()
    tower: TowerDisclosure | None = None
    failures: tuple[CellFailure, ...] = ()
    disclosures: tuple[str, ...] = ()
    advisor: tuple[AdvisorNote, ...] = ()
    stability: StabilitySection | None = None

    def baseline(self, task: str) -> TaskBaseline | None:
        """The majority and chance of a task, if known."""
        return next((b for b in self.baselines if b.task == task), None)
