"""Claims, failures and provenance as tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.tables import Column, Entry, Table
from hybrid_pipeline.report.wording import (
    CLAIM_TONES,
    DASH,
    MINUS,
    NONE,
    TIMES,
    TONES,
    Tone,
    arm_label,
    component_label,
    difference_text,
    interval_text,
    percent,
    points,
    readable,
    signed_percent,
    task_label,
)
from hybrid_pipeline.stability.section import ExtraTable
from hybrid_pipeline.stats.plateau import BASELINE_RANGE, CONFIDENCE, MAX_GAIN
from hybrid_pipeline.stats.results import MEAN_TASK, ClaimVerdict, PlateauRow, StudyResults

SCOPE_NOTE = (
    "The claims are about OpenAI's CLIP and 100,000 examples. This study trained small models on "
    "small tasks, with the tower named below: it shows what was gained here and whether the "
    "arithmetic of the seed analysis holds, and cannot say what would be gained there."
)
VERDICTS_NOTE = (
    "Refuted: training had reached its plateau, the claim lies outside the interval, and the study "
    "could have seen the difference with 80 % power. Before the plateau a claim is not reached, "
    "not refuted."
)
NUMERIC = re.compile(rf"^[+{MINUS}{TIMES}-]?\.?\d[\d.,]*( ?%)?$")
LEVEL_TONES: dict[str, Tone] = {"info": "none", "warning": "open", "problem": "loss"}


def gain_claims(results: StudyResults) -> list[ClaimVerdict]:
    """Claims of a relative gain, component by component, the total last."""
    claims = [
        c for c in results.claims if c.component and (c.claimed_low, c.claimed_high) != (None, None)
    ]
    order = [*dict.fromkeys(c.component for c in claims if c.component != "total"), "total"]
    return sorted(claims, key=lambda c: order.index(c.component))


def claim_bounds(claim: ClaimVerdict) -> tuple[float, float]:
    """Lowest and highest claimed gain; equal for a single figure."""
    known = [v for v in (claim.claimed_low, claim.claimed_high) if v is not None]
    return min(known), max(known)


def claimed_text(claim: ClaimVerdict) -> str:
    """The claimed gain as ``+30 %`` or ``+3-4 %``."""
    low, high = claim_bounds(claim)
    if low == high:
        return signed_percent(low)
    return f"{signed_percent(low).removesuffix(' %')}{DASH}{signed_percent(high).lstrip('+')}"


def claims_table(results: StudyResults) -> Table:
    """Claimed gains beside the measured ones, with the ceiling of the measured baseline."""
    columns = (
        Column("Gain of", "left"),
        Column("Claimed"),
        Column("Where", "left"),
        Column("Measured"),
        Column("Ceiling"),
        Column("Verdict on the claim", "left"),
    )
    rows = [
        [
            Entry(component_label(c.component)),
            Entry(claimed_text(c)),
            Entry(c.section),
            Entry(
                signed_percent(c.measured.estimate if c.measured else None),
                interval_text(c.measured, digits=0),
            ),
            Entry(signed_percent(c.ceiling)),
            Entry(c.verdict, tone=CLAIM_TONES[c.verdict_code]),
        ]
        for c in gain_claims(results)
    ]
    notes = (
        "Relative gains, as the claims are stated. The ceiling is the largest relative gain the "
        "measured baseline allows, because accuracy cannot pass 100 %.",
        VERDICTS_NOTE,
    )
    return Table("claimed", "Claimed gains against measured ones", columns, rows, notes)


def audit_table(results: StudyResults) -> Table:
    """Every quantitative statement, recomputed."""
    columns = (
        Column("Statement", "left"),
        Column("Section", "left"),
        Column("Stated", "left"),
        Column("Recomputed or measured", "left"),
        Column("Verdict", "left"),
        Column("Why", "left"),
    )
    rows = [
        [
            Entry(c.quote),
            Entry(c.section),
            Entry(NONE if c.claimed == c.quote else readable(c.claimed)),
            Entry(readable(c.recomputed)),
            _claim_entry(c),
            Entry(readable(c.detail)),
        ]
        for c in results.claims
    ]
    sources = ", ".join(dict.fromkeys(c.source for c in results.claims if c.source))
    notes = (SCOPE_NOTE, *((f"Source: {sources}.",) if sources else ()), VERDICTS_NOTE)
    return Table("audit", "Audit of every quantitative statement", columns, rows, notes)


def _claim_entry(claim: ClaimVerdict) -> Entry:
    head, _, rest = readable(claim.verdict).partition(": ")
    return Entry(head, rest, tone=CLAIM_TONES[claim.verdict_code])


def _plateau_entry(row: PlateauRow) -> Entry:
    if not row.reached:
        return Entry("still rising", tone="open")
    return Entry("within the noise" if row.at_limit else "reached", tone="none")


def plateau_table(results: StudyResults) -> Table:
    """What the last fifth of training added to the validation score of every arm."""
    columns = (
        Column("Arm", "left"),
        Column("Task", "left"),
        Column("Before"),
        Column("At the end"),
        Column("Last fifth, points"),
        Column("At least"),
        Column("Plateau", "left"),
    )
    plateau = results.plateau
    rows = [
        [
            Entry(arm_label(row.arm)),
            Entry(task_label(row.task)),
            Entry(percent(row.before)),
            Entry(percent(row.final)),
            Entry(points(row.last_fifth, 2)),
            Entry(points(row.last_fifth - row.margin, 2)),
            _plateau_entry(row),
        ]
        for row in (plateau.rows if plateau is not None else ())
        if len(results.tasks) > 1 or row.task != MEAN_TASK
    ]
    note = (
        f"Validation scores, mean over seeds. The rule: the last fifth adds less than "
        f"{100 * MAX_GAIN:g} points in every arm on every task, and the first arm ends between "
        f"{100 * BASELINE_RANGE[0]:g} and {100 * BASELINE_RANGE[1]:g} %. An arm still rises only "
        f"if the one-sided {100 * CONFIDENCE:g} % bound (at least) lies there too; the noise is "
        "that between seeds, pooled over arms and tasks."
    )
    return Table("plateau", "Had training reached its plateau?", columns, rows, (note,))


def length_table(results: StudyResults) -> Table:
    """What every stage gains at every training length."""
    columns = (
        Column("Stage", "left"),
        Column("Task", "left"),
        Column("Updates"),
        Column("Seeds"),
        Column("Gain, points"),
        Column("Verdict", "left"),
    )
    rows = [
        [
            Entry(component_label(g.component) if g.component else arm_label(g.arm)),
            Entry(task_label(g.task)),
            Entry(f"{100 * g.length:g} %" if g.updates is None else f"{g.updates:,}"),
            Entry(str(g.num_seeds)),
            Entry(difference_text(g.difference)),
            Entry(g.verdict.partition(": ")[0], tone=TONES[g.verdict_code]),
        ]
        for g in results.length_gains
        if len(results.tasks) > 1 or g.task != MEAN_TASK
    ]
    note = (
        "Each length is a training of its own: a complete schedule, the same order of examples and "
        "the same initial weights. The verdicts of this report are those of the longest."
    )
    return Table("lengths", "The gain of each stage at each length", columns, rows, (note,))


def missing_table(inputs: ReportInputs) -> Table:
    """Cells without scores, and cells that failed, with the reason."""
    columns = (
        Column("Arm", "left"),
        Column("Seed"),
        Column("Task", "left"),
        Column("What happened", "left"),
    )
    reasons: dict[tuple[str, int, str], str] = {
        (m.arm, m.seed, m.task): m.reason for m in inputs.results.missing
    }
    reasons |= {(f.arm, f.seed, f.task): f.reason for f in inputs.failures}
    rows = [
        [Entry(arm_label(arm)), Entry(str(seed)), Entry(task_label(task)), Entry(reason)]
        for (arm, seed, task), reason in sorted(reasons.items())
    ]
    return Table("missing", "", columns, rows)


def provenance_table(inputs: ReportInputs) -> Table:
    """Commit, keys, versions, seeds and hardware."""
    columns = (Column("What", "left"), Column("Value", "left"))
    entries = dict(inputs.provenance)
    if inputs.tower is not None:
        entries.setdefault("tower", _tower_entries(inputs))
    entries.setdefault("seeds", list(inputs.results.seeds))
    entries |= {k: v for k, v in inputs.results.provenance.items() if k not in entries}
    rows = [[Entry(key), Entry(value)] for key, value in flattened(entries)]
    return Table("provenance", "", columns, rows)


def _tower_entries(inputs: ReportInputs) -> dict[str, str]:
    tower = inputs.tower
    if tower is None:
        return {}
    entries = {"name": tower.name, "source": tower.source, "key": tower.key}
    return {k: v for k, v in entries.items() if v}


def flattened(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as dotted keys with plain values, in the order given."""
    rows: list[tuple[str, str]] = []
    for key, entry in value.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping):
            rows += flattened(entry, f"{name}.")
        elif isinstance(entry, list | tuple):
            rows.append((name, ", ".join(str(e) for e in entry) or NONE))
        elif isinstance(entry, str):
            rows.append((name, entry))
        else:
            rows.append((name, json.dumps(entry)))
    return rows


def extra_table(extra: ExtraTable, table_id: str) -> Table:
    """A table that came ready-made; columns of numbers stand right, text stands left and wraps."""
    rows = [[Entry(text) for text in row] for row in extra.rows]
    columns = [
        Column(name, "right" if i and _is_numeric([row[i] for row in extra.rows]) else "left")
        for i, name in enumerate(extra.columns)
    ]
    return Table(table_id, extra.title, columns, rows, (extra.note,) if extra.note else ())


def _is_numeric(texts: Sequence[str]) -> bool:
    known = [text for text in texts if text not in ("", NONE, "-")]
    return bool(known) and all(NUMERIC.match(text) for text in known)


def advisor_table(notes: tuple[AdvisorNote, ...]) -> Table:
    """Remarks of the learning-curve advisor."""
    columns = (
        Column("Level", "left"),
        Column("Where", "left"),
        Column("Remark", "left"),
        Column("Suggestion", "left"),
    )
    rows = [
        [
            Entry(n.level, tone=LEVEL_TONES[n.level]),
            Entry(n.where),
            Entry(n.text),
            Entry(n.suggestion),
        ]
        for n in notes
    ]
    return Table("advisor", "What the learning curves suggest", columns, rows)
