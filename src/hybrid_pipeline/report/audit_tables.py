"""Claims, failures and provenance as tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.tables import Cell, Column, Table
from hybrid_pipeline.report.wording import (
    CLAIM_TONES,
    DASH,
    MINUS,
    NONE,
    TIMES,
    Tone,
    arm_label,
    component_label,
    interval_text,
    readable,
    signed_percent,
    task_label,
)
from hybrid_pipeline.stability.section import ExtraTable
from hybrid_pipeline.stats.results import ClaimVerdict, StudyResults

REFUTED_NOTE = (
    "Refuted here: outside this study's interval, with this study's tower, updates and tasks."
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
            Cell(component_label(c.component)),
            Cell(claimed_text(c)),
            Cell(c.section),
            Cell(
                signed_percent(c.measured.estimate if c.measured else None),
                interval_text(c.measured, digits=0),
            ),
            Cell(signed_percent(c.ceiling)),
            Cell(c.verdict, tone=CLAIM_TONES[c.verdict_code]),
        ]
        for c in gain_claims(results)
    ]
    notes = (
        "Relative gains, as the claims are stated. The ceiling is the largest relative gain the "
        "measured baseline allows, because accuracy cannot pass 100 %.",
        REFUTED_NOTE,
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
            Cell(c.quote),
            Cell(c.section),
            Cell(NONE if c.claimed == c.quote else readable(c.claimed)),
            Cell(readable(c.recomputed)),
            _claim_cell(c),
            Cell(readable(c.detail)),
        ]
        for c in results.claims
    ]
    sources = ", ".join(dict.fromkeys(c.source for c in results.claims if c.source))
    notes = (*((f"Source: {sources}.",) if sources else ()), REFUTED_NOTE)
    return Table("audit", "Audit of every quantitative statement", columns, rows, notes)


def _claim_cell(claim: ClaimVerdict) -> Cell:
    head, _, rest = readable(claim.verdict).partition(": ")
    return Cell(head, rest, tone=CLAIM_TONES[claim.verdict_code])


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
        [Cell(arm_label(arm)), Cell(str(seed)), Cell(task_label(task)), Cell(reason)]
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
    rows = [[Cell(key), Cell(value)] for key, value in flattened(entries)]
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
    rows = [[Cell(text) for text in row] for row in extra.rows]
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
        [Cell(n.level, tone=LEVEL_TONES[n.level]), Cell(n.where), Cell(n.text), Cell(n.suggestion)]
        for n in notes
    ]
    return Table("advisor", "What the learning curves suggest", columns, rows)
