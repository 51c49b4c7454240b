"""The user's table: what is read, what is refused and in which words."""

import dataclasses

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_pipeline.config import ConfigError, RenderingConfig
from hybrid_pipeline.rendering import MissingGlyphError
from hybrid_pipeline.tasks import (
    LeakageError,
    TaskTable,
    build_table,
    check_no_leakage,
    source_of,
    table_key,
    verify_answers,
)
from hybrid_pipeline.tasks.own_table import TableTask, labels_alike


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
    assert sorted(table.prompt) == sorted(frame["review"])
    assert table.classes == ("NA", "good")
    labels = dict(zip(frame["review"], frame["mood"], strict=True))
    for row, text in enumerate(table.prompt):
        assert table.classes[table.targets[row, 0]] == labels[text]
    check_no_leakage(table, source_of("mine", task, tmp_path))
    verify_answers(table, source_of("mine", task, tmp_path))
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
    assert sorted(table.prompt) == sorted(texts[::2])


@pytest.mark.parametrize(("first", "second"), TWINS)
def test_rows_that_look_alike_in_two_splits_are_leakage(tmp_path, first, second):
    texts, labels = [first.format(i) for i in range(80)], ["a", "b"] * 40
    task = write_texts(tmp_path / "x.csv", texts, labels)
    table = build_table("mine", task, tmp_path)
    row, other = int(table.rows("train")[0]), int(table.rows("test")[0])
    twin = second.format(table.prompt[row].split()[-1])
    prompts = [twin if i == other else text for i, text in enumerate(table.prompt)]
    with pytest.raises(LeakageError):
        check_no_leakage(dataclasses.replace(table, prompt=prompts), source_of("m", task, tmp_path))


@pytest.mark.parametrize("texts", [["Good Film", "good  film"], ["same", "same"]])
def test_one_text_with_two_labels_is_refused(tmp_path, texts):
    task = write_texts(tmp_path / "x.csv", ["other", *texts], ["a", "a", "b"])
    with pytest.raises(ConfigError) as refused:
        build_table("mine", task, tmp_path)
    assert str(refused.value) == (
        f"parameter 'tasks.mine.label_column' = 'label' is refused: x.csv has the text "
        f"{texts[0]!r} with the label 'a' in row 3 and with 'b' in row 4, where it is the same up "
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
            "path' = 'mine.xlsx' is refused: expected a .csv, .tsv or .parquet file (CSV and TSV "
            "also as .gz, .bz2 or .xz), or a folder of .parquet files.",
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


def refusal(tmp_path, **fields):
    with pytest.raises(ConfigError) as refused:
        build_table("mine", TableTask(source="table", **fields), tmp_path)
    return str(refused.value).removeprefix("parameter 'tasks.mine.")


def test_empty_cells_and_single_labels_are_refused(tmp_path):
    pd.DataFrame({"text": ["a", "", "c"], "label": ["x", "y", None]}).to_csv(tmp_path / "x.csv")
    assert refusal(tmp_path, path="x.csv") == (
        "text_column' = 'text' is refused: x.csv has nothing to be seen there in 1 row: row 3."
    )
    write_texts(tmp_path / "w.csv", ["a", *"\u200b\u00ad\ufe0f\u2800\u3164\ufffc\u115f"], "x" * 8)
    assert refusal(tmp_path, path="w.csv") == (
        "text_column' = 'text' is refused: w.csv has nothing to be seen there in 7 rows: row 3, "
        "row 4, row 5, row 6, row 7 and 2 more."
    )
    pd.DataFrame({"text": ["a", "b"], "label": ["x", "x\u200b"]}).to_csv(tmp_path / "y.csv")
    assert "y.csv has the label 'x' there, and at least two labels are needed" in refusal(
        tmp_path, path="y.csv"
    )
    pd.DataFrame({"text": ["a", "b"], "label": ["x", None]}).to_csv(tmp_path / "z.csv")
    assert "label_column' = 'label' is refused: z.csv has nothing" in refusal(
        tmp_path, path="z.csv"
    )
    (tmp_path / "head.csv").write_text("text,label\n")
    assert "head.csv has no rows there" in refusal(tmp_path, path="head.csv")


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path.name


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "text,label\nBerg, Ann,a\nfine,b\nLee, Bo,a\n",
            "row 2 has 3 fields (and so do 1 more rows), but the header has 2: 'Berg, Ann,a'; put "
            "a text that contains a comma or a line break in double quotes, such as "
            '"Berg, Ann"',
        ),
        ("text,label\nfine,b\nshort\n", "row 3 has 1 field, but the header has 2: 'short'"),
        ('text,label\n"two\nlines",a\nshort\n', "row 4 has 1 field, but"),
        ("text,label\nthe\rrapist,a\n", "row 2 has 1 field, but"),
        ('text,label\nfine,a\n"never closed,a\nb,c\n', "quote that opens in row 3 is never"),
        ('text,label\nfine,a\n"said" she,b\n', "row 3 is no valid CSV (',' expected after"),
        (b"text,label\nfine,a\ncaf\xe9,b\n", "row 3 is not UTF-8 (byte 0xE9); save the file"),
        ("text,label\na,b\n".encode("utf-16"), "row 1 is not UTF-8 (byte 0xFF)"),
    ],
)
def test_a_damaged_csv_is_refused_with_its_row(tmp_path, content, sentence):
    said = refusal(tmp_path, path=write(tmp_path / "x.csv", content))
    assert said.startswith("path' = 'x.csv' is refused: ")
    assert sentence in said


