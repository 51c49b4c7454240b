"""Syllogisms against hand-made cases; the user's table and its refusals."""

import dataclasses
import itertools

import pandas as pd
import pytest

from hybrid_pipeline.config import ConfigError, ReasoningGymTask, TableTask
from hybrid_pipeline.tasks import LeakageError, build_table, check_no_leakage, verify_answers
from hybrid_pipeline.tasks.text import (
    canonical_syllogism,
    read_syllogism,
    syllogism_source,
    verify_syllogism,
)

SYLLOGISM = ReasoningGymTask(
    source="reasoning_gym", generator="syllogism", num_train=8, num_validation=2, num_test=2
)


@pytest.mark.parametrize(
    ("first", "second", "conclusion", "follows"),
    [
        ("All b are c", "All a are b", "All a are c", True),  # Barbara
        ("No b are c", "All a are b", "No a are c", True),  # Celarent
        ("All b are c", "Some a are b", "Some a are c", True),  # Darii
        ("No b are c", "Some a are b", "Some a are not c", True),  # Ferio
        ("All c are b", "No a are b", "No a are c", True),  # Camestres
        ("All b are c", "All b are a", "Some a are c", True),  # Darapti: terms have members
        ("All b are c", "All a are b", "Some c are a", True),  # Barbari, converted
        ("All c are b", "All a are b", "All a are c", False),  # undistributed middle
        ("Some b are c", "Some a are b", "Some a are c", False),
        ("No b are c", "No a are b", "No a are c", False),
        ("Some a are not b", "All c are b", "Some b are not a", False),
        ("All a are b", "Some b are not c", "Some a are not c", False),  # reasoning_gym: Yes
    ],
)
def test_the_verifier_knows_the_traditional_moods(first, second, conclusion, follows):
    posed = f"{first}. {second}.\n{conclusion}?"
    assert verify_syllogism(posed, [int(follows)])
    assert not verify_syllogism(posed, [int(not follows)])


def test_generated_syllogisms_are_short_and_right():
    examples = list(itertools.islice(syllogism_source(SYLLOGISM).examples(), 300))
    assert {e.answer[0] for e in examples} == {0, 1}
    for example in examples:
        assert verify_syllogism(example.posed, example.answer)
        assert len(example.posed) < 130
        assert len(read_syllogism(example.posed)) == 3


def test_swapped_premises_share_a_name():
    assert canonical_syllogism("All a are b. No b are c.\nNo a are c?") == canonical_syllogism(
        "No b are c. All a are b.\nNo A are c?"
    )


