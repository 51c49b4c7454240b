"""The first screen: headline, picture, five rows, three sentences; then the gallery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from hybrid_pipeline.report.arm_tables import first_table
from hybrid_pipeline.report.audit_tables import gain_claims, missing_table
from hybrid_pipeline.report.document import (
    Block,
    Bullets,
    Chart,
    Gallery,
    Kind,
    Pair,
    Paragraph,
    Section,
)
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.sentences import length_summary, verdicts, warnings
from hybrid_pipeline.report.wording import (
    BUNDLED_SENTENCE,
    ESTIMATES_SENTENCE,
    component_label,
    interval_text,
    main_task,
    plural,
    points,
    threshold,
)
from hybrid_pipeline.stats.results import MEAN_TASK, StudyResults

PICTURE = "claimed_vs_measured"
HEADLINE = 150  # characters; longer openings are set smaller
PICTURE_CAPTION = (
    "Relative gain over the arm before; of the full model over the baseline. Hatched and diamonds: "
    "claimed, estimates. Bars: measured, with intervals; pale without a verdict of a gain or loss. "
    "Upright mark: the most the measured baseline allows."
)


def page_one(inputs: ReportInputs, charts: Collection[str]) -> Section:
    """What a reader takes away in a minute."""
    results = inputs.results
    opening, by_stage = verdicts(results)
    kind: Kind = "verdict" if len(opening) <= HEADLINE else "verdict-long"
    before = " ".join(warnings(results))
    blocks: list[Block] = [Paragraph(before, "caution")] if before else []
    blocks.append(Paragraph(opening, kind if results.floor.reached else "banner"))
    if inputs.failures or results.missing:
        missing = len(missing_table(inputs).rows)
        text = f"{plural(missing, 'cell')} failed or missing; nothing is imputed. See below."
        blocks.append(Paragraph(text, "caution"))
    picture = Chart(PICTURE, PICTURE_CAPTION) if PICTURE in charts else None
    lengths = " ".join(length_summary(results))
    shares = shares_sentence(results)
    sentences = [by_stage, lengths, shares, claims_sentence(results), _tower_sentence(inputs)]
    blocks += [
        Pair(picture, first_table(inputs, main_task(results))),
        Bullets([sentence for sentence in sentences if sentence]),
        Paragraph(_facts(inputs), "facts"),
    ]
    return Section("page-one", "", blocks)


def shares_sentence(results: StudyResults) -> str:
    """What a factorial design adds: the gain of each component over all orders."""
    task = main_task(results)
    rows = [r for r in results.shapley if r.task == task and r.scale == "difference"]
    if not rows:
        return ""
    found = ", ".join(
        f"{component_label(r.component)} {points(r.shapley.estimate)} {interval_text(r.shapley)}"
        for r in rows
    )
    return f"Averaged over all orders of adding them (Shapley), in points: {found}."


def claims_sentence(results: StudyResults) -> str:
    """How many of the claimed gains came to which verdict; that claims are no measurements."""
    if not results.claims:
        return ""
    gains = gain_claims(results)
    counted = Counter(claim.verdict.partition(": ")[0] for claim in gains)
    found = "; ".join(f"{number} {verdict}" for verdict, number in counted.most_common())
    return (
        f"Of {plural(len(gains), 'claimed gain')}: {found}. {ESTIMATES_SENTENCE}"
        if gains
        else (ESTIMATES_SENTENCE)
    )


def _tower_sentence(inputs: ReportInputs) -> str:
    tower = inputs.tower
    if tower is None:
        return ""
    sentence = f"Frozen tower: {tower.name}. {tower.said}".strip()
    if tower.source == "bundled" and "not openai" not in sentence.lower():
        sentence += f" {BUNDLED_SENTENCE}"
    return sentence


def _facts(inputs: ReportInputs) -> str:
    results = inputs.results
    sizes = {a.num_examples for a in results.accuracies if a.task != MEAN_TASK and a.primary}
    examples = f"{max(sizes):,} test examples per task" if sizes else "no test scores"
    if len(sizes) > 1:
        examples = f"{min(sizes):,} to {max(sizes):,} test examples per task"
    return ", ".join(
        [
            plural(len(results.tasks), "task"),
            plural(len(results.arms), "arm"),
            plural(len(results.seeds), "seed"),
            f"{examples}; smallest effect of interest {threshold(results.delta)}",
        ]
    )


def gallery(inputs: ReportInputs) -> Section:
    """Examples on which the arms differ, or the sentence that says why there are none."""
    given = inputs.gallery
    blocks: list[Block] = [Paragraph(given.sentence, "facts")] if given.sentence else []
    blocks += [Gallery(given.cards)] if given.cards else []
    return Section("examples", "What the arms answer", blocks)