def test_columns_of_another_delimiter_or_of_one_name_are_refused(tmp_path):
    write(tmp_path / "x.csv", "text;label\na;b\n")
    assert "x.csv has the columns text;label, separated by ';' and not by ','" in refusal(
        tmp_path, path="x.csv"
    )
    write(tmp_path / "y.csv", "text,label,text\na,b,c\n")
    assert refusal(tmp_path, path="y.csv") == (
        "text_column' = 'text' is refused: 2 columns have this name; rename all but one."
    )
    twice = pa.table([["a"], ["b"], ["c"]], names=["text", "label", "label"])
    pq.write_table(twice, tmp_path / "z.parquet")
    assert "label_column' = 'label' is refused: 2 columns" in refusal(tmp_path, path="z.parquet")
    write(tmp_path / "u.csv", "text, label\na,b\n")
    assert "has the columns text, ' label'" in refusal(tmp_path, path="u.csv")


@pytest.mark.parametrize(
    "values",
    [[["a"], ["b"]], [{"x": 1}, {"x": 2}], pa.array([[("k", 1)], []], pa.map_(pa.string(), "i4"))],
)
def test_nested_columns_are_refused_by_name(tmp_path, values):
    pq.write_table(pa.table({"text": values, "label": ["a", "b"]}), tmp_path / "x.parquet")
    assert refusal(tmp_path, path="x.parquet").startswith(
        "text_column' = 'text' is refused: the column holds "
    )


def good_rows(count=80):
    return [(f"text {i}", "ab"[i % 2]) for i in range(count)]


WRITERS = {
    "x.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "x.CSV": lambda frame, path: frame.to_csv(path, index=False),
    "x.csv.gz": lambda frame, path: frame.to_csv(path, index=False, compression="gzip"),
    "x.csv.bz2": lambda frame, path: frame.to_csv(path, index=False, compression="bz2"),
    "x.TSV.xz": lambda frame, path: frame.to_csv(path, index=False, sep="\t", compression="xz"),
    "bom.csv": lambda frame, path: frame.to_csv(path, index=False, encoding="utf-8-sig"),
    "crlf.csv": lambda frame, path: frame.to_csv(path, index=False, lineterminator="\r\n"),
    "x.Parquet": lambda frame, path: frame.to_parquet(path),
    "category.parquet": lambda frame, path: frame.astype("category").to_parquet(path),
    "binary.parquet": lambda frame, path: pq.write_table(
        pa.table({c: pa.array([v.encode() for v in frame[c]]) for c in frame}), path
    ),
    "parts": lambda frame, path: _write_parts(frame, path),
    "hive": lambda frame, path: frame.to_parquet(path, partition_cols=["label"]),
}


def _write_parts(frame, path):
    path.mkdir()
    for part in range(4):
        frame[part * 20 : part * 20 + 20].to_parquet(path / f"part-{part}.parquet")
    (path / "_SUCCESS").touch()
    (path / "README.txt").touch()


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_examples(tmp_path, name):
    frame = pd.DataFrame(good_rows(), columns=["text", "label"])
    WRITERS[name](frame, tmp_path / name)
    task = TableTask(source="table", path=name)
    table = build_table("mine", task, tmp_path)
    labels = [table.classes[target] for target in table.targets[:, 0]]
    assert sorted(zip(table.prompt, labels, strict=True)) == sorted(good_rows())
    assert (table.examples_read, table.repeats_dropped, table.remarks) == (80, 0, ())
    first = table_key("mine", task, tmp_path)
    if (tmp_path / name).is_dir():
        frame[:1].to_parquet(tmp_path / name / "part-9.parquet")
        assert table_key("mine", task, tmp_path) != first


