"""What data a study is made of: a table per study, and a sheet of examples per task."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from hybrid_pipeline.rendering.atlas import load_font
from hybrid_pipeline.report.answers import displayed
from hybrid_pipeline.report.wording import percent, task_label
from hybrid_pipeline.tasks.table import SPLITS
from hybrid_pipeline.text_tables import markdown_table, plain_table
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.loader import TaskData

COLUMNS = 8  # examples of each split
GAP, LINE, FONT_PX = 8, 18, 12
TILE = 96  # the least side of a picture, so that its caption has room
INK, PAPER, RIGHT = 27, 255, 90
MANY_CLASSES = 12
HEADER = ("task", "training", "validation", "test", "slots", "classes", "majority", "chance")


def data_rows(tasks: Sequence[TaskHandle]) -> list[tuple[str, ...]]:
    """One row per task: sizes of the splits, slots, classes, and what no learning reaches.

    Args:
        tasks: handles of the task tables.
    """
    rows = []
    for handle in tasks:
        classes = handle.classes
        shown = ", ".join(classes[:MANY_CLASSES])
        more = f" and {len(classes) - MANY_CLASSES:,} more" if len(classes) > MANY_CLASSES else ""
        rows.append(
            (
                task_label(handle.task),
                *(f"{handle.splits[split]:,}" for split in SPLITS),
                f"{handle.num_slots:,}",
                f"{shown}{more}",
                percent(handle.majority_score),
                percent(handle.chance_score),
            )
        )
    return rows


def data_page(tasks: Sequence[TaskHandle]) -> str:
    """The rows and the sheets of examples as Markdown."""
    parts = ["# The data of this study", "\n".join(markdown_table(HEADER, data_rows(tasks)))]
    parts.append("Majority and chance are in the task's primary metric, on the test split.")
    for handle in tasks:
        name = handle.task
        parts.append(f"## {task_label(name).capitalize()}")
        parts += [f"{line}." for line in filter(None, [read_and_dropped(handle)])]
        parts += [f"Remark: {remark}." for remark in handle.remarks]
        parts += class_table(handle)
        parts.append(f"![examples of each split in both noisy views](contact_sheets/{name}.png)")
    return "\n\n".join(parts) + "\n"


def data_summary(tasks: Sequence[TaskHandle]) -> str:
    """The rows as aligned lines for the terminal."""
    lines = plain_table(HEADER, data_rows(tasks))
    counts = [f"{task_label(t.task)}: {read_and_dropped(t)}" for t in tasks if t.examples_read]
    return "\n".join([*lines, *counts]) + "\n"


def read_and_dropped(task: TaskHandle) -> str:
    """How many examples were read or drawn, and where those went that are in no split."""
    read, repeats = task.examples_read, task.repeats_dropped
    if not read:
        return ""
    rest = read - repeats - sum(task.splits.values())
    more = f", {rest:,} beyond what was asked for" if rest else ""
    return f"{read:,} examples read or drawn, {repeats:,} dropped as repeats{more}"


def class_table(task: TaskHandle) -> list[str]:
    """Scored slots by class and split, as Markdown; nothing for more classes than fit a page."""
    counts = task.slots_by_class
    if not counts or len(task.classes) > MANY_CLASSES:
        return []
    rows = [(split, *(f"{n:,}" for n in counts[split].values())) for split in SPLITS]
    header = ("scored slots by class", *task.classes)
    return ["\n".join(markdown_table(header, rows))]


def contact_sheet(data: TaskData) -> bytes:
    """Examples of each split as a PNG: both noisy views, and the answer where it is one word.

    Args:
        data: of the task, with its rendered views.
    """
    table = data.table
    side = max(TILE, int(data.images.shard("views", 0).shape[-1]))
    tile_height = 2 * side + GAP // 2 + LINE
    width = COLUMNS * (side + GAP) + GAP
    sheet = Image.new("L", (width, len(SPLITS) * (tile_height + LINE + GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), load_font(FONT_PX)
    top = GAP
    for split in SPLITS:
        rows = table.rows(split)
        text = f"{split}: {len(rows):,} examples, noisy views 1 and 2"
        draw.text((GAP, top), text, INK, font)
        top += LINE
        views = data.images.gather("views", rows[:COLUMNS]) if len(rows) else np.zeros((0, 2, 1, 1))
        for column, (row, pair) in enumerate(zip(rows[:COLUMNS], views, strict=True)):
            left = GAP + column * (side + GAP)
            for index, view in enumerate(pair):
                picture = displayed(view).resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(picture, (left, top + index * (side + GAP // 2)))
            if table.num_slots == 1:
                name = table.classes[int(table.targets[row, 0])]
                room = max(1, int(side // font.getlength("0")))
                draw.text((left, top + 2 * side + GAP // 2), name[:room], RIGHT, font)
        top += tile_height + GAP
    buffer = BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
