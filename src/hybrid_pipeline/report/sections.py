"""What the report says, in order: page one, the evidence, the audit, failures, provenance."""

from __future__ import annotations

from collections.abc import Collection

from hybrid_pipeline.report.arm_tables import arms_table, effects_table
from hybrid_pipeline.report.audit_tables import (
    advisor_table,
    audit_table,
    claims_table,
    extra_table,
    gain_claims,
    missing_table,
    provenance_table,
)
from hybrid_pipeline.report.document import Block, Bullets, Chart, Gallery, Paragraph, Section
from hybrid_pipeline.report.evidence_tables import (
    compound_table,
    controls_table,
    halting_table,
    has_figures,
    inner_life_table,
    power_table,
    shapley_table,
)
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.sentences import check_wording, stage_sentence, verdict_sentence
from hybrid_pipeline.report.wording import (
    BUNDLED_SENTENCE,
    ESTIMATES_SENTENCE,
    TELESCOPE_SENTENCE,
    main_task,
    plural,
    readable,
    threshold,
)
from hybrid_pipeline.stats.results import MEAN_TASK

CAPTIONS = {
    "claimed_vs_measured": (
        "Relative gain of every component over the arm before it, and of the full model over the "
        "baseline. Hatched: the span of what was claimed, an estimate; diamonds: single claimed "
        "figures. Below: measured, with its interval; pale where the verdict is neither a gain "
        "nor a loss. "
        "Black mark: the ceiling, the most the measured baseline allows."
    ),
    "forest": (
        "Difference in accuracy with the two-component t interval; dotted grey below it the "
        "crossed bootstrap, a sensitivity check. An interval that reaches the zero line does not "
        "show a gain; one inside the grey band would be too small to matter. Each interval is that "
        "of a single comparison; verdicts are corrected for several, so one may clear zero where "
        "the verdict does not."
    ),
    "heatmap": "Accuracy in percent with its interval.",
    "waterfall": (
        "The ratio to the baseline after every stage. Hatched stages have no verdict of a gain or "
        "a loss. " + TELESCOPE_SENTENCE
    ),
    "compounding": (
        "The measured ratio of the full model to the baseline beside what isolated gains would "
        "predict if points added, if ratios multiplied, or if log-odds added. Predictions have "
        "noise of their own; the interaction in the table carries its interval."
    ),
    "shares": (
        "A component's gain depends on what is already there: added in the order of the chain, "
        "added last, or averaged over all orders in which CLIP comes before N2N (Shapley)."
    ),
    "learning_curves": (
        "Every line is one seed, scored on the validation split; choices are made here, the test "
        "split is scored once."
    ),
    "training_loss": (
        "Every line is one seed. Losses are comparable within an arm: arms with more supervision "
        "steps or an adapter add terms."
    ),
    "other_curves": "Subsets and controls; every line is one seed.",
    "all_claims": (
        "Every claimed gain as it was stated. Blue: the measured gain and its interval. Crosses: "
        "claims refuted, or impossible above the ceiling; open circles: not ruled out, which is "
        "not a confirmation."
    ),
}


def build_sections(inputs: ReportInputs, charts: Collection[str]) -> list[Section]:
    """The sections that these inputs can fill, in order.

    Args:
        inputs: the analysis and its records.
        charts: names of the figures that exist.

    Raises:
        WordingError: if a verdict is stronger than its interval.
    """
    check_wording(inputs.results)
    sections = [
        page_one(inputs, charts),
        _gains(inputs, charts),
        _tasks(inputs, charts),
        _compounding(inputs, charts),
        _controls(inputs),
        _inside(inputs),
        _curves(inputs, charts),
        _stability(inputs, charts),
        _claims(inputs, charts),
        _failures(inputs),
        _method(inputs),
        Section("provenance", "Provenance", [provenance_table(inputs)]),
    ]
    return [s for s in sections if not s.is_empty]


def _charts(charts: Collection[str], *names: str) -> list[Block]:
    return [Chart(name, CAPTIONS[name]) for name in names if name in charts]


def page_one(inputs: ReportInputs, charts: Collection[str]) -> Section:
    """The verdict, the table of arms, claimed against measured, and what a reader must know."""
    results = inputs.results
    task = main_task(results)
    sentences = [stage_sentence(e) for e in results.stages(task)]
    total = results.total(task)
    sentences += [stage_sentence(total)] if total is not None else []
    opening, by_stage = verdict_sentence(results)
    blocks: list[Block] = [
        Paragraph(opening, "verdict"),
        *([Paragraph(by_stage, "stages")] if by_stage else []),
        Paragraph(_facts(inputs), "facts"),
    ]
    if inputs.failures or results.missing:
        missing = len(missing_table(inputs).rows)
        text = f"{plural(missing, 'cell')} failed or missing; nothing is imputed. See below."
        blocks.append(Paragraph(text, "caution"))
    blocks += [Bullets(sentences, phone_only=True), arms_table(inputs, task)]
    blocks += _charts(charts, "claimed_vs_measured")
    blocks.append(Bullets(_disclosures(inputs)))
    return Section("page-one", "", blocks)


