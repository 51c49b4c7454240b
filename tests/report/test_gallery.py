"""The gallery: examples by rule, answers as they were given, drawings that say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.report import answers as answers_module
from hybrid_pipeline.report.answers import build_gallery, choose_examples, png
from hybrid_pipeline.report.document import Gallery
from hybrid_pipeline.report.example_svg import answer_svg
from hybrid_pipeline.report.gallery import NO_ANSWERS, RULE, ArmAnswer, ExampleCard, GalleryInputs
from hybrid_pipeline.report.html_blocks import block_html
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.render import render_html, render_markdown
from hybrid_pipeline.storage import seal
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.handles import TaskHandle

ARMS = ("arm_1_baseline", "arm_4_trm")
MAZE = json.dumps({"maze": {"right": [[1], [0]], "down": [[0, 1]], "start": 0, "goal": 3}})


def scores_of(task: str, by_arm: dict[str, list[list[int]]], total: int = 4) -> pd.DataFrame:
    """by_arm: arm -> seeds -> slots right of examples 10, 11, ..."""
    return pd.DataFrame(
        {
            "arm": arm, "seed": seed, "task": task, "example": 10 + i,
            "correct": int(right == total), "slots_correct": right, "slots_total": total,
        }
        for arm, seeds in by_arm.items()
        for seed, rights in enumerate(seeds)
        for i, right in enumerate(rights)
    )  # fmt: skip


def test_the_examples_are_those_on_which_the_arms_differ_most() -> None:
    """Means over seeds by hand, whole answers: 10: 0 and 1, 11: .5 and .5, 12: 0 and .5."""
    table = scores_of("maze", {ARMS[0]: [[0, 4, 0], [3, 0, 1]], ARMS[1]: [[4, 4, 4], [4, 0, 0]]})
    assert choose_examples(table, ARMS, {"maze": "correct"}, 3) == [
        ("maze", 10), ("maze", 12), ("maze", 11),
    ]  # fmt: skip
    assert choose_examples(table, ARMS, {"maze": "correct"}, 1) == [("maze", 10)]


def test_ties_go_by_example_and_controls_do_not_count() -> None:
    table = scores_of("maze", {ARMS[0]: [[0, 0, 0]], ARMS[1]: [[4, 4, 4]], "other": [[0, 0, 4]]})
    shuffled = table.sample(frac=1, random_state=3)
    assert [e for _, e in choose_examples(shuffled, ARMS, {"maze": "correct"}, 3)] == [10, 11, 12]


def test_every_task_gets_its_share_in_its_own_metric() -> None:
    """In slots example 10 differs by 1 of 4, 11 by 2 of 4; no whole answer differs."""
    slots = scores_of("sudoku", {ARMS[0]: [[1, 1]], ARMS[1]: [[2, 3]]})
    whole = scores_of("maze", {ARMS[0]: [[0, 4]], ARMS[1]: [[4, 4]]})
    chosen = choose_examples(
        pd.concat([slots, whole]), ARMS, {"sudoku": "slots", "maze": "correct"}, 2
    )
    assert chosen == [("sudoku", 11), ("maze", 10)]


class FakeData:
    """A task with three rows, two of them test examples."""

    def __init__(self, table: TaskTable, views: np.ndarray) -> None:
        self.table, self.images, self._views = table, self, views

    def gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        assert name == "views"
        return self._views[rows]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two arms, two seeds; example 11 is right for TRM from its second step on."""
    table = TaskTable(
        name="maze", key="k", primary_metric="correct", classes=("off", "on"), grid_shape=(2, 2),
        example=np.array([5, 10, 11]), split=np.array(["train", "test", "test"]),
        prompt=[MAZE] * 3, canonical=["a", "b", "c"],
        targets=np.array([[0, 0, 0, 0], [1, 1, 0, 1], [1, 1, 0, 1]]),
        scored=np.ones((3, 4), dtype=bool),
    )  # fmt: skip
    views = np.full((3, 2, 8, 8), 96, dtype=np.uint8)
    views[2, 1] = 160
    data = FakeData(table, views)
    monkeypatch.setattr(answers_module, "open_task_data", lambda *_: data)
    truth, bad = [1, 1, 0, 1], [1, 0, 0, 1]
    given = {
        ("arm_1_baseline", 0): [[truth], [bad]],
        ("arm_1_baseline", 1): [[truth], [bad]],
        ("arm_4_trm", 0): [[bad, truth, truth], [bad, truth, truth]],
        ("arm_4_trm", 1): [[bad, bad, truth], [bad, bad, bad]],
    }
    keys = {}
    for (arm, seed), predicted in given.items():
        keys[arm, seed, "maze"] = f"{arm}-{seed}"
        folder = tmp_path / "06_models/cells" / f"{arm}-{seed}"
        folder.mkdir(parents=True)
        np.savez(folder / "answers.npz", predicted=np.array(predicted, dtype=np.int16))
        seal(folder)
    scores = scores_of("maze", {ARMS[0]: [[4, 3]] * 2, ARMS[1]: [[4, 4], [4, 3]]})
    return {
        "scores": scores, "keys": keys, "task_data": {"maze": TaskHandle(task="maze")},
        "arms": ARMS, "storage": StorageConfig(root=str(tmp_path)),
    }  # fmt: skip


