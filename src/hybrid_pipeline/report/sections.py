"""What the report says, in order: the first screen, then the evidence, folded."""

from __future__ import annotations

from collections.abc import Collection

from hybrid_pipeline.report.arm_tables import arms_table, effects_table
from hybrid_pipeline.report.audit_tables import (
    advisor_table,
    audit_table,
    claims_table,
    extra_table,
    gain_claims,
    length_table,
    missing_table,
    plateau_table,
    provenance_table,
)
from hybrid_pipeline.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Links,
    Paragraph,
    Section,
    Source,
)
from hybrid_pipeline.report.evidence_tables import (
    compound_table,
    controls_table,
    halting_table,
    has_figures,
    inner_life_table,
    power_table,
    shapley_table,
)
from hybrid_pipeline.report.first_screen import claims_sentence, gallery, page_one
from hybrid_pipeline.report.halting import halting_intervals
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.sentences import check_wording, length_sentences
from hybrid_pipeline.report.source import linked, source_parts
from hybrid_pipeline.report.wording import (
    ESTIMATES_SENTENCE,
    TELESCOPE_SENTENCE,
    TONES,
    main_task,
    plural,
    readable,
    task_label,
    threshold,
)

CAPTIONS = {
    "forest": (
        "Difference in accuracy with the two-component t interval; small dots above it are single "
        "seeds, dotted grey below it the "
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
        "added last, or averaged over all orders that the components allow (Shapley)."
    ),
    "learning_curves": (
        "Mean over seeds; the band reaches from the lowest to the highest seed. Scored on the "
        "validation split; choices are made here, the test split is scored once."
    ),
    "training_loss": (
        "Mean and range over seeds. Losses are comparable within an arm: arms with more "
        "supervision steps or an adapter add terms."
    ),
    "other_curves": "Subsets and controls; mean and range over seeds.",
    "gain_by_length": (
        "Gain of each stage over the arm before it, with its interval, at every training length; "
        "each length is a training of its own. Points are set apart a little."
    ),
    "halting_by_depth": (
        "Lines: every example answers after the same number of supervision steps. Star: each "
        "example where the DQN halts; its bar is the interval of its difference to full depth. "
        "Cross: a random depth. Diamond: the oracle, which reads the label; no policy can use it."
    ),
    "paths": (
        "Above: share of answer slots on which the paths of COCONUT give different answers. Below: "
        "entropy of their weights, the logarithm of their number when all count alike. Validation "
        "split; every line is one seed."
    ),
    "all_claims": (
        "Every claimed gain as it was stated. Blue: the measured gain and its interval. Crosses: "
        "claims refuted, or impossible above the ceiling; open circles: not ruled out, which is "
        "not a confirmation."
    ),
}


DATA_FILES = (
    ("scores.parquet", "every test example of every arm and seed"),
    ("effects.csv", "every comparison with its interval, p and verdict"),
    ("compound.json", "what the components gain together"),
    ("claims_audit.json", "every statement with its verdict"),
    ("advice.json", "what the learning curves suggest"),
    ("data.md", "the tasks: splits, classes, majority, a sheet of examples"),
    ("report.md", "this report without figures"),
)
PAGES = tuple(
    (f"../../../{path}", what)
    for path, what in (
        ("docs/README.md", "all pages of the documentation"),
        ("docs/reference/outputs.md", "every file and column"),
        ("docs/explanation/statistics.md", "intervals, verdicts and what they assume"),
        ("notebooks/read_a_study.ipynb", "this study in a notebook"),
    )
)


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
        gallery(inputs),
        _gains(inputs, charts),
        _lengths(inputs, charts),
        _tasks(inputs, charts),
        _compounding(inputs, charts),
        _controls(inputs),
        _inside(inputs, charts),
        _curves(inputs, charts),
        _stability(inputs, charts),
        _claims(inputs, charts),
        _failures(inputs),
        _method(inputs),
        _again(inputs),
        Section("provenance", "Provenance", [provenance_table(inputs)], folded=True),
    ]
    return [s for s in sections if not s.is_empty]


def _charts(charts: Collection[str], *names: str) -> list[Block]:
    return [Chart(name, CAPTIONS[name]) for name in names if name in charts]


def _gains(inputs: ReportInputs, charts: Collection[str]) -> Section:
    results = inputs.results
    effects = [e for e in results.effects if e.kind in ("stage", "total")]
    decided = sum(TONES[e.verdict_code] in ("gain", "loss", "none") for e in effects)
    gist = f"{plural(len(effects), 'comparison')} with intervals, {decided} decided"
    blocks: list[Block] = [
        *_charts(charts, "forest"),
        effects_table(results),
        arms_table(inputs, main_task(results)),
        power_table(results),
    ]
    return Section("gains", "What each stage adds and costs", blocks, folded=True, gist=gist)


