"""Test examples with every arm's answer, as a report shows them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Self

from pydantic import model_validator

from hybrid_pipeline.config import StrictConfig

RULE = (
    "Shown are the test examples on which the arms differ most: the largest variance over arms of "
    "the mean score over seeds, ties by example number. They are not typical. Answers are those of "
    "the first seed at full depth."
)
NO_ANSWERS = (
    "No gallery: these cells were trained by a version that did not keep its answers. Train them "
    "again to see examples here."
)


class ArmAnswer(StrictConfig):
    """What one arm answered to one example.

    Attributes:
        predicted: class of each slot at full depth, by the seed that is shown.
        num_right: seeds whose whole answer is right; ``num_seeds``: of how many.
        steps: the same after every supervision step, for arms with more than one.
        seed: that is shown; ``None`` in a study kept before it was named: its first.
    """

    arm: str
    predicted: tuple[int, ...]
    num_right: int
    num_seeds: int
    steps: tuple[tuple[int, ...], ...] = ()
    seed: int | None = None


class ExampleCard(StrictConfig):
    """One test example: its prompt, how it was seen and what was answered.

    Attributes:
        prompt: text, or a grid as JSON.
        grid: (rows, columns) of the slots; ``None`` for text.
        classes: names of the classes of a slot.
        truth: class of each slot; ``scored``: whether it counts.
        views: the two noisy images, PNG in base64.
        answers: of every arm of the chain that has some.
    """

    task: str
    example: int
    prompt: str
    grid: tuple[int, int] | None
    classes: tuple[str, ...]
    truth: tuple[int, ...]
    scored: tuple[bool, ...]
    views: tuple[str, ...] = ()
    answers: tuple[ArmAnswer, ...] = ()

    @model_validator(mode="after")
    def _views_are_png(self) -> Self:
        for view in self.views:
            try:
                head = base64.b64decode(view, validate=True)[:8]
            except binascii.Error as error:
                raise ValueError(f"an image of {self.task!r} is not base64") from error
            if head != b"\x89PNG\r\n\x1a\n":
                raise ValueError(f"an image of {self.task!r} is not a PNG")
        return self

    def wrong(self, predicted: Sequence[int]) -> tuple[bool, ...]:
        """Which slots of an answer count and are not the truth."""
        pairs = zip(predicted, self.truth, self.scored, strict=True)
        return tuple(scored and given != true for given, true, scored in pairs)


class GalleryInputs(StrictConfig):
    """The examples that a report shows, and the sentence that goes with them."""

    sentence: str = ""
    cards: tuple[ExampleCard, ...] = ()
