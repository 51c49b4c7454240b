"""What an analysis returns: frozen models that the report and the pipelines read.

Accuracies and differences are fractions (0.01 is one percentage point), relative gains are
fractions of the baseline (0.5 is +50 %), ratios are plain (1.5 is the same gain). A quantity that
is not defined or not evaluable is ``None``, never NaN, so that JSON carries every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hybrid_pipeline.config import StrictConfig

Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = Literal["difference", "log", "logit"]
VerdictCode = Literal[
    "not_evaluable",
    "helps",
    "helps_by_delta",
    "helps_below_delta",
    "hurts",
    "hurts_by_delta",
    "hurts_below_delta",
    "no_meaningful_effect",
    "no_detectable_effect",
    "underpowered",
    "not_judged",
]
ClaimCode = Literal[
    "holds",
    "holds_in_part",
    "does_not_hold",
    "contradicts",
    "not_verifiable",
    "no_effect",
    "not_supported",
    "refuted",
    "not_reached",
    "exceeded",
    "cannot_be_judged",
    "compatible_not_confirmed",
    "impossible_here",
]

MEAN_TASK = "mean"
"""The task name of figures averaged over tasks (differences: mean; ratios: geometric mean)."""


class Interval(StrictConfig):
    """A point estimate with its confidence interval."""

    estimate: Finite
    low: Finite
    high: Finite
    level: Finite = 0.95

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the interval [{self.low}, {self.high}] is upside down")
        return self


class ArmAccuracy(StrictConfig):
    """The mean score of one arm on one task.

    Attributes:
        interval: two-component t over seeds and examples; ``None`` below 3 seeds.
        estimate: mean over seeds and examples.
        metric: ``correct`` or ``slots``.
        primary: whether this is the task's preregistered metric.
        by_seed: the mean score of every seed.
        supervision_steps: mean steps used, if the table has them.
    """

    arm: str
    task: str
    metric: str
    primary: bool = True
    estimate: Finite
    interval: Interval | None
    num_seeds: int
    num_examples: int
    by_seed: dict[int, Finite] = Field(default_factory=dict)
    supervision_steps: Finite | None = None


class Effect(StrictConfig):
    """One arm compared with another, on one task or on the mean over tasks.

    Attributes:
        kind: ``stage`` (an arm against the one before), ``total`` (last against first),
            ``leave_one_out`` (the full model against the one without a component) or ``control``.
        reference: the arm that ``arm`` is compared with.
        component: what the comparison adds, such as ``clip``; empty if it adds several.
        difference: two-component t interval; ``bootstrap``: crossed bootstrap beside it.
        relative: interval of a1/a0 - 1; ``None`` if an accuracy is 0.
        p_adjusted: Holm over the stages of the same task; equals ``p`` for a family of one.
        p_seeds: paired t over seed means only, a sensitivity check with few seeds.
        equivalence_interval: interval at level 1 - 2 alpha, for the equivalence test.
        mde80: smallest effect found with 80 % power at this noise.
        seeds_needed: for ``delta`` with 80 % power; ``None`` if no number of seeds suffices.
        verdict: the words to print; ``verdict_code``: the same for programs.
    """

    kind: Literal["stage", "total", "leave_one_out", "control"]
    arm: str
    reference: str
    task: str
    component: str = ""
    num_seeds: int
    num_examples: int
    accuracy: Finite | None = None
    baseline_accuracy: Finite | None = None
    difference: Interval | None = None
    bootstrap: Interval | None = None
    relative: Interval | None = None
    error_reduction: Finite | None = None
    log_odds: Finite | None = None
    kappa_difference: Finite | None = None
    p: Finite | None = None
    p_adjusted: Finite | None = None
    p_tost: Finite | None = None
    p_seeds: Finite | None = None
    equivalence_interval: Interval | None = None
    mde80: Finite | None = None
    seeds_needed: int | None = None
    verdict: str
    verdict_code: VerdictCode


class ControlRow(StrictConfig):
    """An arm against its control; ``p_adjusted`` is over the controls of the study."""

    arm: str
    control: str
    task: str
    difference: Interval | None
    num_seeds: int
    p: Finite | None = None
    p_adjusted: Finite | None = None
    beats_control: bool | None
    verdict: str


class StudyLength(StrictConfig):
    """A training length of the study.

    Attributes:
        length: share of ``training.epochs``.
        updates: task -> updates per model; empty if the table does not say.
    """

    length: Finite
    updates: dict[str, int] = Field(default_factory=dict)

    def updates_on(self, task: str) -> int | None:
        """Updates on a task; over tasks only if they are the same everywhere."""
        if task != MEAN_TASK:
            return self.updates.get(task)
        found = set(self.updates.values())
        return found.pop() if len(found) == 1 else None


class LengthGain(StrictConfig):
    """What a stage gains at one training length."""

    arm: str
    reference: str
    component: str = ""
    task: str
    length: Finite
    updates: int | None
    num_seeds: int
    difference: Interval | None
    p_adjusted: Finite | None
    verdict: str
    verdict_code: VerdictCode


class LengthChange(StrictConfig):
    """A stage at the longest training beside the shortest.

    Attributes:
        change: gain at the longest minus gain at the shortest, paired by seed and example.
        sign_changes: the two intervals lie on opposite sides of 0.
        verdict_changes: the two verdicts differ.
        sentence: what to print, with the arm's own name.
    """

    arm: str
    reference: str
    component: str = ""
    task: str
    change: Interval | None
    sign_changes: bool
    verdict_changes: bool
    sentence: str = ""


class PlateauRow(StrictConfig):
    """What the last fifth of training added to an arm's validation score, mean over seeds.

    Attributes:
        before: score when a fifth of training is left; ``final``: at the end.
        margin: from the mean down to its one-sided 95 % bound, by the noise between seeds; 0 where
            one seed tells of no noise.
        reached: unless more was added than the rule allows, beyond that noise.
        at_limit: whether only the noise makes it so.
    """

    arm: str
    task: str
    before: Finite
    final: Finite
    num_seeds: int
    margin: Finite = 0.0
    reached: bool
    at_limit: bool = False

    @property
    def last_fifth(self) -> float:
        """What the last fifth added, a fraction."""
        return self.final - self.before


class Plateau(StrictConfig):
    """Whether training had reached its plateau: ``stats.plateau`` has the rule.

    Attributes:
        rows: by arm; the mean over tasks, then each task.
        reached: every judged arm on every task.
        baseline_in_range: the first arm has something to gain, and something to gain on.
        sentences: what a reader must know before any verdict; empty if no arm comes near the limit.
    """

    rows: tuple[PlateauRow, ...]
    reached: bool
    baseline_in_range: bool
    sentences: tuple[str, ...] = ()

    @property
    def single_tasks(self) -> tuple[PlateauRow, ...]:
        """The rows without those of the mean over tasks."""
        return tuple(row for row in self.rows if row.task != MEAN_TASK)


class Floor(StrictConfig):
    """Whether the study may judge at all: ``stats.floor`` decides.

    Attributes:
        reached: whether verdicts are given.
        run: what this run is, in a few words.
        reasons: what is missing.
        unbeaten_tasks: tasks on which no arm beat guessing; nothing is judged on them.
        rising: (arm, task) that had not reached the plateau; no comparison with them is judged.
        sentence: the banner; empty if the floor is reached.
    """

    reached: bool = True
    run: str = ""
    reasons: tuple[str, ...] = ()
    unbeaten_tasks: tuple[str, ...] = ()
    rising: tuple[tuple[str, str], ...] = ()
    sentence: str = ""

    def forbids(self, task: str) -> bool:
        """Whether nothing may be judged on a task or on the mean over tasks."""
        return not self.reached or task in self.unbeaten_tasks

    def still_rising(self, task: str, arms: Sequence[str]) -> tuple[str, ...]:
        """Those of the arms that had not reached the plateau on a task, or on any for the mean."""
        rising = {arm for arm, where in self.rising if task in (where, MEAN_TASK)}
        return tuple(arm for arm in arms if arm in rising)


class StageRatio(StrictConfig):
    """One stage of the chain as a ratio a_i / a_(i-1)."""

    arm: str
    reference: str
    ratio: Finite


class Compound(StrictConfig):
    """What the components gain together.

    Attributes:
        stages: the ratio of each stage; their product telescopes to ``total`` by identity.
        sequential_product: that product; **not** evidence that benefits compound.
        total: ratio last arm / first arm, measured directly between the two.
        additive: predicted ratio if the isolated differences add up.
        multiplicative: predicted ratio if the isolated ratios multiply.
        logit_additive: predicted ratio if the isolated log-odds gains add up.
        measured: the measured ratio full model / baseline.
        measured_log_odds, predicted_log_odds: the same comparison on the logit scale.
        interaction: log v(full)/v(empty) minus the sum of the isolated log gains.
        interaction_logit: the same with log-odds.
        note: the sentence that goes with the figures.
    """

    task: str
    stages: tuple[StageRatio, ...] = ()
    sequential_product: Finite | None = None
    total: Interval | None = None
    additive: Finite | None = None
    multiplicative: Finite | None = None
    logit_additive: Finite | None = None
    measured: Finite | None = None
    measured_log_odds: Finite | None = None
    predicted_log_odds: Finite | None = None
    interaction: Interval | None = None
    interaction_logit: Interval | None = None
    note: str


class ShapleyRow(StrictConfig):
    """A component's Shapley share beside its cumulative and leave-one-out gain.

    On the ``log`` scale the values are log ratios.
    """

    component: str
    task: str
    scale: Literal["difference", "log"]
    shapley: Interval
    cumulative: Interval | None = None
    leave_one_out: Interval | None = None


class ClaimVerdict(StrictConfig):
    """One quantitative statement, recomputed or confronted with the measurement.

    Attributes:
        claimed: the value as stated; ``recomputed``: what the code gets.
        verdict: the words to print; ``verdict_code``: for programs; ``detail``: why.
        claimed_low, claimed_high: a claimed relative gain as fractions, for the bars.
        component: what the gain is claimed for: a component or ``total``; empty otherwise.
        measured: the measured relative gain it is confronted with.
        ceiling: the largest relative gain that the measured baseline allows.
    """

    id: str
    source: str = ""
    section: str
    quote: str
    claimed: str
    recomputed: str
    verdict: str
    verdict_code: ClaimCode
    detail: str = ""
    component: str = ""
    claimed_low: Finite | None = None
    claimed_high: Finite | None = None
    measured: Interval | None = None
    ceiling: Finite | None = None


class PowerRow(StrictConfig):
    """What a number of seeds can find, in accuracy."""

    num_seeds: int
    mde80: Finite | None


class MissingCell(StrictConfig):
    """A cell (arm x seed) without scores on a task."""

    arm: str
    seed: int
    task: str
    reason: str = "no scores"


class StudyResults(StrictConfig):
    """All that one analysis found.

    Attributes:
        arms: the chain in order; other arms and controls appear in their own rows.
        components: components of every analysed arm.
        metrics: the primary metric of every task.
        headline: the sentence that the page opens with.
        paired_sd: standard deviation over seeds of the total difference; ``None`` if not evaluable.
        power: minimum detectable effects of the total at several numbers of seeds.
        lengths: training lengths, shortest first; everything but the two fields below is of the
            longest.
        length_gains: every stage at every length; ``length_changes``: the longest beside the
            shortest.
        plateau: whether training had reached its plateau; ``None`` without validation curves.
        floor: whether anything is judged.
    """

    headline: str
    arms: tuple[str, ...]
    components: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tasks: tuple[str, ...]
    metrics: dict[str, str]
    seeds: tuple[int, ...]
    delta: Finite
    alpha: Finite
    accuracies: tuple[ArmAccuracy, ...] = ()
    effects: tuple[Effect, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    compounds: tuple[Compound, ...] = ()
    shapley: tuple[ShapleyRow, ...] = ()
    claims: tuple[ClaimVerdict, ...] = ()
    paired_sd: Finite | None = None
    power: tuple[PowerRow, ...] = ()
    lengths: tuple[StudyLength, ...] = ()
    length_gains: tuple[LengthGain, ...] = ()
    length_changes: tuple[LengthChange, ...] = ()
    plateau: Plateau | None = None
    floor: Floor = Field(default_factory=Floor)
    missing: tuple[MissingCell, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = Field(default_factory=dict)

    def to_json(self) -> str:
        """The results as JSON text."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> StudyResults:
        """Read what ``to_json`` wrote."""
        return cls.model_validate_json(text)

    def effect(self, arm: str, reference: str, task: str = MEAN_TASK) -> Effect | None:
        """The comparison of two arms on a task, if the study has it."""
        for effect in self.effects:
            if (effect.arm, effect.reference, effect.task) == (arm, reference, task):
                return effect
        return None

    def stages(self, task: str = MEAN_TASK) -> tuple[Effect, ...]:
        """The stages of the chain on one task, in order."""
        return tuple(e for e in self.effects if e.kind == "stage" and e.task == task)

    def total(self, task: str = MEAN_TASK) -> Effect | None:
        """The last arm of the chain against the first."""
        return next((e for e in self.effects if e.kind == "total" and e.task == task), None)

    def compound(self, task: str = MEAN_TASK) -> Compound | None:
        """The compound estimate on one task."""
        return next((c for c in self.compounds if c.task == task), None)
