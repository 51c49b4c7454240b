"""Put a study's controls and its factorial figures into the pages, between their markers.

    kedro run --pipeline ablation --params ablation.controls=true
    kedro run --pipeline ablation --params ablation.design=factorial
    python benchmarks/update_pages.py

Controls go into docs/explanation/controls.md, a factorial design into ablation-design.md beside it.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hybrid_pipeline.report.latest import latest_folders
from hybrid_pipeline.report.wording import arm_label, component_label, p_value
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    ArmAccuracy,
    Compound,
    ControlRow,
    Interval,
    ShapleyRow,
    StudyResults,
)


def points(interval: Interval | None) -> str:
    """A difference in percentage points with its interval."""
    if interval is None:
        return "-"
    low, middle, high = (100 * v for v in (interval.low, interval.estimate, interval.high))
    return f"{middle:+z.1f} [{low:+z.1f}, {high:+z.1f}]"


def basis(results: StudyResults, p_of: str) -> str:
    """What every block opens with: seeds, examples, intervals."""
    seeds = ", ".join(map(str, results.seeds))
    examples = max(row.num_examples for row in results.accuracies)
    return textwrap.fill(
        f"Seeds {seeds}; {examples} test examples in all tasks; "
        f"{100 * (1 - results.alpha):g} % intervals of single comparisons, paired over seeds and "
        f"examples{p_of}.",
        100,
    )


def controls(results: StudyResults) -> str:
    """All controls of a study as Markdown, with seeds and examples."""
    rows = [
        f"| {row.arm} | {row.control} | {row.task} | {points(row.difference)} | "
        f"{p_value(row.p_adjusted)} | {row.verdict} |"
        for row in sorted(results.controls, key=order)
    ]
    return "\n".join(
        [
            basis(results, "; p is Holm-adjusted over the controls of each task"),
            "",
            "| arm | control | task | arm minus control, points | p Holm | verdict |",
            "|---|---|---|---:|---:|---|",
            *rows,
        ]
    )


def order(row: ControlRow) -> tuple[bool, str, str]:
    """The mean over tasks first, then by arm and control."""
    return (row.task != MEAN_TASK, row.task, row.arm + row.control)


def factorial(results: StudyResults) -> str:
    """Accuracy of every subset, Shapley shares and how gains combine, as Markdown."""
    tasks = list(results.tasks)
    found = {(row.arm, row.task): row for row in results.accuracies if row.primary}
    subsets = sorted(results.components.items(), key=lambda item: (len(item[1]), item[1]))
    subsets = [(arm, parts) for arm, parts in subsets if (arm, MEAN_TASK) in found]
    lines = [
        basis(results, ""),
        "",
        f"| components | {' | '.join(tasks)} | mean, % |",
        f"|---|{'---:|' * (len(tasks) + 1)}",
    ]
    for arm, parts in subsets:
        scores = " | ".join(f"{100 * found[arm, task].estimate:.1f}" for task in tasks)
        names = " + ".join(map(component_label, parts)) or arm_label(arm)
        lines.append(f"| {names} | {scores} | {accuracy(found[arm, MEAN_TASK])} |")
    lines += ["", "| component | task | Shapley share, points | added last, points |"]
    lines.append("|---|---|---:|---:|")
    lines += [shapley_line(row) for row in results.shapley if row.scale == "difference"]
    lines += ["", "| full model / baseline | measured | if ratios multiply | interaction (log) |"]
    lines.append("|---|---:|---:|---:|")
    lines += [compound_line(row) for row in results.compounds]
    return "\n".join(lines)


def accuracy(row: ArmAccuracy) -> str:
    """An accuracy in percent with its interval."""
    if row.interval is None:
        return f"{100 * row.estimate:.1f}"
    low, high = 100 * row.interval.low, 100 * row.interval.high
    return f"{100 * row.estimate:.1f} [{low:.1f}, {high:.1f}]"


def shapley_line(row: ShapleyRow) -> str:
    """A component's share beside its gain over the full model without it."""
    name, last = component_label(row.component), points(row.leave_one_out)
    return f"| {name} | {row.task} | {points(row.shapley)} | {last} |"


def compound_line(row: Compound) -> str:
    """The measured ratio, what isolated gains predict, and the interaction."""
    together = "-" if row.interaction is None else log_text(row.interaction)
    total = "-" if row.total is None else ratio_text(row.total)
    product = "-" if row.multiplicative is None else f"{row.multiplicative:.2f}"
    return f"| {row.task} | {total} | {product} | {together} |"


def ratio_text(interval: Interval) -> str:
    """A ratio with its interval."""
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def log_text(interval: Interval) -> str:
    """A log ratio with its interval and signs."""
    return f"{interval.estimate:+z.2f} [{interval.low:+z.2f}, {interval.high:+z.2f}]"


class Block(NamedTuple):
    """One page's block: its markers' name, page, text, and whether the study has it."""

    name: str
    page: str
    write: Callable[[StudyResults], str]
    has: Callable[[StudyResults], bool]


BLOCKS = (
    Block("controls", "controls.md", controls, lambda results: bool(results.controls)),
    Block("factorial", "ablation-design.md", factorial, lambda results: bool(results.shapley)),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the blocks that the study has; returns 0, or 2 with one sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="study_results.json; the latest if left out")
    parser.add_argument("--pages", type=Path, default=Path("docs/explanation"), help="their folder")
    options = parser.parse_args(arguments)
    try:
        path = options.results or latest_folders(Path("data"))[0] / "study_results.json"
        refused = rewrite(path, options.pages)
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        print(refused, file=sys.stderr)
    return 2 if refused else 0


def rewrite(path: Path, folder: Path) -> str:
    """Put the tables into the pages; returns why not, empty if it did."""
    if not path.is_file():
        return f"there is no study in {path}: run `kedro run --pipeline ablation` first."
    results = StudyResults.from_json(path.read_text("utf-8"))
    blocks = [block for block in BLOCKS if block.has(results)]
    if not blocks:
        return (
            f"the study in {path} has no controls and no factorial design: run it with --params "
            "ablation.controls=true or ablation.design=factorial; the pages stay as they are."
        )
    new = {folder / block.page: replaced(folder / block.page, block, results) for block in blocks}
    for page, text in new.items():
        if text is None:
            return f"{page} needs the start and end marker of its block once each, in this order."
    for page, text in new.items():
        page.write_text(text or "", "utf-8")
    return ""


def replaced(page: Path, block: Block, results: StudyResults) -> str | None:
    """The page's text with the block's new table; ``None`` without its two markers."""
    start, end = f"<!-- {block.name}:start -->", f"<!-- {block.name}:end -->"
    pattern = re.compile(f"{start}.*{end}", re.DOTALL)
    text = page.read_text("utf-8")
    if len(pattern.findall(text)) != 1:
        return None
    return pattern.sub(lambda _: f"{start}\n{block.write(results)}\n{end}", text)


if __name__ == "__main__":
    raise SystemExit(main())
