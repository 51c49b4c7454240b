"""Spending a budget: complete seed blocks in random order, pilots first, and looks on the way.

A block is all arms of one seed. Only whole blocks are started, so that an interruption leaves a
balanced, paired set.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hybrid_pipeline.config import EvaluationConfig, StrictConfig
from hybrid_pipeline.stats.contrasts import contrast_arrays
from hybrid_pipeline.stats.intervals import Variance, two_component
from hybrid_pipeline.stats.power import projected_mde80, upper_sd
from hybrid_pipeline.stats.results import Effect
from hybrid_pipeline.stats.scores import ScoreMatrix
from hybrid_pipeline.stats.verdicts import smallest_found

LADDER = (3, 5, 8, 12)
LADDER_ALPHA = 0.0158
"""Nominal two-sided level per look that keeps .05 over the ladder; uncorrected looks give .14."""


class BudgetPlan(StrictConfig):
    """How many seed blocks a time budget holds.

    Attributes:
        num_blocks: blocks in all, pilots included.
        num_pilots: blocks already run.
        minutes_per_block: the slowest pilot, so that the last block fits too.
        mde80: smallest effect found with 80 % power after all blocks, at the noisiest stage.
        mde80_upper: the same at the upper 80 % bound of the noise; pilots measure it poorly.
        sentence: what to print before spending.
    """

    num_blocks: int
    num_pilots: int
    minutes_per_block: float
    minutes_budget: float
    minutes_spent: float
    mde80: float | None
    mde80_upper: float | None
    sentence: str


class BlockDecision(StrictConfig):
    """Whether to start another seed block, and why."""

    start: bool
    reason: str


class LookDecision(StrictConfig):
    """What a look of the sequential ladder decides.

    Attributes:
        stop: whether the study ends here.
        num_seeds: seeds seen at this look.
        next_look: seeds of the next look; ``None`` if the study stops.
        undecided: stages without a decision yet.
    """

    stop: bool
    num_seeds: int
    next_look: int | None
    undecided: tuple[str, ...]
    reason: str


def noisiest_stage(matrix: ScoreMatrix, chain: Sequence[str]) -> Variance | None:
    """The variance of the stage whose seeds differ most, from two or more complete blocks."""
    variances = []
    for old, new in pairwise(chain):
        strata = contrast_arrays(matrix, {new: 1.0, old: -1.0}, matrix.tasks)
        if strata is not None and strata[0].shape[0] >= 2:
            variances.append(two_component(strata))
    return max(variances, key=lambda v: v.total, default=None)


def plan_budget(
    pilot_minutes: Sequence[float],
    budget_minutes: float,
    noise: Variance | None,
    *,
    alpha: float = 0.05,
    max_blocks: int = 64,
) -> BudgetPlan:
    """How many blocks fit, and what they can find.

    Args:
        pilot_minutes: duration of each pilot block.
        budget_minutes: time for the whole study, pilots included.
        noise: from ``noisiest_stage`` of the pilots; without it no effect size is given.
        alpha: two-sided level.
        max_blocks: blocks are not planned beyond this number.
    """
    slowest, spent = max(pilot_minutes), sum(pilot_minutes)
    left = max(budget_minutes - spent, 0.0)
    further = int(left // slowest) if slowest > 0 else max_blocks
    num_blocks = min(len(pilot_minutes) + further, max_blocks)
    mde = upper = None
    if noise is not None and num_blocks >= 2:
        mde = projected_mde80(noise, num_blocks, alpha)
        upper = mde * upper_sd(1.0, noise.num_seeds)
    sentence = (
        f"{len(pilot_minutes)} pilot blocks took {spent:.1f} minutes, the slowest {slowest:.1f}; "
        f"{num_blocks} blocks fit into {budget_minutes:g} minutes. "
        f"{_power_sentence(num_blocks, mde, upper)}"
    )
    return BudgetPlan(
        num_blocks=num_blocks,
        num_pilots=len(pilot_minutes),
        minutes_per_block=slowest,
        minutes_budget=budget_minutes,
        minutes_spent=spent,
        mde80=mde,
        mde80_upper=upper,
        sentence=sentence,
    )


def _power_sentence(num_blocks: int, mde: float | None, upper: float | None) -> str:
    if num_blocks < 3:
        return "Fewer than 3 seeds are not evaluable: raise the budget."
    if mde is None or upper is None:
        return "The pilots do not say what effect this can find."
    return (
        f"The smallest stage gain found with 80 % power is {smallest_found(mde)}; the pilots "
        f"measure noise poorly, it may be {smallest_found(upper)}."
    )


def may_start_block(
    durations: Sequence[float], budget_minutes: float, elapsed_minutes: float
) -> BlockDecision:
    """Whether another block, as slow as the slowest so far, ends within the budget.

    Args:
        durations: minutes of the blocks that are done; none yet always starts the first.
        budget_minutes: of the study.
        elapsed_minutes: since its start.
    """
    left = budget_minutes - elapsed_minutes
    longest = max(durations, default=0.0)
    if left <= 0 or longest > left:
        return BlockDecision(
            start=False,
            reason=f"{max(left, 0):.1f} minutes are left and a block took up to {longest:.1f}.",
        )
    return BlockDecision(start=True, reason=f"{left:.1f} minutes are left.")


def ladder_alpha(looks: Sequence[int], alpha: float = 0.05) -> float:
    """The nominal level per look that keeps ``alpha`` over all looks.

    Simulated for the ladder 3, 5, 8, 12 at .05; Bonferroni for any other, which is conservative.
    """
    if tuple(looks) == LADDER and abs(alpha - 0.05) < 1e-9:
        return LADDER_ALPHA
    return alpha / max(len(looks), 1)


def sequential_evaluation(evaluation: EvaluationConfig, looks: Sequence[int]) -> EvaluationConfig:
    """The evaluation of one look: every interval and test at the corrected level."""
    level = 1 - ladder_alpha(looks, round(1 - evaluation.level, 12))
    return evaluation.model_copy(update={"level": level})


def undecided_steps(stages: Sequence[Effect]) -> tuple[str, ...]:
    """The stages that neither help, nor hurt, nor are shown to be too small to matter."""
    open_codes = {"underpowered", "not_evaluable", "no_detectable_effect"}
    return tuple(stage.arm for stage in stages if stage.verdict_code in open_codes)


def decide(num_seeds: int, undecided: tuple[str, ...], looks: Sequence[int]) -> LookDecision:
    """The decision at a look, from the stages that are still open."""
    following = next((look for look in looks if look > num_seeds), None)
    if not undecided:
        reason = f"every stage is decided after {num_seeds} seeds"
    elif following is None:
        reason = f"no look is left after {num_seeds} seeds; undecided: {', '.join(undecided)}"
    else:
        reason = f"undecided after {num_seeds} seeds: {', '.join(undecided)}"
    stop = not undecided or following is None
    return LookDecision(
        stop=stop,
        num_seeds=num_seeds,
        next_look=None if stop else following,
        undecided=undecided,
        reason=reason,
    )