def test_rows_are_counted_as_an_editor_shows_them(tmp_path):
    write(tmp_path / "x.csv", 'text,label\n"two\nlines",a\n\nfine,b\nlast,a\n')
    source = source_of("m", TableTask(source="table", path="x.csv"), tmp_path)
    assert [source.label(row) for row in range(3)] == ["row 2", "row 5", "row 6"]
    _write_parts(pd.DataFrame(good_rows(), columns=["text", "label"]), tmp_path / "parts")
    source = source_of("m", TableTask(source="table", path="parts"), tmp_path)
    assert [source.label(row) for row in (0, 19, 20, 79)] == [
        "row 1 of part-0.parquet",
        "row 20 of part-0.parquet",
        "row 1 of part-1.parquet",
        "row 20 of part-3.parquet",
    ]


def test_what_cannot_be_drawn_is_named_by_its_row_with_how_many_more(tmp_path):
    rows = good_rows()
    for row in (7, 21, 40):
        rows[row] = (f"smile \U0001f642 {row}", "a")
    task = write_texts(tmp_path / "x.csv", *zip(*rows, strict=True))
    table, source = build_table("m", task, tmp_path), source_of("m", task, tmp_path)
    order = sorted(range(80), key=lambda row: table.example[row])
    names = [source.label(int(table.example[row])) for row in order]
    with pytest.raises(
        MissingGlyphError, match=r"^row 9 has the character .*; 2 more .*: row 23, row 42$"
    ):
        source.check_drawable([table.prompt[row] for row in order], RenderingConfig(), names)


def test_labels_are_what_the_eye_tells_apart(tmp_path):
    spelled = ["yes", "yes\u200b", " yes", "caf\u00e9", "cafe\u0301", "caf\u00e9\ufe0f"]
    labels = [spelled[i % 6] for i in range(90)]
    task = write_texts(tmp_path / "x.csv", [f"t {i}" for i in range(90)], labels)
    table = build_table("m", task, tmp_path)
    assert table.classes == ("caf\u00e9", "yes")
    assert table.remarks == ()


def test_labels_that_may_be_meant_as_one_are_named(tmp_path):
    assert labels_alike(["1", "1.0", "01", "2", "Yes", "yes", "no", "x\u00b2", "x2", "nan"]) == [
        ["1", "1.0", "01"],
        ["Yes", "yes"],
        ["x\u00b2", "x2"],
    ]
    labels = ["1", "1.0", "2"] * 40
    task = write_texts(tmp_path / "x.csv", [f"t {i}" for i in range(120)], labels)
    (remark,) = build_table("m", task, tmp_path).remarks
    assert remark.startswith("x.csv has the labels '1', '1.0', which are the same up to")


def test_repeats_and_classes_without_rows_are_counted_and_said(tmp_path):
    texts = [f"t {i}" for i in range(120)]
    labels = ["a", "b"] * 60
    task = write_texts(tmp_path / "x.csv", texts, labels)
    test_row = int(build_table("m", task, tmp_path).rows("test")[0])
    in_test = build_table("m", task, tmp_path).prompt[test_row]
    labels[texts.index(in_test)] = "rare"
    again = write_texts(tmp_path / "x.csv", [*texts, "T  3"], [*labels, labels[3]])
    table = build_table("m", again, tmp_path)
    assert (table.examples_read, table.repeats_dropped, len(table.prompt)) == (121, 1, 120)
    counts = table.slots_by_class()
    assert (counts["train"]["rare"], counts["test"]["rare"]) == (0, 1)
    assert sum(sum(split.values()) for split in counts.values()) == 120
    assert table.remarks == (
        "classes without train examples, so that they cannot be learnt: 1 of 3 ('rare')",
    )
    table.to_parquet(tmp_path / "t.parquet")
    assert TaskTable.from_parquet(tmp_path / "t.parquet").remarks == table.remarks


def test_a_column_of_ids_is_refused(tmp_path):
    task = write_texts(tmp_path / "x.csv", [f"t {i}" for i in range(60)], range(60))
    assert "60 of the 60 rows of x.csv have a label there that no other row has" in refusal(
        tmp_path, path=task.path
    )


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(ConfigError, match="cannot be read"):
        build_table("mine", TableTask(source="table", path="x.parquet"), tmp_path)
    (tmp_path / "x.csv").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read"):
        build_table("mine", TableTask(source="table", path="x.csv"), tmp_path)
