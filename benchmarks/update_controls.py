"""Put a study's controls into docs/explanation/controls.md, between its markers.

kedro run --pipeline ablation --params ablation.controls=true
python benchmarks/update_controls.py
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from hybrid_pipeline.report.latest import latest_folders
from hybrid_pipeline.stats.results import ControlRow, Interval, StudyResults

START, END = "<!-- controls:start -->", "<!-- controls:end -->"


def points(interval: Interval | None) -> str:
    """A difference in percentage points with its interval."""
    if interval is None:
        return "-"
    low, middle, high = (100 * v for v in (interval.low, interval.estimate, interval.high))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


def table(results: StudyResults) -> str:
    """All controls of a study as Markdown, with seeds and examples."""
    rows = [
        f"| {row.arm} | {row.control} | {row.task} | {points(row.difference)} | {p_text(row)} | "
        f"{row.verdict} |"
        for row in sorted(results.controls, key=order)
    ]
    seeds = ", ".join(map(str, results.seeds))
    said = (
        f"Seeds {seeds}; {num_examples(results)} test examples in all tasks; "
        f"{100 * (1 - results.alpha):g} % intervals of single comparisons, paired over seeds and "
        "examples; p is Holm-adjusted over the controls of each task."
    )
    head = [
        textwrap.fill(said, 100),
        "",
        "| arm | control | task | arm minus control, points | p Holm | verdict |",
        "|---|---|---|---:|---:|---|",
    ]
    return "\n".join([*head, *rows])


def p_text(row: ControlRow) -> str:
    """The adjusted p with two digits."""
    return "-" if row.p_adjusted is None else f"{row.p_adjusted:.2g}"


def num_examples(results: StudyResults) -> int:
    """Test examples of all tasks."""
    return max(row.num_examples for row in results.accuracies)


def order(row: ControlRow) -> tuple[bool, str, str]:
    """The mean over tasks first, then by arm and control."""
    return (row.task != "mean", row.task, row.arm + row.control)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the block; returns 0, or 2 with one sentence on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="study_results.json; the latest if left out")
    parser.add_argument("--page", type=Path, default="docs/explanation/controls.md")
    options = parser.parse_args(arguments)
    try:
        path = options.results or latest_folders(Path("data"))[0] / "study_results.json"
        refused = rewrite(path, options.page)
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        print(refused, file=sys.stderr)
    return 2 if refused else 0


def rewrite(path: Path, page: Path) -> str:
    """Put the table into the page; returns why not, empty where it did."""
    if not path.is_file():
        return f"there is no study in {path}: run `kedro run --pipeline ablation` first."
    results = StudyResults.from_json(path.read_text("utf-8"))
    if not results.controls:
        return (
            f"the study in {path} has no controls: run it with --params ablation.controls=true; "
            f"{page} stays as it is."
        )
    text = page.read_text("utf-8")
    block = re.compile(f"{START}.*{END}", re.DOTALL)
    if len(block.findall(text)) != 1:
        return f"{page} needs {START} and {END} once each, in this order."
    new = f"{START}\n{table(results)}\n{END}"
    page.write_text(block.sub(lambda _: new, text), "utf-8")
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
