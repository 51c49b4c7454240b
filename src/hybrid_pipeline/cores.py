"""How many processor cores this process may use, which is what everything that counts cores asks.

A machine's own number is too large if a job has a part of it: ``taskset`` and batch systems
narrow the affinity, containers and Slurm's or Kubernetes' limits set a CPU quota of the cgroup
(Linux, "Control Group v2", cpu.max; version 1: cpu.cfs_quota_us over cpu.cfs_period_us).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def num_cores() -> int:
    """Whole cores that this process may use at a time, at least one.

    The smaller of its affinity and of its cgroup's quota, rounded down.
    """
    quota = cpu_quota()
    allowed = _affinity()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        return os.cpu_count() or 1


def cpu_quota(own: Path = OWN_CGROUPS, mount: Path = CGROUPS) -> float | None:
    """Cores' worth of time that the cgroup and those above it leave; ``None`` without a limit.

    Args:
        own: the file that names the cgroups of this process.
        mount: where they are mounted.
    """
    try:
        lines = own.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    quotas = [q for folder in _folders(lines, mount) if (q := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _folders(lines: list[str], mount: Path) -> Iterator[Path]:
    """The cgroup's folders and all above; inside a container the own path may not exist there."""
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            roots = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [mount / controllers, mount / "cpu"]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (inner, *inner.parents))


def _quota_of(folder: Path) -> float | None:
    two = _numbers(folder / "cpu.max")
    one = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
    for numbers in (two, one):
        if len(numbers) == 2 and min(numbers) > 0:
            return numbers[0] / numbers[1]
    return None


def _numbers(path: Path) -> list[float]:
    """The numbers of a file; empty if it is not there or says ``max``."""
    try:
        return [float(word) for word in path.read_text("utf-8").split()]
    except (OSError, ValueError):
        return []
