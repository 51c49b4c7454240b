"""Numbers and verdicts as words, never stronger than the verdict.

Accuracies and differences arrive as fractions and leave as percent and points.
"""

from __future__ import annotations

import re
from typing import Literal

from hybrid_pipeline.arms import chain, control_arms, find_arm
from hybrid_pipeline.components import component, components
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    ClaimCode,
    Interval,
    StudyResults,
    VerdictCode,
)

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"
NONE = "\N{EM DASH}"  # a cell of a table that has nothing to say

Tone = Literal["gain", "loss", "none", "open", "blank"]
TONES: dict[VerdictCode, Tone] = {
    "helps": "gain",
    "helps_by_delta": "gain",
    "helps_below_delta": "gain",
    "hurts": "loss",
    "hurts_by_delta": "loss",
    "hurts_below_delta": "loss",
    "no_meaningful_effect": "none",
    "no_detectable_effect": "none",
    "underpowered": "open",
    "not_evaluable": "blank",
    "not_judged": "blank",
}
CLAIM_TONES: dict[ClaimCode, Tone] = {
    "holds": "gain",
    "holds_in_part": "open",
    "does_not_hold": "loss",
    "contradicts": "loss",
    "not_verifiable": "open",
    "no_effect": "none",
    "not_supported": "loss",
    "refuted": "loss",
    "not_reached": "open",
    "exceeded": "gain",
    "cannot_be_judged": "open",
    "compatible_not_confirmed": "open",
    "impossible_here": "loss",
}
TONE_MARKS: dict[Tone, str] = {
    "gain": "\N{BLACK UP-POINTING TRIANGLE}",
    "loss": "\N{BLACK DOWN-POINTING TRIANGLE}",
    "none": "\N{BLACK SQUARE}",
    "open": "\N{WHITE CIRCLE}",
    "blank": TIMES,
}
OTHER_LABELS = {"total": "All together", "vit": "Custom ViT"}

ESTIMATES_SENTENCE = (
    "Claimed figures are estimates, not measurements; nothing was run to obtain them."
)
TELESCOPE_SENTENCE = (
    "The product of the stage ratios equals the total by identity: cumulative stages telescope. "
    "It is no evidence that benefits compound; only the interaction can test that."
)
BUNDLED_SENTENCE = "The bundled tower is a small open_clip model; it is not OpenAI's CLIP."


def arm_label(name: str) -> str:
    """A short label of an arm, subset or control; unknown names keep their words."""
    try:
        arm = find_arm(name)
    except ValueError:
        return name.replace("_", " ")
    if arm.control is not None:
        return arm.control.label
    if arm not in chain():
        return " + ".join(["ViT", *(component(c).label for c in arm.components)])
    if not arm.components:
        return f"1 {OTHER_LABELS['vit']}"
    added = component(arm.components[-1])
    return f"{len(arm.components) + 1} + {added.adds or added.label}"


def component_label(name: str) -> str:
    """A component as a reader knows it; ``total`` is all of them together."""
    labels = OTHER_LABELS | {record.name: record.label for record in components()}
    return labels.get(name, name.replace("_", " "))


def task_label(name: str) -> str:
    """A task's name in words; the mean over tasks by that name."""
    return "mean over tasks" if name == MEAN_TASK else name.replace("_", " ")


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percent: 0.4456 is ``44.6 %``."""
    return NONE if value is None else f"{_minus(f'{100 * value:.{digits}f}')} %"


def signed_percent(value: float | None, digits: int = 0) -> str:
    """A relative gain with its sign: 0.3 is ``+30 %``."""
    return NONE if value is None else f"{_signed(100 * value, digits)} %"


def points(value: float | None, digits: int = 1) -> str:
    """A difference of accuracies in percentage points with its sign."""
    return NONE if value is None else _signed(100 * value, digits)


def bare(value: float | None, digits: int = 2) -> str:
    """A plain number."""
    return NONE if value is None else _minus(f"{value:.{digits}f}")


def smallest_difference(mde80: float | None) -> str:
    """The smallest difference found with 80 % power in points, of which there are only 100."""
    return ">100" if mde80 is not None and mde80 > 1 else bare(mde80 and 100 * mde80, 1)


def ratio(value: float | None) -> str:
    """A ratio of accuracies: 1.5 is ``x1.50``."""
    return NONE if value is None else f"{TIMES}{value:.2f}"


def p_value(value: float | None) -> str:
    """A p-value with three digits; smaller ones as a bound."""
    if value is None:
        return NONE
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def interval_text(interval: Interval | None, *, signed: bool = True, digits: int = 1) -> str:
    """The bounds in percent or points: ``[+0.4, +3.8]``; empty without an interval."""
    if interval is None:
        return ""
    write = _signed if signed else (lambda v, d: _minus(f"{v:.{d}f}"))
    return f"[{write(100 * interval.low, digits)}, {write(100 * interval.high, digits)}]"


def difference_text(interval: Interval | None, digits: int = 1) -> str:
    """A difference in points with its bounds; a dash where it is not evaluable."""
    if interval is None:
        return NONE
    return f"{points(interval.estimate, digits)} {interval_text(interval, digits=digits)}"


def count(value: float | None) -> str:
    """A large number in engineering style: 213480 is ``213 k``."""
    if value is None:
        return NONE
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def minutes(value: float | None) -> str:
    """Minutes with as many digits as they deserve."""
    if value is None:
        return NONE
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    return f"{value:.{digits}f}"


def threshold(value: float) -> str:
    """A smallest effect of interest: 0.01 is ``1 point``, 0.005 is ``0.5 points``."""
    text = f"{100 * value:.3g}"
    return f"{text} {'point' if text == '1' else 'points'}"


def readable(text: str) -> str:
    """A sentence of the analysis with labels for arm names and real minus signs."""
    names = (arm.name for arm in (*chain(), *control_arms().values()))
    longest_first = "|".join([*sorted(names, key=len, reverse=True), r"subset_[A-Z]+"])
    text = re.sub(rf"\b({longest_first})\b", lambda found: arm_label(found[0]), text)
    return re.sub(r"(?<![\w.)])-(?=\.?\d)", MINUS, text)


def _signed(value: float, digits: int) -> str:
    text = _minus(f"{value:+.{digits}f}")
    is_zero = float(f"{value:.{digits}f}") == 0
    return f"{0:.{digits}f}" if is_zero else text


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def main_task(results: StudyResults) -> str:
    """The mean over tasks, or the only task of a study that has no mean."""
    judged = {e.task for e in results.effects}
    if len(results.tasks) == 1 and (results.tasks[0] in judged or not judged):
        return results.tasks[0]
    return MEAN_TASK if MEAN_TASK in judged or not results.tasks else results.tasks[0]


def plural(number: int, word: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
