"""Write the measured table of a study into the README: ``python benchmarks/update_readme.py``.

Reads what the study wrote, checks that the files are of one study, and replaces what lies between
the two markers. Every figure comes with its interval, the seeds and what was compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybrid_pipeline.report.costs import arm_cost
from hybrid_pipeline.report.csv_back import read_written
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.latest import latest_folders
from hybrid_pipeline.report.sentences import length_summary
from hybrid_pipeline.report.study import compound_document, effects_frame
from hybrid_pipeline.report.wording import arm_label, component_label, task_label
from hybrid_pipeline.stats.lengths import study_lengths
from hybrid_pipeline.stats.results import MEAN_TASK, Effect, Interval, Plateau, StudyResults
from hybrid_pipeline.stats.scores import ScoreMatrix, at_length, check_scores, read_scores
from hybrid_pipeline.stats.verdicts import points
from hybrid_pipeline.storage import write_text_atomically

START, END = "<!-- results:start -->", "<!-- results:end -->"
REFERENCE = Path("benchmarks/reference/eight_seeds")
PLACEHOLDER = "run `make ablation`"
METRIC_WORDS = {"correct": "whole answer right", "slots": "share of answer slots right"}
NONE = "-"


class StudyMismatchError(ValueError):
    """The files are not of one study, or the README has no place for the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the block; returns 0, or 2 with one sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        block = results_block(*read_study(options.data))
        text = options.readme.read_text("utf-8")
        write_text_atomically(options.readme, replace_block(text, block))
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Put a study's measured table into the README.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the data folder")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    return parser


def read_study(data: Path) -> tuple[StudyResults, ReportInputs | None]:
    """The latest study under ``data``, once scores, effects and compound estimate agree.

    Raises:
        FileNotFoundError: where a study was not run.
        StudyMismatchError: naming the file that belongs to another study.
    """
    outputs, reporting = latest_folders(data)
    path = outputs / "study_results.json"
    if not path.is_file():
        raise FileNotFoundError(f"there is no study in {path}: run `make ablation` first.")
    results = StudyResults.from_json(path.read_text("utf-8"))
    _check_scores(results, check_scores(read_scores(_scores_of(reporting))))
    _check_effects(results, read_written(reporting / "effects.csv"))
    compound = json.loads((reporting / "compound.json").read_text("utf-8"))
    if compound != json.loads(json.dumps(compound_document(results.model_dump(mode="json")))):
        raise StudyMismatchError("compound.json is not of the study in study_results.json.")
    path = outputs / "report_inputs.json"
    if not path.is_file():
        return results, None
    inputs = ReportInputs.model_validate_json(path.read_text("utf-8"))
    if inputs.results != results:
        raise StudyMismatchError("report_inputs.json is not of the study in study_results.json.")
    return results, inputs


def _scores_of(reporting: Path) -> Path:
    """The study's score table; the kept one of a report that was made from kept files."""
    own = reporting / "scores.parquet"
    return own if own.is_file() else REFERENCE / own.name


def _check_scores(results: StudyResults, scores: pd.DataFrame) -> None:
    judged = at_length(scores, study_lengths(scores)[-1].length)
    matrix = ScoreMatrix.from_table(judged, dict(results.metrics))
    for row in results.accuracies:
        if row.task == MEAN_TASK or not row.primary:
            continue
        values = matrix.values.get((row.arm, row.task))
        if values is None or abs(float(np.nanmean(values)) - row.estimate) > 1e-9:
            raise StudyMismatchError(
                f"scores.parquet does not give the accuracy of {row.arm} on {row.task} "
                f"in study_results.json."
            )


def _check_effects(results: StudyResults, table: pd.DataFrame) -> None:
    expected = effects_frame(results.model_dump(mode="json"))
    names, numbers = ["kind", "arm", "reference", "task", "verdict"], ["estimate", "low", "high"]
    same = table[names].equals(expected[names].astype(table[names].dtypes))
    if not same or not np.allclose(
        table[numbers].astype(float), expected[numbers].astype(float), equal_nan=True
    ):
        raise StudyMismatchError("effects.csv is not of the study in study_results.json.")


