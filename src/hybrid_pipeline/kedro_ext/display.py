"""The live display of a run: cells done, accuracy so far, time left.

Reads the progress files, so that it shows the same with every runner. On a terminal a table is
redrawn; elsewhere one plain line is written now and then.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hybrid_pipeline.kedro_ext.pace import TimeLeft, time_left
from hybrid_pipeline.kedro_ext.progress import CellName, Progress, read_progress
from hybrid_pipeline.kedro_ext.work import Work, WorkProcess

REFRESH_S = 1.0
PLAIN_INTERVAL_S = 30.0
SIGN_OF_LIFE_S = 600.0  # without news


@dataclass(frozen=True)
class ArmLine:
    """One arm in the display.

    Attributes:
        arm: its name.
        num_cells: cells of the arm in this run.
        num_done: of these, how many have ended.
        scores: mean accuracy by task, over the cells that have ended; while none has, so far.
    """

    arm: str
    num_cells: int
    num_done: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Overview:
    """What is shown.

    Attributes:
        arms: in the order of their names.
        running: titles and shares of the nodes that are running.
        messages: what nodes had to say, in the order in which they ended.
        num_cells: cells in all.
        num_done: cells that have ended.
        num_not_needed: cells that a budget or a look made needless; not among those done.
        left: how long the cells that are left will take.
    """

    arms: list[ArmLine] = field(default_factory=list)
    running: list[tuple[str, float]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    num_cells: int = 0
    num_done: int = 0
    num_not_needed: int = 0
    left: TimeLeft = field(default_factory=TimeLeft)


def overview(
    cells: Sequence[CellName],
    progress: Iterable[Progress],
    now_s: float,
    work: Work | None = None,
) -> Overview:
    """Sum up the progress files.

    Args:
        cells: the cells of the run.
        progress: what the files say.
        now_s: seconds since the epoch.
        work: what the cells have before them, as far as it is known.
    """
    work = work or Work()
    by_node = {item.cell.node: item for item in progress}
    known = [by_node[cell.node] for cell in cells if cell.node in by_node]
    arms = sorted({cell.arm for cell in cells})
    return Overview(
        arms=[_arm_line(arm, cells, known) for arm in arms],
        running=[(_title(p), p.share) for p in by_node.values() if p.state == "running"],
        messages=_messages(by_node.values()),
        num_cells=len(cells),
        num_done=sum(_is_done(p) for p in known),
        num_not_needed=sum(p.not_needed for p in known),
        left=time_left(cells, by_node.values(), now_s, work.flops, work.found),
    )


def _is_done(progress: Progress) -> bool:
    return progress.state == "done" and not progress.not_needed


def _messages(progress: Iterable[Progress]) -> list[str]:
    """What nodes said, each sentence once."""
    ended = sorted(progress, key=lambda p: p.updated_s)
    return list(dict.fromkeys(p.message for p in ended if p.message))


def _title(progress: Progress) -> str:
    note = f" ({progress.note})" if progress.note else ""
    return f"{progress.cell.title}{note}"


def _arm_line(arm: str, cells: Sequence[CellName], known: Sequence[Progress]) -> ArmLine:
    mine = [p for p in known if p.cell.arm == arm]
    longest = max(cell.length for cell in cells)
    judged = [p for p in mine if p.cell.length == longest]
    tasks = sorted({task for p in judged for task in p.scores})
    means = {task: _mean_score(task, judged) for task in tasks}
    num_cells = sum(cell.arm == arm for cell in cells)
    return ArmLine(arm, num_cells, sum(_is_done(p) for p in mine), means)


def _mean_score(task: str, cells: Sequence[Progress]) -> float:
    """Over the cells that have ended; over those that still train only while none has.

    A mean of both would fall whenever another seed begins.
    """
    ended = [p.scores[task] for p in cells if p.state == "done" and task in p.scores]
    return statistics.fmean(ended or [p.scores[task] for p in cells if task in p.scores])


def plain_line(view: Overview) -> str:
    """One line for logs."""
    scores = "; ".join(f"{line.arm} {_scores(line)}" for line in view.arms if line.scores)
    running = ", ".join(f"{title} {share:.0%}" for title, share in view.running)
    parts = [
        _counted(view) if view.num_cells else "",
        f"accuracy so far: {scores}" if scores else "",
        _left(view),
        f"running: {running}" if running else "",
    ]
    return " | ".join(part for part in parts if part)


def _counted(view: Overview) -> str:
    needless = f", {view.num_not_needed} not needed" if view.num_not_needed else ""
    return f"{view.num_done} of {view.num_cells} cells done{needless}"


def _left(view: Overview) -> str:
    if not view.left.seconds:
        return ""
    bound = "more than" if view.left.is_least else "at most" if view.left.is_most else "about"
    return f"{bound} {duration(view.left.seconds)} left"


def _scores(line: ArmLine) -> str:
    return " ".join(f"{task} {percent(score)}".strip() for task, score in line.scores.items())


def percent(score: float) -> str:
    """An accuracy in the unit of the table that ends a study."""
    return f"{100 * score:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as ``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def table(view: Overview, elapsed_s: float) -> Group:
    """The display on a terminal."""
    tasks = sorted({task for line in view.arms for task in line.scores})
    arms = Table(box=None, pad_edge=False)
    arms.add_column("arm")
    arms.add_column("cells", justify="right")
    for task in tasks:
        arms.add_column(task or "accuracy", justify="right")
    for line in view.arms:
        scores = [percent(line.scores[task]) if task in line.scores else "" for task in tasks]
        arms.add_row(line.arm, f"{line.num_done}/{line.num_cells}", *scores)
    left = f", {_left(view)}" if view.left.seconds else ""
    head = f"{_counted(view)}, {duration(elapsed_s)} so far{left}"
    running = [Text(f"  {title}  {share:.0%}", style="dim") for title, share in view.running]
    if not view.num_cells:
        return Group(*running)
    return Group(Text(head, style="bold"), arms, *running)


def _news(view: Overview) -> object:
    """What a new line is printed for; shares and times change at every look."""
    return view.num_done, view.num_not_needed, view.arms, [title for title, _ in view.running]


class RunDisplay:
    """Shows a run from a thread of its own, until ``stop``.

    Args:
        folder: of the progress files.
        cells: the cells of the run.
        console: where to show; standard error by default, so that output can be piped.
        work: tells what the cells have before them, once the first has read its data; no time left
            is shown before.
    """

    def __init__(
        self,
        folder: Path,
        cells: Sequence[CellName],
        console: Console | None = None,
        work: WorkProcess | None = None,
    ) -> None:
        self._folder = folder
        self._cells = cells
        self._work = work
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._ended = threading.Event()
        self._started_s = time.time()
        self._last_news: object = None
        self._last_line_s = self._started_s
        self._num_said = 0
        self._thread = threading.Thread(target=self._show, name="display", daemon=True)

    def start(self) -> None:
        """Begin to show."""
        self._thread.start()

    def stop(self) -> None:
        """Show the last state and end."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        if self._work is not None:
            self._work.stop()

    def _view(self) -> Overview:
        progress = read_progress(self._folder)
        if self._work is None:
            return overview(self._cells, progress, time.time())
        shapes = next((p.shapes for p in progress if p.shapes), None)
        work = self._work.ask(shapes) if shapes is not None else None
        view = overview(self._cells, progress, time.time(), work)
        return replace(view, left=TimeLeft()) if work is None else view

    def _show(self) -> None:
        if self._console.is_terminal:
            self._show_table()
        else:
            self._show_lines()

    def _show_table(self) -> None:
        with Live(console=self._console, auto_refresh=False, transient=False) as live:
            while not self._ended.wait(REFRESH_S):
                self._refresh(live)
            self._refresh(live)

    def _refresh(self, live: Live) -> None:
        view = self._view()
        self._say(view)
        live.update(table(view, time.time() - self._started_s), refresh=True)

    def _say(self, view: Overview) -> None:
        """Print the messages that are new; on a terminal they stay above the table."""
        for message in view.messages[self._num_said :]:
            self._console.print(message, markup=False, highlight=False)
        self._num_said = len(view.messages)

    def _show_lines(self) -> None:
        while not self._ended.wait(PLAIN_INTERVAL_S):
            self._print_line()
        self._print_line()

    def _print_line(self) -> None:
        """Print what is new: a cell, a score, a node that began; else a sign of life at times."""
        view = self._view()
        self._say(view)
        line, news = plain_line(view), _news(view)
        is_silent = time.time() - self._last_line_s < SIGN_OF_LIFE_S
        if line and (news != self._last_news or not is_silent):
            self._console.print(f"[{time.strftime('%H:%M:%S')}] {line}", markup=False)
            self._last_news, self._last_line_s = news, time.time()