def write_rows(path, count=60):
    frame = pd.DataFrame(
        {"review": [f"text {i} " for i in range(count)], "mood": ["NA", "good"] * (count // 2)}
    )
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return frame


def own(path, **changes):
    fields = {"text_column": "review", "label_column": "mood"} | changes
    return TableTask(source="table", path=path, **fields)


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet"])
def test_every_row_of_the_users_file_is_in_one_split(tmp_path, name):
    frame = write_rows(tmp_path / name)
    task = own(name)
    table = build_table("mine", task, tmp_path)
    assert sorted(table.posed) == sorted(frame["review"])
    assert table.classes == ("NA", "good")
    labels = dict(zip(frame["review"], frame["mood"], strict=True))
    for row, text in enumerate(table.posed):
        assert table.classes[table.targets[row, 0]] == labels[text]
    check_no_leakage(table)
    verify_answers(table, task, tmp_path)
    sizes = {split: len(table.rows(split)) for split in ("train", "validation", "test")}
    assert sizes["train"] > sizes["test"] > 0


def write_texts(path, texts, labels):
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return TableTask(source="table", path=path.name)


TWINS = [
    ("Row {}", "row  {}"),  # case and blanks
    ("the film {}", "the \ufb01lm {}"),  # a ligature
    ("x {}", "x\u200b {}"),  # a character of no width
    ("1/2 {}", "1/2\x00 {}"),  # a control character
]


@pytest.mark.parametrize(("first", "second"), TWINS)
def test_rows_that_look_alike_are_one_example(tmp_path, first, second):
    texts = [pair.format(i) for i in range(80) for pair in (first, second)]
    labels = ["a", "a", "b", "b"] * 40
    table = build_table("mine", write_texts(tmp_path / "x.csv", texts, labels), tmp_path)
    assert sorted(table.posed) == sorted(texts[::2])


@pytest.mark.parametrize(("first", "second"), TWINS)
def test_rows_that_look_alike_in_two_splits_are_leakage(tmp_path, first, second):
    texts, labels = [first.format(i) for i in range(80)], ["a", "b"] * 40
    table = build_table("mine", write_texts(tmp_path / "x.csv", texts, labels), tmp_path)
    row, other = int(table.rows("train")[0]), int(table.rows("test")[0])
    twin = second.format(table.posed[row].split()[-1])
    posed = [twin if i == other else text for i, text in enumerate(table.posed)]
    with pytest.raises(LeakageError):
        check_no_leakage(dataclasses.replace(table, posed=posed))


@pytest.mark.parametrize("texts", [["Good Film", "good  film"], ["same", "same"]])
def test_one_text_with_two_labels_is_refused(tmp_path, texts):
    task = write_texts(tmp_path / "x.csv", ["other", *texts], ["a", "a", "b"])
    with pytest.raises(ConfigError) as refused:
        build_table("mine", task, tmp_path)
    assert str(refused.value) == (
        f"parameter 'tasks.mine.label_column' = 'label' is refused: x.csv has the text "
        f"{texts[0]!r} with the label 'a' in row 2 and with 'b' in row 3, where it is the same up "
        "to case, blanks and what cannot be seen; a text needs one label."
    )


def test_a_tiny_table_is_told_to_grow(tmp_path):
    task = write_texts(tmp_path / "x.csv", ["a", "b", "c"], ["x", "y", "x"])
    with pytest.raises(
        ValueError, match=r"has 3 texts that differ.*give more rows or larger share"
    ):
        build_table("mine", task, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path": "absent.csv"}, "path' = 'absent.csv' is refused: there is no such file."),
        (
            {"path": "mine.xlsx"},
            "path' = 'mine.xlsx' is refused: expected a .csv or .parquet file.",
        ),
        (
            {"text_column": "body"},
            "text_column' = 'body' is refused: mine.csv has the columns review, mood.",
        ),
        (
            {"label_column": "body"},
            "label_column' = 'body' is refused: mine.csv has the columns review, mood.",
        ),
    ],
)
def test_what_is_missing_is_named_in_one_sentence(tmp_path, changes, sentence):
    write_rows(tmp_path / "mine.csv")
    with pytest.raises(ConfigError) as refused:
        build_table("mine", own(**({"path": "mine.csv"} | changes)), tmp_path)
    assert str(refused.value) == f"parameter 'tasks.mine.{sentence}"


def test_empty_cells_and_single_labels_are_refused(tmp_path):
    pd.DataFrame({"text": ["a", "", "c"], "label": ["x", "y", None]}).to_csv(tmp_path / "x.csv")
    with pytest.raises(ConfigError, match=r"text_column' = 'text' is refused: 1 rows.*row 2"):
        build_table("mine", TableTask(source="table", path="x.csv"), tmp_path)
    write_texts(tmp_path / "w.csv", ["a", "\u200b"], ["x", "y"])
    with pytest.raises(ConfigError, match=r"1 rows of w.csv are empty"):
        build_table("mine", TableTask(source="table", path="w.csv"), tmp_path)
    pd.DataFrame({"text": ["a", "b"], "label": ["x", "x"]}).to_csv(tmp_path / "y.csv")
    with pytest.raises(ConfigError, match="at least two are needed"):
        build_table("mine", TableTask(source="table", path="y.csv"), tmp_path)
    pd.DataFrame({"text": ["a", "b"], "label": ["x", None]}).to_csv(tmp_path / "z.csv")
    with pytest.raises(ConfigError, match="label_column' = 'label' is refused: 1 rows"):
        build_table("mine", TableTask(source="table", path="z.csv"), tmp_path)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="cannot be read"):
        build_table("mine", TableTask(source="table", path="x.parquet"), tmp_path)
    (tmp_path / "x.csv").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read"):
        build_table("mine", TableTask(source="table", path="x.csv"), tmp_path)
