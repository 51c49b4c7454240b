"""Put a study's controls into docs/explanation/controls.md, between its markers.

kedro run --pipeline ablation --params ablation.controls=true
python benchmarks/update_controls.py
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

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
        f"| {row.arm} | {row.control} | {row.task} | {points(row.difference)} | {row.verdict} |"
        for row in sorted(results.controls, key=order)
    ]
    seeds = ", ".join(map(str, results.seeds))
    head = [
        f"Seeds {seeds}; {results.effects[0].num_examples} test examples in all tasks; 95 % "
        "intervals, paired over seeds and examples.",
        "",
        "| arm | control | task | arm minus control, points | verdict |",
        "|---|---|---|---:|---|",
    ]
    return "\n".join([*head, *rows])


def order(row: ControlRow) -> tuple[bool, str, str]:
    """The mean over tasks first, then by arm and control."""
    return (row.task != "mean", row.task, row.arm + row.control)


def main() -> None:
    """Rewrite the block."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default="data/07_model_output/study_results.json")
    parser.add_argument("--page", type=Path, default="docs/explanation/controls.md")
    options = parser.parse_args()
    results = StudyResults.from_json(options.results.read_text("utf-8"))
    page = options.page.read_text("utf-8")
    block = re.compile(f"{START}.*{END}", re.DOTALL)
    text = f"{START}\n{table(results)}\n{END}"
    options.page.write_text(block.sub(lambda _: text, page), "utf-8")


if __name__ == "__main__":
    main()