def replace_block(readme: str, block: str) -> str:
    """The README with ``block`` between the markers.

    Raises:
        StudyMismatchError: unless there is exactly one pair of markers, in order.
    """
    if readme.count(START) != 1 or readme.count(END) != 1 or readme.find(START) > readme.find(END):
        raise StudyMismatchError(f"the README needs {START} and {END} once each, in this order.")
    before, rest = readme.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{block.strip()}\n{END}{after}"


def results_block(results: StudyResults, inputs: ReportInputs | None) -> str:
    """The measured table with what a reader must know to judge it, as Markdown."""
    parts = [_what_was_run(results, inputs), _arms_table(results, inputs), _total(results)]
    if results.controls:
        parts.append(_controls_table(results))
    if results.length_changes:
        parts.append(_by_length(results))
    if results.plateau is not None:
        parts.append(_plateau(results.plateau))
    parts.append("\n".join(f"- {line}" for line in _facts(results, inputs)))
    return "\n\n".join(parts)


def _what_was_run(results: StudyResults, inputs: ReportInputs | None) -> str:
    examples = {
        a.task: a.num_examples for a in results.accuracies if a.primary and a.task != MEAN_TASK
    }
    tasks = ", ".join(
        f"{task_label(t)} ({METRIC_WORDS[results.metrics[t]]}, {n:,} test examples)"
        for t, n in examples.items()
    )
    updates = (inputs.provenance.get("updates per cell") if inputs is not None else None) or []
    length = f" {' to '.join(f'{u:,}' for u in updates)} updates per model." if updates else ""
    return (
        f"{len(results.arms)} arms, seeds {_listed(results.seeds)}; {tasks}.{length} "
        f"Brackets are {_level(results):.3g} % intervals over seeds and examples (two-component t)."
    )


def _arms_table(results: StudyResults, inputs: ReportInputs | None) -> str:
    tasks = [*results.tasks, *([MEAN_TASK] if len(results.tasks) > 1 else [])]
    main = tasks[-1]
    header = ["arm", *(f"{task_label(t)}, %" for t in tasks), "MFLOP per example"]
    header += ["against the arm before, points", "verdict"]
    rows = []
    for position, arm in enumerate(results.arms):
        cells = [_accuracy(results, arm, task) for task in tasks]
        stage = results.effect(arm, results.arms[position - 1], main) if position else None
        verdict = "reference" if not position else _short(stage)
        rows.append([arm_label(arm), *cells, _cost(inputs, arm), _points(stage), verdict])
    return _table(header, rows)


def _short(stage: Effect | None) -> str:
    """A verdict without its reasons; what an underpowered comparison could have found."""
    if stage is None:
        return NONE
    if stage.verdict_code != "underpowered" or stage.mde80 is None:
        return stage.verdict
    return f"underpowered (finds {points(stage.mde80)} or more)"


def _cost(inputs: ReportInputs | None, arm: str) -> str:
    flops = None if inputs is None else arm_cost(inputs, arm).flops
    return NONE if flops is None else f"{flops / 1e6:,.0f}"


def _accuracy(results: StudyResults, arm: str, task: str) -> str:
    rows = [a for a in results.accuracies if (a.arm, a.task) == (arm, task)]
    row = next((a for a in rows if a.primary), rows[0] if rows else None)
    if row is None:
        return NONE
    shown = f"{100 * row.estimate:.1f}"
    return shown if row.interval is None else f"{shown} {_span(row.interval, signed=False)}"


def _points(effect: Effect | None) -> str:
    if effect is None or effect.difference is None:
        return NONE
    return f"{_number(effect.difference.estimate, signed=True)} {_span(effect.difference)}"


def _span(interval: Interval, *, signed: bool = True) -> str:
    return f"[{_number(interval.low, signed)}, {_number(interval.high, signed)}]"


def _number(value: float, signed: bool) -> str:
    return f"{100 * value:+z.1f}" if signed else f"{100 * value:.1f}"


