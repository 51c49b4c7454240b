"""Nodes begin in the order of their blocks on several workers, and none begins after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from kedro_projects import make_project

RUNNER = "hybrid_pipeline.kedro_ext.dask.runner.DaskRunner"
CATALOG = """
"part_{place}":
  type: hybrid_pipeline.kedro_ext.datasets.JsonAtomicDataset
  filepath: data/part_{place}.json
"""
CELLS = """
import time
from pathlib import Path
from kedro.pipeline import Pipeline, node

BEGAN = Path(__file__).parents[2] / "data" / "began.txt"

def cell(place):
    def train():
        with BEGAN.open("a") as file:
            file.write(f"{place} ")
        if place == FAILS:
            raise ValueError("7 is not a digit of this puzzle")
        time.sleep(2.0 if place == 0 else 0.25)
        return {"place": place}
    return train

def register_pipelines():
    return {"__default__": Pipeline([
        node(cell(i), None, f"part_{i}", name=f"cell_{i}",
             tags=[f"block.{i // 2}", f"order.{i % 2}", *TAGS])
        for i in reversed(range(8))
    ])}
"""


def _began(folder: Path, params: str, *, code: int, tags: str = "()", fails: int = -1) -> list[int]:
    """The places of the cells as they began, after a run that ends with this code."""
    source = f"TAGS = {tags}\nFAILS = {fails}\n{CELLS}"
    project = make_project(folder, source, CATALOG)
    ended, output = project.run("--runner", RUNNER, "--runner-params", params)
    assert ended == code, output
    return [int(place) for place in project.out("began.txt").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "tags"), [("workers=2", "()"), ("workers=2,gpus=2", "('gpu',)")], ids=["cpu", "gpu"]
)
def test_cells_begin_in_the_order_of_their_blocks(tmp_path: Path, params: str, tags: str) -> None:
    """While one worker holds a long cell, the other takes all that follow, first blocks first."""
    places = _began(tmp_path, params, code=0, tags=tags)
    assert sorted(places[:2]) == [0, 1]  # at the same time
    assert places[2:] == [2, 3, 4, 5, 6, 7]


@pytest.mark.slow
def test_after_a_failure_no_waiting_cell_begins(tmp_path: Path) -> None:
    """Cell 0 is at work and ends; the free worker takes nothing more."""
    assert sorted(_began(tmp_path, "workers=2", code=1, fails=1)) == [0, 1]
    assert (tmp_path / "data/part_0.json").exists()
