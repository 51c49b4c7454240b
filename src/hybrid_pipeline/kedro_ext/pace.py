"""How long a run still takes: the pace of what it trained, carried over to other arms by FLOPs.

The arms differ fivefold in cost and come in random order, so an average over cells would jump
whenever the dearest arm begins. FLOPs of an update are known before it; seconds per FLOP are what a
machine shows, whichever arm it trains. What an earlier run trained costs nothing and says nothing
about the pace, whether a result is found or a cell goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hybrid_pipeline.kedro_ext.progress import CellName, Progress

MIN_SHARE = 0.03  # of a cell, before its pace says something
ROUNDING = 1e-9  # of sums of thirds
PRIOR_CELLS = 0.25  # what the estimate by FLOPs counts beside the cells of an arm that were seen


@dataclass(frozen=True)
class TimeLeft:
    """An estimate.

    Attributes:
        seconds: until the last cell; ``None`` if no pace is known yet, or if it may be too long as
            well as too short.
        is_least: whether it leaves out that an arm may be dearer than all that were seen.
        is_most: whether it leaves out that the results of more cells may be found.
    """

    seconds: float | None = None
    is_least: bool = False
    is_most: bool = False


@dataclass(frozen=True)
class _Seen:
    """Seconds that this run spent on an arm, and the full-length cells that they paid for."""

    seconds: float = 0.0
    cells: float = 0.0


def time_left(
    cells: Sequence[CellName],
    progress: Iterable[Progress],
    now_s: float,
    work: Mapping[str, float] | None = None,
    found: Mapping[str, float] | None = None,
) -> TimeLeft:
    """Seconds until the last cell of the run.

    Args:
        cells: of the run.
        progress: what their files say.
        now_s: seconds since the epoch.
        work: arm to FLOPs of an update. An arm that is not in it and has not begun is taken to cost
            as much as the dearest one seen, and the estimate is a least one.
        found: node to the share of its cell whose results lie there already; 0 for a node that is
            not in it. If that is not known and results were found, the estimate is a most one.
    """
    by_node = {p.cell.node: p for p in progress if p.cell.is_cell}
    trained = [p for p in by_node.values() if p.trained and p.state != "failed"]
    seen = _seen_by_arm(trained, now_s)
    if not seen:
        return TimeLeft()
    cost = _cost_of_cells(seen, work or {})
    dearest = max(cost.values())
    shares = [
        _share_left(by_node.get(cell.node), (found or {}).get(cell.node, 0)) for cell in cells
    ]
    pairs = list(zip(cells, shares, strict=True))
    is_least = bool({cell.arm for cell, share in pairs if share > 0} - set(cost))
    is_most = found is None and any(shares) and any(p.found > 0 for p in by_node.values())
    if is_least and is_most:
        return TimeLeft()
    remaining = [cost.get(cell.arm, dearest) * cell.length * share for cell, share in pairs]
    seconds = sum(remaining) / _most_at_once(trained, now_s)
    return TimeLeft(max(seconds, *remaining, 0.0), is_least, is_most)


def _seen_by_arm(trained: Iterable[Progress], now_s: float) -> dict[str, _Seen]:
    """Arms with a cell that is done, or far enough to tell."""
    found: dict[str, _Seen] = {}
    for p in trained:
        if p.gained < MIN_SHARE:
            continue
        end = p.updated_s if p.state == "done" else now_s
        before = found.get(p.cell.arm, _Seen())
        found[p.cell.arm] = _Seen(
            before.seconds + end - p.started_s, before.cells + p.gained * p.cell.length
        )
    return found


def _cost_of_cells(seen: Mapping[str, _Seen], work: Mapping[str, float]) -> dict[str, float]:
    """Seconds of a full-length cell by arm.

    Those that were seen by their own pace, mixed with the estimate by FLOPs while little of them
    was seen; the others only by FLOPs.
    """
    flops = sum(one.cells * work[arm] for arm, one in seen.items() if arm in work)
    seconds = sum(one.seconds for arm, one in seen.items() if arm in work)
    estimate = {arm: seconds / flops * value for arm, value in work.items()} if flops > 0 else {}
    cost = dict(estimate)
    for arm, one in seen.items():
        prior = PRIOR_CELLS if arm in estimate else 0.0
        cost[arm] = (one.seconds + prior * estimate.get(arm, 0.0)) / (one.cells + prior)
    return cost


def _most_at_once(trained: Sequence[Progress], now_s: float) -> int:
    """The most cells that trained at the same time: between two of them it does not fall."""
    changes: list[tuple[float, int]] = []
    for p in trained:
        end = now_s if p.state == "running" else p.updated_s
        changes += [(p.started_s, 1), (end, -1)]
    level = most = 0
    for _, change in sorted(changes):  # an end comes before a start of the same moment
        level += change
        most = max(most, level)
    return max(1, most)


def _share_left(progress: Progress | None, found: float) -> float:
    """What a cell still has to train: no result that is found by and by counts."""
    if progress is None:
        return 1.0 - found
    if progress.state != "running":
        return 0.0
    left = 1.0 - progress.share - max(0.0, found - progress.found)
    return left if left > ROUNDING else 0.0
