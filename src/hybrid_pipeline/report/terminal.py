"""The table at the end of a run; needs neither Plotly nor great-tables."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hybrid_pipeline.report.arm_tables import accuracy_of, mean_accuracy
from hybrid_pipeline.report.sentences import length_summary, verdict_sentence
from hybrid_pipeline.report.wording import (
    NONE,
    TONE_MARKS,
    TONES,
    Tone,
    arm_label,
    difference_text,
    interval_text,
    main_task,
    percent,
    points,
    task_label,
)
from hybrid_pipeline.report.wording import minutes as minutes_text
from hybrid_pipeline.stats.results import MEAN_TASK, Effect, PlateauRow, StudyResults

Minutes = Mapping[str, Mapping[str, float]]
TONE_STYLES: dict[Tone, str] = {
    "gain": "bold blue",
    "loss": "bold red",
    "none": "default",
    "open": "dim",
    "blank": "dim",
}


def terminal_table(results: StudyResults, minutes: Minutes | None = None) -> Table:
    """The arms with accuracy, difference and verdict, as a rich table.

    Args:
        results: the analysis.
        minutes: arm -> task -> training minutes of a seed; adds a column with their sum.
    """
    task = main_task(results)
    table = Table(title=verdict_sentence(results)[0], title_justify="left", title_style="bold")
    table.caption = f"Accuracy and differences: {task_label(task)}; points with intervals."
    table.caption_justify = "left"
    table.add_column("Arm", no_wrap=True)
    for other in results.tasks if len(results.tasks) > 1 else ():
        table.add_column(task_label(other), justify="right")
    table.add_column("Accuracy", justify="right")
    table.add_column("Difference, points", justify="right")
    table.add_column("Verdict")
    if minutes is not None:
        table.add_column("Minutes per seed", justify="right")
    for index, arm in enumerate(results.arms):
        before = results.arms[index - 1] if index else None
        effect = results.effect(arm, before, task) if before else None
        row = _row(results, arm, task, effect, is_first=index == 0)
        if minutes is not None:
            row.append(minutes_text(sum(minutes[arm].values()) if arm in minutes else None))
        table.add_row(*row)
    total = results.total(task)
    if total is not None:
        blanks = ["" for _ in results.tasks] if len(results.tasks) > 1 else []
        table.add_section()
        difference = difference_text(total.difference)
        table.add_row("All stages", *blanks, "", difference, _verdict(total))
    return table


def _row(
    results: StudyResults, arm: str, task: str, effect: Effect | None, *, is_first: bool
) -> list[str | Text]:
    row = accuracy_of(results, arm, task)
    accuracy = percent(mean_accuracy(results, arm, task))
    if row is not None and row.interval is not None:
        accuracy += f" {interval_text(row.interval, signed=False)}"
    tasks = results.tasks if len(results.tasks) > 1 else ()
    others = [percent(mean_accuracy(results, arm, t)) for t in tasks]
    if effect is None:
        words = "reference" if is_first else "not measured"
        return [arm_label(arm), *others, accuracy, NONE, words]
    return [arm_label(arm), *others, accuracy, difference_text(effect.difference), _verdict(effect)]


def _verdict(effect: Effect) -> Text:
    tone = TONES[effect.verdict_code]
    return Text(f"{TONE_MARKS[tone]} {effect.verdict}", style=TONE_STYLES[tone])


def plateau_lines(results: StudyResults) -> list[str]:
    """Per arm what the last fifth of training added, on each task."""
    if results.plateau is None:
        return []
    lines = ["Last fifth of training, points of validation score (plateau: below 2):"]
    for arm in results.arms:
        rows = [r for r in results.plateau.rows if r.arm == arm and r.task != MEAN_TASK]
        shown = ", ".join(
            f"{task_label(r.task)} {points(r.last_fifth, 2)}{_of_plateau(r)}" for r in rows
        )
        lines += [f"  {arm_label(arm)}: {shown}"] if rows else []
    return lines


def _of_plateau(row: PlateauRow) -> str:
    if not row.reached:
        return " (still rising)"
    return " (within the noise)" if row.at_limit else ""


def terminal_text(
    results: StudyResults, minutes: Minutes | None = None, *, width: int = 120
) -> str:
    """The table as plain lines, for a log or a pipe."""
    buffer = StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False)
    console.print(terminal_table(results, minutes))
    for line in (*plateau_lines(results), *length_summary(results)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return buffer.getvalue()
