"""The live display of a run: cells done, accuracy so far, time left.

Reads the progress files, so that it shows the same with every runner. On a terminal a table is
redrawn; elsewhere one plain line is written now and then.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hybrid_pipeline.kedro_ext.progress import CellName, Progress, read_progress

REFRESH_S = 1.0
PLAIN_INTERVAL_S = 30.0
SIGN_OF_LIFE_S = 600.0  # without news
MIN_SHARE = 0.03  # of a cell, before its pace says something


@dataclass(frozen=True)
class ArmLine:
    """One arm in the display.

    Attributes:
        arm: its name.
        num_cells: cells of the arm in this run.
        num_done: of these, how many have ended.
        scores: mean accuracy so far by task, over the cells that have one.
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
        seconds_left: estimate, ``None`` where nothing is known yet.
        is_least: whether an arm has not begun, whose pace may be slower than all that were seen.
    """

    arms: list[ArmLine] = field(default_factory=list)
    running: list[tuple[str, float]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    num_cells: int = 0
    num_done: int = 0
    num_not_needed: int = 0
    seconds_left: float | None = None
    is_least: bool = False


def overview(cells: Sequence[CellName], progress: Iterable[Progress], now_s: float) -> Overview:
    """Sum up the progress files.

    Args:
        cells: the cells of the run.
        progress: what the files say.
        now_s: seconds since the epoch.
    """
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
        seconds_left=seconds_left(cells, by_node, now_s),
        is_least=_has_unknown_pace(cells, by_node, now_s),
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
    means = {t: statistics.fmean(p.scores[t] for p in judged if t in p.scores) for t in tasks}
    num_cells = sum(cell.arm == arm for cell in cells)
    return ArmLine(arm, num_cells, sum(_is_done(p) for p in mine), means)


def seconds_left(
    cells: Sequence[CellName], by_node: dict[str, Progress], now_s: float
) -> float | None:
    """Seconds until the last cell, from the pace of each arm's cells so far.

    An arm that has not begun is assumed to cost as much as the dearest one seen: later arms have
    more components.
    """
    cost = _cost_by_arm(by_node.values(), now_s)
    if not cost:
        return None
    dearest = max(cost.values())
    remaining = [_remaining(cell, by_node.get(cell.node), cost, dearest) for cell in cells]
    num_running = sum(p.state == "running" and p.cell.is_cell for p in by_node.values())
    return max(sum(remaining) / max(1, num_running), max(remaining, default=0.0))


def _has_unknown_pace(
    cells: Sequence[CellName], by_node: dict[str, Progress], now_s: float
) -> bool:
    """Whether a cell is left of an arm that has not shown its pace: later arms are dearer."""
    cost = _cost_by_arm(by_node.values(), now_s)
    left = {c.arm for c in cells if c.node not in by_node or by_node[c.node].state == "running"}
    return bool(left - set(cost))


def _cost_by_arm(progress: Iterable[Progress], now_s: float) -> dict[str, float]:
    costs: dict[str, list[float]] = {}
    for p in progress:
        if not (p.cell.is_cell and p.trained):
            continue
        whole = costs.setdefault(p.cell.arm, [])  # seconds at full length
        if p.state == "done":
            whole.append((p.updated_s - p.started_s) / p.cell.length)
        elif p.state == "running" and p.share >= MIN_SHARE:
            whole.append((now_s - p.started_s) / p.share / p.cell.length)
    return {arm: statistics.fmean(values) for arm, values in costs.items() if values}


def _remaining(
    cell: CellName, progress: Progress | None, cost: dict[str, float], dearest: float
) -> float:
    if progress is not None and progress.state != "running":
        return 0.0
    share = progress.share if progress is not None else 0.0
    return cost.get(cell.arm, dearest) * cell.length * (1.0 - share)


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
    if not view.seconds_left:
        return ""
    return f"{'more than' if view.is_least else 'about'} {duration(view.seconds_left)} left"


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
    left = f", {_left(view)}" if view.seconds_left else ""
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
    """

    def __init__(
        self, folder: Path, cells: Sequence[CellName], console: Console | None = None
    ) -> None:
        self._folder = folder
        self._cells = cells
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

    def _view(self) -> Overview:
        return overview(self._cells, read_progress(self._folder), time.time())

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