def _facts(inputs: ReportInputs) -> str:
    results = inputs.results
    sizes = {a.num_examples for a in results.accuracies if a.task != MEAN_TASK and a.primary}
    examples = f"{max(sizes):,} test examples a task" if sizes else "no test scores"
    if len(sizes) > 1:
        examples = f"{min(sizes):,} to {max(sizes):,} test examples a task"
    return ", ".join(
        [
            plural(len(results.tasks), "task"),
            plural(len(results.arms), "arm"),
            plural(len(results.seeds), "seed"),
            f"{examples}; smallest effect of interest {threshold(results.delta)}",
        ]
    )


def _disclosures(inputs: ReportInputs) -> list[str]:
    lines = [ESTIMATES_SENTENCE] if inputs.results.claims else []
    tower = inputs.tower
    if tower is not None:
        sentence = f"Frozen tower: {tower.name}. {tower.sentence}".strip()
        if tower.source == "bundled" and "not openai" not in sentence.lower():
            sentence += f" {BUNDLED_SENTENCE}"
        lines.append(sentence)
    return [*lines, *inputs.disclosures]


def _gains(inputs: ReportInputs, charts: Collection[str]) -> Section:
    return Section(
        "gains",
        "What each stage adds",
        [*_charts(charts, "forest"), effects_table(inputs.results), power_table(inputs.results)],
    )


def _tasks(inputs: ReportInputs, charts: Collection[str]) -> Section:
    blocks: list[Block] = []
    described = [b for b in inputs.baselines if b.description]
    if described:
        blocks.append(Bullets([f"{b.task.replace('_', ' ')}: {b.description}" for b in described]))
    if inputs.examples:
        blocks.append(Gallery(inputs.examples))
    blocks += _charts(charts, "heatmap")
    if len(inputs.results.tasks) > 1:
        blocks += [arms_table(inputs, t, f"arms-{t}") for t in inputs.results.tasks]
    return Section("tasks", "Task by task", blocks)


def _compounding(inputs: ReportInputs, charts: Collection[str]) -> Section:
    results = inputs.results
    blocks: list[Block] = [
        *_charts(charts, "waterfall", "compounding"),
        compound_table(results),
        *_charts(charts, "shares"),
        shapley_table(results),
    ]
    if any(has_figures(c) for c in results.compounds):
        blocks.insert(0, Paragraph(TELESCOPE_SENTENCE))
    holes = dict.fromkeys(c.note for c in results.compounds if c.note and not has_figures(c))
    blocks += [Paragraph(readable(note), "caution") for note in holes]
    return Section("compounding", "Do the gains compound?", blocks)


def _controls(inputs: ReportInputs) -> Section:
    return Section("controls", "Controls", [controls_table(inputs.results)])


def _inside(inputs: ReportInputs) -> Section:
    return Section("inside", "Inside the model", [halting_table(inputs), inner_life_table(inputs)])


def _curves(inputs: ReportInputs, charts: Collection[str]) -> Section:
    return Section(
        "curves",
        "Learning curves",
        [
            *_charts(charts, "learning_curves", "training_loss", "other_curves"),
            advisor_table(inputs.advisor),
        ],
    )


def _stability(inputs: ReportInputs, charts: Collection[str]) -> Section:
    stability = inputs.stability
    if stability is None:
        return Section("stability", "Stability", [])
    drawn = [
        Chart(extra.name, extra.caption, stability.figures_file)
        for extra in stability.figures
        if extra.name in charts
    ]
    tables = [extra_table(t, f"stability-{i}") for i, t in enumerate(stability.tables)]
    return Section("stability", "Stability", [Bullets(stability.points), *drawn, *tables])


def _claims(inputs: ReportInputs, charts: Collection[str]) -> Section:
    results = inputs.results
    if not results.claims:
        text = "No claims were given to confront with the measurement."
        return Section("claims", "Audit of the claims", [Paragraph(text)])
    blocks: list[Block] = [Paragraph(ESTIMATES_SENTENCE)]
    if gain_claims(results):
        blocks += [*_charts(charts, "all_claims"), claims_table(results)]
    return Section("claims", "Audit of the claims", [*blocks, audit_table(results)])


def _failures(inputs: ReportInputs) -> Section:
    table = missing_table(inputs)
    if not table.rows:
        text = "None: every arm, seed and task has scores."
        return Section("failures", "Failures and missing cells", [Paragraph(text, "good")])
    text = "Nothing is imputed; a comparison that needs a missing cell leaves that seed out."
    return Section("failures", "Failures and missing cells", [Paragraph(text), table])


def _method(inputs: ReportInputs) -> Section:
    results = inputs.results
    level = f"{100 * (1 - results.alpha):.4g} %"
    items = [
        "Arms differ in nothing but their component: the same data, order, steps and schedule.",
        "The same test examples for every arm and seed; comparisons are paired by both.",
        f"Intervals: two-component t over seeds and examples, {level}. Few seeds make them wide; "
        "that is honest.",
        "Verdicts: Holm over the stages, then equivalence (two one-sided tests), then power. "
        f"Smallest effect of interest: {threshold(results.delta)}, taken from the parameters; it "
        "belongs fixed before the study.",
        "Intervals are those of single comparisons, verdicts are corrected: one may clear zero "
        "where the verdict does not.",
        "The total comes from the last arm against the first, never from combining stages.",
        *(readable(note) for note in results.notes),
    ]
    return Section("method", "How it was computed", [Bullets(items)])