def _lengths(inputs: ReportInputs, charts: Collection[str]) -> Section:
    results = inputs.results
    sentences = length_sentences(results)
    changed = [c for c in results.length_changes if c.task == main_task(results)]
    depends = sum(c.sign_changes or c.verdict_changes for c in changed)
    gist = f"{depends} of {plural(len(changed), 'stage')} change sign or verdict" if changed else ""
    blocks: list[Block] = [Bullets(sentences)] if sentences else []
    blocks += _charts(charts, "gain_by_length")
    if len(results.lengths) > 1:
        blocks.append(length_table(results))
    blocks.append(plateau_table(results))
    title = "Does the answer depend on how long one trains?"
    return Section("lengths", title, blocks, folded=True, gist=gist)


def _tasks(inputs: ReportInputs, charts: Collection[str]) -> Section:
    blocks: list[Block] = []
    described = [b for b in inputs.baselines if b.description]
    if described:
        blocks.append(Bullets([f"{task_label(b.task)}: {b.description}" for b in described]))
    blocks += _charts(charts, "heatmap")
    if len(inputs.results.tasks) > 1:
        blocks += [arms_table(inputs, t, f"arms-{t}") for t in inputs.results.tasks]
    gist = ", ".join(task_label(t) for t in inputs.results.tasks)
    return Section("tasks", "Task by task", blocks, folded=True, gist=gist)


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
    return Section("compounding", "Do the gains compound?", blocks, folded=True)


def _controls(inputs: ReportInputs) -> Section:
    table = controls_table(inputs.results)
    gist = "is it the component, or only more of something else?"
    return Section("controls", "Controls", [table], folded=True, gist=gist)


def _inside(inputs: ReportInputs, charts: Collection[str]) -> Section:
    blocks: list[Block] = [
        *_charts(charts, "halting_by_depth"),
        halting_table(inputs),
        halting_intervals(inputs),
        *_charts(charts, "paths"),
        inner_life_table(inputs),
    ]
    gist = "when it halts, what it mixes, whether its paths differ"
    return Section("inside", "Inside the model", blocks, folded=True, gist=gist)


def _curves(inputs: ReportInputs, charts: Collection[str]) -> Section:
    blocks: list[Block] = [
        *_charts(charts, "learning_curves", "training_loss", "other_curves"),
        advisor_table(inputs.advisor),
    ]
    notes = plural(len(inputs.advisor), "remark") if inputs.advisor else ""
    return Section("curves", "Learning curves", blocks, folded=True, gist=notes)


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
    blocks: list[Block] = [Bullets(stability.points), *drawn, *tables]
    return Section("stability", "Stability", blocks, folded=True)


def _claims(inputs: ReportInputs, charts: Collection[str]) -> Section:
    results = inputs.results
    if not results.claims:
        text = "No claims were given to confront with the measurement."
        return Section("claims", "Audit of the claims", [Paragraph(text)], folded=True)
    document = inputs.document
    parts = source_parts(document.text) if document is not None else ()
    tables = [claims_table(results)] if gain_claims(results) else []
    tables.append(audit_table(results))
    blocks: list[Block] = [Paragraph(ESTIMATES_SENTENCE), *_charts(charts, "all_claims")]
    blocks += [linked(table, ("Where", "Section"), parts) for table in tables]
    if document is not None:
        what = "the document that the statements are taken from, also below"
        blocks += [Links([(_in_project(document.path), what)]), Source(parts)]
    gist = claims_sentence(results).removesuffix(ESTIMATES_SENTENCE).strip()
    return Section("claims", "Audit of the claims", blocks, folded=True, gist=gist)


def _failures(inputs: ReportInputs) -> Section:
    table = missing_table(inputs)
    if not table.rows:
        text = "None: every arm, seed and task has scores."
        block = Paragraph(text, "good")
        return Section("failures", "Failures and missing cells", [block], folded=True, gist="none")
    text = "Nothing is imputed; a comparison that needs a missing cell leaves that seed out."
    blocks: list[Block] = [Paragraph(text), table]
    gist = plural(len(table.rows), "cell")
    return Section("failures", "Failures and missing cells", blocks, folded=True, gist=gist)


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
        *inputs.disclosures,
        *(readable(note) for note in results.notes),
    ]
    return Section("method", "How it was computed", [Bullets(items)], folded=True)


def _again(inputs: ReportInputs) -> Section:
    """The command, the data beside the page, and where to read on."""
    blocks: list[Block] = []
    if inputs.command:
        commit = inputs.provenance.get("code", {}).get("commit", "")
        checkout = f"git checkout {commit.rstrip('+')}\n" if commit not in ("", "unknown") else ""
        blocks.append(Code(checkout + inputs.command))
        if commit.endswith("+"):
            text = "The code differed from that commit: changes were not committed."
            blocks.append(Paragraph(text, "caution"))
    blocks += [Paragraph("The data of this page, beside it:"), Links(DATA_FILES)]
    blocks += [Paragraph("In the project's folder:"), Links(PAGES)]
    gist = "the command, the data, where to read on"
    return Section("again", "Run it again, take the data", blocks, folded=True, gist=gist)


def _in_project(path: str) -> str:
    """The address of a file of the project, as seen from a study's folder."""
    return f"../../../{path}"
