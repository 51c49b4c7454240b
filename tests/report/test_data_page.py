"""What the data are: every task's figures, and a sheet of its examples."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybrid_pipeline.kedro_ext.datasets import PngAtomicDataset
from hybrid_pipeline.report.data_page import (
    COLUMNS,
    contact_sheet,
    data_page,
    data_rows,
    data_summary,
)
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.handles import TaskHandle


def handle(**changes: Any) -> TaskHandle:
    values = {
        "task": "mine", "splits": {"train": 1200, "validation": 30, "test": 40}, "num_slots": 1,
        "classes": [f"c{i}" for i in range(15)], "primary_metric": "correct",
        "majority": {"correct": 0.25, "slots": 0.5},
        "chance_scores": {"correct": 1 / 15, "slots": 0},
        "remarks": ["class c3 has no test example"],
    }  # fmt: skip
    return TaskHandle.model_validate({**values, **changes})


def test_a_row_has_splits_classes_majority_and_chance_in_the_primary_metric() -> None:
    (row,) = data_rows([handle()])
    assert row[:5] == ("mine", "1,200", "30", "40", "1")
    assert row[5].endswith("c11 and 3 more")
    assert row[6:] == ("25.0 %", "6.7 %")
    (slots,) = data_rows([handle(primary_metric="slots")])
    assert slots[6] == "50.0 %"


def test_page_and_summary_hold_every_task() -> None:
    tasks = [handle(), handle(task="maze_4x4", classes=["off", "on"], remarks=[])]
    page, summary = data_page(tasks), data_summary(tasks)
    assert "![examples of each split in both noisy views](contact_sheets/maze_4x4.png)" in page
    assert "Remark: class c3 has no test example." in page
    assert page.count("Remark:") == 1
    header, _, first, second = summary.splitlines()
    assert header.split()[:4] == ["task", "training", "validation", "test"]
    assert first.index("30") == second.index("30")
    assert "off, on" in second


def test_what_was_read_and_dropped_is_said_and_every_class_is_counted() -> None:
    counts = {"train": {"a": 30, "b": 0}, "validation": {"a": 2, "b": 1}, "test": {"a": 4, "b": 5}}
    splits = {"train": 30, "validation": 3, "test": 9}
    own = handle(
        classes=["a", "b"], splits=splits, examples_read=48, repeats_dropped=6,
        slots_by_class=counts, remarks=[],
    )  # fmt: skip
    assert data_summary([own]).splitlines()[-1] == (
        "mine: 48 examples read or drawn, 6 dropped as repeats"
    )
    page = data_page([own])
    assert "48 examples read or drawn, 6 dropped as repeats." in page
    assert "| scored slots by class | a | b |" in page
    assert "| test | 4 | 5 |" in page
    drawn = data_summary([handle(splits=splits, examples_read=50, repeats_dropped=6)])
    assert drawn.endswith("6 dropped as repeats, 2 beyond what was asked for\n")
    many = handle(slots_by_class={"train": dict.fromkeys("abc", 1)})
    assert "scored slots" not in data_page([many])


class Data:
    """Ten rows in three splits; every view has one level."""

    def __init__(self) -> None:
        split = np.array(["train"] * 9 + ["validation"])
        self.table = TaskTable(
            name="mine", key="k", primary_metric="correct", classes=("a", "b"), grid_shape=None,
            example=np.arange(10), split=split, prompt=["x"] * 10, canonical=["x"] * 10,
            targets=np.zeros((10, 1), dtype=np.int64), scored=np.ones((10, 1), dtype=bool),
        )  # fmt: skip
        self.images = self

    def shard(self, name: str, number: int) -> np.ndarray:
        return np.zeros((10, 2, 8, 8), dtype=np.uint8)

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        levels = np.where(rows < 9, 224, 32).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(rows), 2, 8, 8))


def test_the_sheet_shows_each_split_and_is_the_same_every_time(tmp_path: Path) -> None:
    data: Any = Data()
    sheet = contact_sheet(data)
    assert sheet == contact_sheet(data)
    image = np.asarray(Image.open(BytesIO(sheet)))
    black = (image == 0).sum()  # full ink: 8 of 9 training examples, 2 views, 96 x 96 pixels
    assert black == COLUMNS * 2 * 96 * 96
    dataset = PngAtomicDataset(str(tmp_path / "sheets" / "mine.png"))
    dataset.save(sheet)
    assert dataset.load() == sheet
    assert base64.b64decode(dataset.preview()) == sheet
    assert "ImagePreview" in str(PngAtomicDataset.preview.__annotations__["return"])
