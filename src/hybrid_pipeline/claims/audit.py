"""The verdict on every claim, computed from arithmetic, measured gains and stability findings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybrid_pipeline.claims.claims import Claim, Claims, StabilityFinding
from hybrid_pipeline.claims.recomputed import percent
from hybrid_pipeline.stats.measures import ceiling_baseline, ceiling_gain
from hybrid_pipeline.stats.results import MEAN_TASK, ClaimCode, ClaimVerdict, Floor, Interval

_WORDS: Mapping[ClaimCode, str] = {
    "refuted": "refuted",
    "not_reached": "not reached in this training length",
    "exceeded": "exceeded: more was measured",
    "cannot_be_judged": "cannot be judged",
    "impossible_here": "impossible here",
    "compatible_not_confirmed": "compatible, not confirmed",
    "not_verifiable": "not verifiable",
}


@dataclass(frozen=True)
class Measured:
    """What the study measured, as claims need it.

    Attributes:
        gains: (component or ``total``, task) -> interval of the relative gain.
        baselines: the same keys -> accuracy that the gain starts from (over tasks: the geometric
            mean), which sets the ceiling 1/a0 - 1.
        interaction: interval of the log interaction of the full model.
        mde_logs: the same keys as ``gains`` -> smallest log ratio found with 80 % power.
        plateau_reached: whether training had reached its plateau; ``None`` if that is not known.
        floor: whether the study may judge at all.
        stability: topic -> finding of the stability experiment.
    """

    gains: Mapping[tuple[str, str], Interval] = field(default_factory=dict)
    baselines: Mapping[tuple[str, str], float] = field(default_factory=dict)
    interaction: Interval | None = None
    stability: Mapping[str, StabilityFinding] = field(default_factory=dict)
    mde_logs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    plateau_reached: bool | None = None
    floor: Floor = field(default_factory=Floor)


def audit(claims: Claims, measured: Measured) -> tuple[ClaimVerdict, ...]:
    """Judge every statement of a claims file, in its order."""
    judges = {
        "arithmetic": _judge_arithmetic,
        "gain": _judge_gain,
        "ceiling": _judge_ceiling,
        "compounding": _judge_compounding,
        "stability": _judge_stability,
    }
    verdicts = []
    for claim in claims.statements:
        found = judges[claim.kind](claim, measured)
        found["detail"] = " ".join(s for s in (str(found["detail"]), claim.remark) if s)
        low, high = _gain_ends(claim)
        verdicts.append(
            ClaimVerdict.model_validate(
                {
                    "id": claim.id,
                    "source": claims.source,
                    "section": claim.section,
                    "quote": claim.quote,
                    "claimed": show(claim.ends, claim.unit, claim.decimals) or claim.quote,
                    "component": claim.component,
                    "claimed_low": low,
                    "claimed_high": high,
                    **found,
                }
            )
        )
    return tuple(verdicts)


def _gain_ends(claim: Claim) -> tuple[float | None, float | None]:
    if claim.kind != "gain":
        return None, None
    return claim.ends[0], claim.ends[-1]


def show(values: Sequence[float], unit: str, decimals: int, *, trim: bool = False) -> str:
    """A value or a range in its unit; empty for no value.

    Args:
        values: one value or two ends.
        unit: how to show them; any name but the first five of ``claims.Unit`` is written behind.
        decimals: digits behind the point.
        trim: drop zeros at the end.
    """
    if not values:
        return ""
    if unit in ("gain", "percent"):
        sign = "+" if unit == "gain" else ""
        return f"{_join(f'{100 * v:{sign}.{decimals}f}' for v in values)} %"
    if unit == "rate":
        return _join(f"{v:.3g}" for v in values)
    texts = [f"{v:,.{decimals}f}" for v in values]
    if trim and decimals:
        texts = [text.rstrip("0").rstrip(".") for text in texts]
    suffix = {"factor": "x", "number": ""}.get(unit, f" {unit}")
    return _join(texts) + suffix


def _join(texts: Iterable[str]) -> str:
    return " to ".join(texts)


def _found(code: ClaimCode, verdict: str, recomputed: str, detail: str = "") -> dict[str, Any]:
    return {
        "verdict_code": code,
        "verdict": verdict,
        "recomputed": recomputed,
        "detail": detail,
    }


def _judge_arithmetic(claim: Claim, measured: Measured) -> dict[str, Any]:
    del measured
    result = claim.recomputed()
    decimals = claim.decimals + (1 if claim.unit in ("gain", "percent") else 2)
    shown = show(result.values, result.unit or claim.unit, decimals, trim=True)
    if result.code is not None:
        return _found(result.code, result.verdict, shown, result.detail)
    code, words = _compare(claim, result.values, shown)
    return _found(code, words, shown, result.detail)


def _compare(claim: Claim, values: Sequence[float], shown: str) -> tuple[ClaimCode, str]:
    if len(claim.ends) == 2 and len(values) == 1:
        inside = claim.ends[0] <= values[0] <= claim.ends[1]
        return ("holds", "holds") if inside else ("does_not_hold", f"does not hold: {shown}")
    if len(claim.ends) != len(values):
        return "does_not_hold", f"does not hold: {shown}"
    agree = [
        abs(stated - value) <= _tolerance(claim)
        for stated, value in zip(claim.ends, values, strict=True)
    ]
    if all(agree):
        return "holds", "holds"
    if not any(agree):
        neither = "neither end holds" if len(agree) == 2 else "does not hold"
        return "does_not_hold", f"{neither}: {shown}"
    good, bad = ("low", "high") if agree[0] else ("high", "low")
    return "holds_in_part", f"{good} holds, {bad} does not: {shown}"


def _tolerance(claim: Claim) -> float:
    if claim.tolerance is not None:
        return claim.tolerance
    scale = 100 if claim.unit in ("gain", "percent") else 1
    return (0.5 * 10.0**-claim.decimals) / scale * (1 + 1e-9)


def _judge_gain(claim: Claim, measured: Measured) -> dict[str, Any]:
    key = (claim.component, claim.task)
    interval, baseline = measured.gains.get(key), measured.baselines.get(key)
    low, high = claim.ends[0], claim.ends[-1]
    ceiling = None if baseline is None else ceiling_gain(baseline)
    shown = "not measured" if interval is None else _interval_text(interval)
    extra = {"measured": interval, "ceiling": ceiling}
    if measured.floor.forbids(claim.task):
        return _say("cannot_be_judged", shown, "The study stands below its floor.") | extra
    if ceiling is not None and low > ceiling:
        start = _baseline_text(baseline or 0.0, claim)
        detail = f"A baseline of {start} allows at most {100 * ceiling:+z.1f} %."
        return _say("impossible_here", shown, detail) | extra
    if interval is None:
        return _say("not_verifiable", shown, "The study has no interval for this gain.") | extra
    if high < interval.low or low > interval.high:
        return _outside(claim, measured, interval) | extra
    detail = "The claim and the interval overlap, which does not confirm it."
    return _say("compatible_not_confirmed", shown, detail) | extra


def _outside(claim: Claim, measured: Measured, interval: Interval) -> dict[str, Any]:
    """The verdict on a claimed gain outside the interval: only a study that could see it refutes.

    Between the end of the interval and the smallest effect that the study finds with 80 % power
    lies what it cannot tell apart from its estimate; and before the plateau a gain has yet to come.
    """
    shown, ends = _interval_text(interval), claim.ends
    is_above = ends[0] > interval.high
    nearest = ends[0] if is_above else ends[-1]
    distance = abs(math.log1p(nearest) - math.log1p(interval.estimate))
    mde = measured.mde_logs.get((claim.component, claim.task))
    side = "above" if is_above else "below"
    detail = f"The claim lies {side} the {100 * interval.level:g} % interval"
    if mde is None or distance <= mde:
        return _say(
            "cannot_be_judged",
            shown,
            f"{detail}, but nearer to the estimate than this study tells apart with 80 % power.",
        )
    early = "" if measured.plateau_reached else " in this training length"
    if not is_above:
        words = f"exceeded{early}: more was measured"
        return _found("exceeded", words, shown, f"{detail}.")
    if measured.plateau_reached:
        return _say("refuted", shown, f"{detail}.")
    if measured.plateau_reached is None:
        return _found(
            "not_reached",
            "not reached in these scores",
            shown,
            f"{detail}; whether training had reached its plateau is not known.",
        )
    return _say("not_reached", shown, f"{detail}; training had not reached its plateau.")


def _say(code: ClaimCode, recomputed: str, detail: str) -> dict[str, Any]:
    return _found(code, _WORDS[code], recomputed, detail)


def _interval_text(interval: Interval) -> str:
    low, mid, high = (100 * x for x in (interval.low, interval.estimate, interval.high))
    return f"{mid:+z.1f} % [{low:+z.1f}, {high:+z.1f}]"


def _judge_ceiling(claim: Claim, measured: Measured) -> dict[str, Any]:
    needed = ceiling_baseline(claim.ends[0])
    shown = f"needs a baseline of at most {percent(needed)}"
    baseline = measured.baselines.get(("total", claim.task))
    if measured.floor.forbids(claim.task):
        return _say("cannot_be_judged", shown, "The study stands below its floor.")
    if baseline is None:
        return _say("not_verifiable", shown, "No baseline was measured.")
    start = f"the measured baseline is {_baseline_text(baseline, claim)}"
    ceiling = {"ceiling": ceiling_gain(baseline)}
    if baseline > needed:
        return _say("impossible_here", shown, f"The ceiling forbids it: {start}.") | ceiling
    detail = f"The ceiling allows it: {start}. Whether it was gained is another row."
    return _say("compatible_not_confirmed", shown, detail) | ceiling


def _baseline_text(baseline: float, claim: Claim) -> str:
    return percent(baseline) + (" (geometric mean over tasks)" if claim.task == MEAN_TASK else "")


def _judge_compounding(claim: Claim, measured: Measured) -> dict[str, Any]:
    interval = measured.interaction
    if interval is None or claim.task != MEAN_TASK:
        detail = "No interaction could be measured; the product of stages is an identity."
        return _say("not_verifiable", "not measured", detail)
    shown = (
        f"log interaction {interval.estimate:+z.3f} [{interval.low:+z.3f}, {interval.high:+z.3f}]"
    )
    if measured.floor.forbids(claim.task):
        return _say("cannot_be_judged", shown, "The study stands below its floor.")
    if interval.low > 0 or interval.high < 0:
        detail = "The isolated gains do not multiply to the measured total"
        if measured.plateau_reached:
            return _say("refuted", shown, f"{detail}.")
        return _say("cannot_be_judged", shown, f"{detail} in this training length.")
    detail = "The interaction's interval contains 0, which does not confirm it."
    return _say("compatible_not_confirmed", shown, detail)


def _no_finding(measured: Measured) -> str:
    if not measured.stability:
        return "No stability experiment was run."
    return "The stability experiment does not vary this."


def _judge_stability(claim: Claim, measured: Measured) -> dict[str, Any]:
    finding = measured.stability.get(claim.topic)
    if finding is None:
        return _say("not_verifiable", "not measured", _no_finding(measured))
    if finding.outcome == "supported":
        return _found("holds", "holds in this experiment", finding.outcome, finding.detail)
    if finding.outcome == "refuted":
        words = "does not hold in this experiment"
        return _found("does_not_hold", words, finding.outcome, finding.detail)
    return _say("compatible_not_confirmed", finding.outcome, finding.detail)