def _total(results: StudyResults) -> str:
    lines = []
    for task in (*results.tasks, *([MEAN_TASK] if len(results.tasks) > 1 else [])):
        total = results.total(task)
        if total is None:
            continue
        if total.difference is None:
            lines.append(f"- {task_label(task)}: {total.verdict}.")
            continue
        compound = results.compound(task)
        ratio = compound.total if compound is not None else None
        times = "" if ratio is None else (
            f"; ratio {ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        )  # fmt: skip
        lines.append(f"- {task_label(task)}: {_points(total)} points{times}; {total.verdict}.")
    return "**All components against the baseline**, measured directly:\n\n" + "\n".join(lines)


def _controls_table(results: StudyResults) -> str:
    rows = [
        [
            arm_label(c.arm),
            arm_label(c.control),
            task_label(c.task),
            NONE
            if c.difference is None
            else f"{_number(c.difference.estimate, signed=True)} {_span(c.difference)}",
            c.verdict,
        ]
        for c in results.controls
        if c.task == (MEAN_TASK if len(results.tasks) > 1 else results.tasks[0])
    ]
    return _table(["arm", "its control", "task", "arm minus control, points", "verdict"], rows)


def _by_length(results: StudyResults) -> str:
    """The stages whose verdict changes with the length of training, and the rest in one line."""
    lines = [f"- {sentence}" for sentence in length_summary(results)]
    return "**Does the answer depend on how long one trains?**\n\n" + "\n".join(lines)


def _plateau(plateau: Plateau) -> str:
    """What the last fifth of training added to every arm's validation score."""
    tasks = list(dict.fromkeys(row.task for row in plateau.rows))
    added = ", ".join(
        f"{arm_label(row.arm)} {_number(row.last_fifth, signed=True)}"
        for row in plateau.rows
        if row.task == tasks[0]
    )
    verdict = "The plateau is reached" if plateau.reached else "The plateau is not reached"
    over = "mean over tasks and seeds" if tasks[0] == MEAN_TASK else "mean over seeds"
    return (
        f"**Trained long enough?** {verdict}: the last fifth of training added, in points of "
        f"validation score ({over}): {added}."
    )


def _facts(results: StudyResults, inputs: ReportInputs | None) -> list[str]:
    facts = [
        f"Verdicts: Holm over the stages, alpha {results.alpha:g}, smallest effect of interest "
        f"{100 * results.delta:g} point{'' if results.delta == 0.01 else 's'} (both set in conf). "
        "The intervals are those of single comparisons: one may clear zero where the "
        "verdict, corrected for several, does not."
    ]
    facts += [f"Missing: {m.arm}, seed {m.seed}, {m.task} ({m.reason})." for m in results.missing]
    facts += list(results.notes)
    facts += _claims(results)
    if inputs is None:
        return facts
    for b in inputs.baselines:
        facts.append(
            f"Without learning on {task_label(b.task)}: majority {_percent(b.majority)}, "
            f"chance {_percent(b.chance)}."
        )
    if inputs.tower is not None:
        facts.append(inputs.tower.said)
    facts += list(inputs.disclosures)
    facts.append(_provenance(inputs.provenance))
    return facts


def _claims(results: StudyResults) -> list[str]:
    gains = [c for c in results.claims if c.component]
    if not gains:
        return []
    verdicts = pd.Series([c.verdict_code.replace("_", " ") for c in gains]).value_counts()
    counted = ", ".join(f"{n} {words}" for words, n in sorted(verdicts.items()))
    parts = sorted({component_label(c.component) for c in gains if c.component != "total"})
    return [
        f"Of {len(gains)} claimed gains (for {', '.join([*parts, 'the whole'])}): {counted}. "
        "Refuted means outside this study's intervals: its tower, tasks and length. Claims are "
        "estimates, not measurements; the report's audit has each."
    ]


def _provenance(provenance: Mapping[str, Any]) -> str:
    code = provenance.get("code", {})
    versions = provenance.get("versions", {})
    shown = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "torch") if name in versions
    )
    hardware = provenance.get("report written on", {})
    where = f"; {hardware['cores']} {hardware['machine']} cores" if hardware else ""
    return f"Commit {code.get('commit', 'unknown')}, {shown or 'versions unknown'}{where}."


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _level(results: StudyResults) -> float:
    return 100 * (1 - results.alpha)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
