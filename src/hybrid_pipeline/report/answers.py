"""Which test examples a report shows, read with their images and every arm's answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import zip_longest

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.report.gallery import NO_ANSWERS, RULE, ArmAnswer, ExampleCard, GalleryInputs
from hybrid_pipeline.storage import Workspace
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.preparation import open_task_data
from hybrid_pipeline.training.study import kept_file

NUM_EXAMPLES = 12
MAX_SIDE = 128  # pixels of a picture in the page

CellName = tuple[str, int, str]  # arm, seed, task


def choose_examples(
    scores: pd.DataFrame, arms: Sequence[str], metrics: Mapping[str, str], number: int
) -> list[tuple[str, int]]:
    """The (task, example) pairs on which the arms differ most, as many of each task.

    Args:
        scores: a row per arm, seed, task and example.
        arms: the chain.
        metrics: the primary metric of every task.
        number: how many in all; each task gets an equal share, at least one.

    Returns:
        The first of every task, then the second, and so on; within a task the largest variance over
        arms of the mean score over seeds first, ties by example.
    """
    by_task: list[list[tuple[str, int]]] = []
    for task, metric in metrics.items():
        rows = scores[(scores["task"] == task) & scores["arm"].isin(list(arms))]
        value = (
            rows["correct"] if metric == "correct" else rows["slots_correct"] / rows["slots_total"]
        )
        means = value.groupby([rows["example"], rows["arm"]]).mean().unstack()
        spread = means.var(axis=1, ddof=0).round(12)
        order = spread.sort_index().sort_values(ascending=False, kind="stable")
        share = max(1, number // len(metrics))
        by_task.append([(task, int(example)) for example in order.index[:share]])
    return [pick for rank in zip_longest(*by_task) for pick in rank if pick is not None]


def build_gallery(
    scores: pd.DataFrame,
    keys: Mapping[CellName, str],
    task_data: Mapping[str, TaskHandle],
    arms: Sequence[str],
    storage: StorageConfig,
    number: int = NUM_EXAMPLES,
) -> GalleryInputs:
    """Read the chosen examples, their images and the arms' answers.

    Args:
        scores: a row per arm, seed, task and example, of the longest training length.
        keys: of the finished cells of that length.
        task_data: the handle of every task.
        arms: the chain.
        storage: where the cells lie.
        number: how many examples in all.
    """
    answers = {name: _answers(key, storage) for name, key in keys.items()}
    if not any(a is not None for (arm, _, _), a in answers.items() if arm in arms):
        return GalleryInputs(sentence=NO_ANSWERS)
    present = set(scores["task"])
    metrics = {t: handle.primary_metric for t, handle in task_data.items() if t in present}
    opened: dict[str, TaskData] = {}
    cards = []
    for task, example in choose_examples(scores, arms, metrics, number):
        data = opened.setdefault(task, open_task_data(task_data[task], storage))
        card = _card(data, example)
        row = int(np.flatnonzero(data.table.example[data.table.rows("test")] == example)[0])
        given = [_answer(card, arm, answers, row) for arm in arms]
        cards.append(card.model_copy(update={"answers": tuple(a for a in given if a is not None)}))
    return GalleryInputs(sentence=RULE, cards=tuple(cards))


def _answers(key: str, storage: StorageConfig) -> NDArray[np.int16] | None:
    """Predicted classes [N, T, S] of a cell's test examples; ``None`` if it did not keep them."""
    if not (Workspace(storage.root).cells / key / "answers.npz").is_file():
        return None
    with np.load(kept_file(key, "answers.npz", storage)) as file:
        predicted: NDArray[np.int16] = file["predicted"]
    return predicted


def _card(data: TaskData, example: int) -> ExampleCard:
    table: TaskTable = data.table
    row = int(np.flatnonzero(table.example == example)[0])
    images = data.images.gather("views", np.array([row]))[0]
    return ExampleCard(
        task=table.name,
        example=example,
        prompt=table.prompt[row],
        grid=table.grid_shape,
        classes=table.classes,
        truth=tuple(int(v) for v in table.targets[row]),
        scored=tuple(bool(v) for v in table.scored[row]),
        views=tuple(png(image) for image in images),
    )


def _answer(
    card: ExampleCard,
    arm: str,
    answers: Mapping[CellName, NDArray[np.int16] | None],
    row: int,
) -> ArmAnswer | None:
    kept = {
        seed: given[row]
        for (name, seed, task), given in sorted(answers.items(), key=lambda item: item[0])
        if (name, task) == (arm, card.task) and given is not None
    }
    if not kept:
        return None
    shown = min(kept)
    first = kept[shown]
    steps = tuple(tuple(int(v) for v in step) for step in first)
    return ArmAnswer(
        arm=arm,
        predicted=steps[-1],
        num_right=sum(not any(card.wrong([int(v) for v in g[-1]])) for g in kept.values()),
        num_seeds=len(kept),
        steps=steps if len(steps) > 1 else (),
        seed=shown,
    )


def png(image: NDArray[np.uint8]) -> str:
    """A rendered view uint8 [H, W] as PNG in base64, at most ``MAX_SIDE`` wide.

    Equal views are equal texts.
    """
    picture = displayed(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def displayed(image: NDArray[np.uint8]) -> Image.Image:
    """A rendered view uint8 [H, W] with dark ink on light paper.

    The levels 72 to 192 span white to black: the contrast of clean ink, with room for noise.
    """
    spread = (image.astype(np.float32) - 72) * (255 / 120)
    return Image.fromarray(255 - np.clip(spread, 0, 255).astype(np.uint8))