def test_cards_hold_what_the_arms_answered(study: dict[str, Any]) -> None:
    gallery = build_gallery(**study, number=1)
    assert gallery.sentence == RULE
    (card,) = gallery.cards
    assert (card.example, card.truth) == (11, (1, 1, 0, 1))
    baseline, trm = card.answers
    assert baseline == ArmAnswer(
        arm=ARMS[0], predicted=(1, 0, 0, 1), num_right=0, num_seeds=2, steps=(), seed=0
    )
    assert trm.steps == ((1, 0, 0, 1), (1, 1, 0, 1), (1, 1, 0, 1))
    assert (trm.predicted, trm.num_right, trm.num_seeds) == ((1, 1, 0, 1), 1, 2)
    assert card.views[0] != card.views[1]
    assert card.views[0] == png(np.full((8, 8), 96, dtype=np.uint8))
    assert card.wrong(baseline.predicted) == (False, True, False, False)


def test_cells_without_answers_give_a_sentence_and_no_cards(study: dict[str, Any]) -> None:
    root = Path(study["storage"].root)
    for path in root.rglob("answers.npz"):
        path.unlink()
    assert build_gallery(**study) == GalleryInputs(sentence=NO_ANSWERS)


def test_an_arm_without_answers_is_left_out(study: dict[str, Any]) -> None:
    for path in Path(study["storage"].root).rglob("arm_1_baseline-*/answers.npz"):
        path.unlink()
    assert [a.arm for a in build_gallery(**study).cards[0].answers] == ["arm_4_trm"]


def card_of(**changes: Any) -> ExampleCard:
    values: dict[str, Any] = {
        "task": "sudoku", "example": 3, "prompt": "{}", "grid": (1, 3), "classes": ("1", "2", "<"),
        "truth": (0, 1, 2), "scored": (False, True, True), "views": (),
    }  # fmt: skip
    return ExampleCard(**{**values, **changes})


def test_a_wrong_slot_is_crossed_and_a_clue_never_is() -> None:
    card = card_of()
    right, wrong = answer_svg(card, (0, 1, 2), "truth"), answer_svg(card, (1, 1, 0), "an answer")
    assert 'class="cross"' not in right
    assert wrong.count('class="cross"') == 1
    assert '<path class="bad" d="M40 0h20v20h-20z"/>' in wrong  # slot 2; slot 0 is a clue
    assert '<text class="given" x="10" y="11">1</text>' in wrong  # the prompt's, not as predicted
    assert "&lt;" in right
    assert "2<" not in right


def test_a_maze_has_its_walls_its_path_and_its_ends() -> None:
    card = card_of(
        prompt=MAZE, grid=(2, 2), classes=("off", "on"), truth=(1, 1, 0, 1), scored=(True,) * 4
    )
    drawn = answer_svg(card, card.truth, "truth")
    assert '<path class="on" d="M0 0h20v20h-20zM20 0h20v20h-20zM20 20h20v20h-20z"/>' in drawn
    assert "M20 20v20" in drawn  # closed between the lower two
    assert "M20 0v20" not in drawn  # open between the upper two
    assert "M0 20h20" in drawn
    assert ">S</text>" in drawn
    assert ">G</text>" in drawn


def test_text_is_no_grid() -> None:
    with pytest.raises(ValueError, match="is text"):
        answer_svg(card_of(grid=None), (0, 1, 2), "")


def test_the_page_opens_with_the_gallery(default_inputs: ReportInputs, tiny_png: str) -> None:
    answer = ArmAnswer(
        arm="arm_4_trm", predicted=(0, 1, 0), num_right=1, num_seeds=3, steps=((0, 0, 0), (0, 1, 0))
    )
    grid = card_of(views=(tiny_png, tiny_png), answers=(answer,))
    text = card_of(
        task="mine", grid=None, prompt="is <b>it</b> good?", classes=("good", "bad"), truth=(0,),
        scored=(True,), answers=(answer.model_copy(update={"predicted": (1,), "steps": ()}),),
    )  # fmt: skip
    cards = (grid, text, *(card_of(example=i) for i in range(4)))
    given = default_inputs.model_copy(update={"gallery": GalleryInputs(sentence=RULE, cards=cards)})
    page = render_html(given)
    assert page.index('id="page-one"') < page.index('id="examples"') < page.index('id="gains"')
    section = page[page.index('id="examples"') : page.index('id="gains"')]
    assert RULE in section
    assert section.count(f"data:image/png;base64,{tiny_png}") == 2
    assert "first seed, drawn: 1 of 2 wrong" in section  # kept before the seed was named
    assert "1 of 3 seeds all right" in section
    seventh = answer.model_copy(update={"predicted": (0, 1, 2), "seed": 7})
    drawn = block_html(Gallery([grid.model_copy(update={"answers": (seventh,)})]), {})
    assert "seed 7, drawn: all right" in drawn
    assert "1 of 3 seeds all right" in drawn  # the seed that is drawn is the one
    assert "first seed, drawn: wrong" in section  # of one slot
    assert ">1 of 3 seeds right<" in section
    assert "step 2 of 2" in section
    assert "is &lt;b&gt;it&lt;/b&gt; good?" in section
    assert "\N{BALLOT X} bad" in section
    assert "2 more examples" in section
    assert "example 3: seeds with the whole answer right: 4 + TRM 1 of 3" in render_markdown(given)


def test_old_cells_are_said_in_one_line(default_inputs: ReportInputs) -> None:
    given = default_inputs.model_copy(update={"gallery": GalleryInputs(sentence=NO_ANSWERS)})
    assert NO_ANSWERS in render_markdown(given)
