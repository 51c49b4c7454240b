"""The pages name the metrics that are logged, and no others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.tracker import NullTracker, install_tracker
from toy_study import HALTING, changed, named, toy_data, toy_spec

PAGES = Path(__file__).parents[1] / "docs/explanation"
COMPONENTS = ("halting", "fusion", "coconut", "n2n")


class Names(NullTracker):
    """Keeps the names that a run logs."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.names |= set(metrics)


def documented() -> set[str]:
    """Names under "Logged metrics"."""
    found = set[str]()
    for page in PAGES.glob("*.md"):
        _, _, section = page.read_text("utf-8").partition("## Logged metrics\n")
        found |= set(re.findall(r"`([a-z0-9_]+/[a-z0-9_]+)`", section.partition("\n## ")[0]))
    return found


def as_documented(name: str) -> str:
    """``train/halting/q_max`` is ``halting/q_max``: the room of a component's metric goes."""
    room, _, rest = name.partition("/")
    is_component = rest.partition("/")[0] in COMPONENTS
    return rest if room in ("train", "validation") and is_component else name


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the full model logs, under both kinds of exploration."""
    root = tmp_path_factory.mktemp("logged")
    data, tracker = toy_data(root / "data"), Names()
    install_tracker(tracker)
    try:
        for exploration in ("boltzmann", "epsilon"):
            spec = toy_spec(named("arm_5_coconut"))
            halting = changed(HALTING, exploration=exploration)
            run_cell(replace(spec, halting=halting), data, root / exploration)
    finally:
        install_tracker(None)
    return {as_documented(name) for name in tracker.names}


def test_what_is_documented_is_logged(logged: set[str]) -> None:
    assert documented() - logged == set()


def test_what_is_logged_is_documented(logged: set[str]) -> None:
    rooms = ("final/", "best/", "cost/")
    assert {n for n in logged if not n.startswith(rooms)} - documented() == set()
