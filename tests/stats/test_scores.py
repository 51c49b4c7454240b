import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.stats.scores import (
    ScoreMatrix,
    ScoreTableError,
    check_complete,
    check_scores,
    find_missing,
    read_scores,
)


@pytest.fixture
def table(make_table):
    return make_table({"a": 0.5, "b": 0.6}, num_examples=4, slots=3)


def refused(table, metrics=("correct",)):
    with pytest.raises(ScoreTableError) as error:
        check_scores(table, metrics=metrics)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_good_table_passes_in_both_formats(table, tmp_path):
    table.to_csv(tmp_path / "s.csv", index=False)
    table.to_parquet(tmp_path / "s.parquet")
    for name in ("s.csv", "s.parquet"):
        read = read_scores(tmp_path / name)
        check_scores(read, metrics=("correct", "slots"))
        check_complete(read)
        plain = read.reset_index(drop=True)
        pd.testing.assert_frame_equal(plain, table, check_dtype=False, check_like=True)


def test_unreadable_files(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "x.parquet").write_text("not parquet")
    for name, words in [
        ("x.txt", "expected a .csv, .tsv or .parquet file"),
        ("none.csv", "there is no such file"),
        ("empty.csv", "not a readable table"),
        ("x.parquet", "not a readable table"),
    ]:
        with pytest.raises(ScoreTableError, match=words):
            read_scores(tmp_path / name)


HEADER = "arm,seed,task,example,correct\n"


def rows_of(arm, seeds=(0, 1, 2), task="t", examples=("1", "2")):
    return "".join(f"{arm},{seed},{task},{e},{(seed + i) % 2}\n"
                   for seed in seeds for i, e in enumerate(examples))  # fmt: skip


def test_names_and_ids_are_text_exactly_as_written(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(HEADER + rows_of("1.1", (0, 1)) + rows_of("1.10", (0, 1)))
    assert check_scores(read_scores(path))["arm"].unique().tolist() == ["1.1", "1.10"]
    for name in ("None", "null", "NA", "nan", "007", "1e3"):
        path.write_text(HEADER + rows_of(name, task=name, examples=(name, "x")))
        read = check_scores(read_scores(path))
        assert [set(read[column]) for column in ("arm", "task")] == [{name}, {name}]
        assert set(read["example"]) == {name, "x"}
    path.write_text(HEADER + rows_of("a", examples=("01", "1")))
    assert set(read_scores(path)["example"]) == {"01", "1"}
    path.write_text(HEADER + rows_of("a", examples=("7", "12")))
    assert read_scores(path)["example"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER + "a, b,0,t,1,1\n", "row 2 has 6 fields, but the header has 5"),
        (HEADER + "a,0,t,1\n", "row 2 has 4 fields, but the header has 5"),
        ("arm,arm,seed,task,example,correct\n", "column 'arm': 2 columns have this name"),
        ("arm,seed,task,examples,correct\n", "column 'example': the file has the columns arm, "),
        (HEADER + "a,,t,1,1\n", "row 2: no value in a required column"),
    ],
)
def test_a_damaged_score_table_is_refused_in_one_sentence(tmp_path, content, words):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(ScoreTableError) as refused:
        check_scores(read_scores(tmp_path / "s.csv"))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nested_columns_of_a_score_table_are_refused(table, tmp_path):
    table.assign(arm=[["a"]] * len(table)).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(ScoreTableError, match="column 'arm': the column holds list"):
        read_scores(tmp_path / "s.parquet")


def test_columns(table):
    assert "lacks the column task, example" in refused(table.drop(columns=["task", "example"]))
    assert "slots_total" in refused(table.drop(columns="slots_total"), ("slots",))
    assert "no rows" in refused(table.iloc[:0])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("correct", 2, "row 3: correct is neither 0 nor 1."),
        ("correct", 0.5, "row 3: correct is neither 0 nor 1."),
        ("slots_correct", 9, "row 3: slots_correct is above slots_total."),
        ("slots_correct", -1, "row 3: slots_correct is negative or empty."),
        ("slots_total", 0, "row 3: slots_total is below 1."),
    ],
)
def test_values_name_the_row(table, column, value, words):
    table = table.astype({column: float})
    table.loc[2, column] = value
    assert refused(table) == words


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("correct", "yes", "row 3: correct is neither 0 nor 1."),
        ("seed", "first", "row 3: the seed is no whole number."),
        ("seed", 1.5, "row 3: the seed is no whole number."),
        ("seed", np.inf, "row 3: the seed is no whole number."),
        ("slots_correct", "two", "row 3: slots_correct is not a finite number."),
        ("slots_total", np.inf, "row 3: slots_total is not a finite number."),
        ("supervision_steps", "many", "row 3: supervision_steps is not a finite number."),
        ("task", "mean", "row 3: a task cannot be called 'mean', the name of figures averaged "
         "over tasks."),
    ],
)  # fmt: skip
def test_one_strange_value_names_its_row_alone(table, column, value, words, tmp_path):
    table[column] = table[column].astype(object)
    table.loc[2, column] = value
    assert refused(table) == words
    table.to_csv(tmp_path / "s.csv", index=False)
    in_an_editor = words.replace("row 3", "row 4")  # the header is row 1
    assert refused(read_scores(tmp_path / "s.csv")) == in_an_editor


def test_rows_are_those_that_an_editor_shows(tmp_path):
    """One way to count: also with a name over two lines, and with blank lines between."""
    text = HEADER + 'a,0,"two\nlines",1,1\n\na,0,t,1,9\na,0,t,2,8\n'
    (tmp_path / "s.csv").write_text(text)
    assert text.splitlines()[5 - 1] == "a,0,t,1,9"
    words = "rows 5 and 6: correct is neither 0 nor 1."
    assert refused(read_scores(tmp_path / "s.csv")) == words


def test_rows_of_a_folder_of_parts_are_named_with_their_part(table, tmp_path):
    for number, rows in enumerate((range(10), range(10, 24))):
        table.iloc[list(rows)].to_parquet(tmp_path / f"part_{number}.parquet")
    read = read_scores(tmp_path)
    read["correct"] = read["correct"].where(~read.index.isin(["row 2 of part_1.parquet"]), 7)
    assert refused(read) == "row 2 of part_1.parquet: correct is neither 0 nor 1."
    read["correct"] = 7
    assert refused(read).startswith(
        "row 1 of part_0.parquet, row 2 of part_0.parquet, row 3 of part_0.parquet, "
        "row 4 of part_0.parquet, row 5 of part_0.parquet and 19 more: correct"
    )


def test_seeds_between_two_numbers_name_their_rows(table):
    table["seed"] += 0.5
    assert refused(table) == "rows 1, 2, 3, 4, 5 and 19 more: the seed is no whole number."


def test_names_that_are_numbers_are_text(table):
    table["arm"] = table["arm"].map({"a": 1, "b": 2})
    table["task"] = 7
    checked = check_scores(table.astype({"seed": float}))
    matrix = ScoreMatrix.from_table(checked, {})
    assert (matrix.arms, matrix.tasks, matrix.seeds) == (("1", "2"), ("7",), (0, 1, 2))
    assert matrix.present(["1", "2"], ["7"]).all()


def test_one_example_a_cell_has_no_interval(make_table):
    table = make_table({"a": 0.0, "b": 1.0}, num_examples=1)
    assert refused(table).startswith("rows 1, 2, 3, 4, 5 and 1 more: the only example of its task")


def test_steps_may_be_empty(table):
    table["supervision_steps"] = np.nan
    assert ScoreMatrix.from_table(check_scores(table), {}).steps == {}


def test_many_rows_are_counted(table):
    table["correct"] = 3
    assert refused(table).startswith("rows 1, 2, 3, 4, 5 and 19 more: correct")


def test_empty_values(table):
    table["arm"] = table["arm"].where(table.index != 1, None)
    assert refused(table).startswith("row 2: no value")


def test_duplicates(table):
    doubled = pd.concat([table, table.iloc[[5]]], ignore_index=True)
    assert refused(doubled).startswith("row 25: repeats the (arm, seed, task, example, length)")


def test_unpaired_examples(table):
    sentence = refused(table.drop(index=6))
    assert "unpaired" in sentence
    assert "but arm 'a', seed 1 lacks example 2" in sentence
    assert sentence.startswith("rows 3, 10, 14, 18 and 22 of task 'maze' are unpaired")


def test_missing_cells_are_named(table):
    holed = table[~((table["arm"] == "b") & (table["seed"] == 1))]
    check_scores(holed)
    with pytest.raises(ScoreTableError, match=r"no row holds the cell \(b, seed 1, maze\)"):
        check_complete(holed)
    missing = find_missing(holed, ["a", "b", "c"], [7], {"b": [1]})
    found = {(m.arm, m.seed, m.reason) for m in missing}
    assert ("b", 1, "diverged") in found
    assert ("a", 7, "no scores") in found
    assert ("c", 0, "no scores") in found
    assert ("a", 0, "no scores") not in found


def test_many_missing_cells(make_table):
    table = make_table({"a": 0.5, "b": 0.5}, num_examples=2, seeds=range(8))
    holed = table[(table["arm"] == "a") | (table["seed"] == 0)]
    with pytest.raises(ScoreTableError, match=r"cells .* and 2 more;"):
        check_complete(holed)


def test_one_seed(make_table):
    table = make_table({"a": 0.5}, num_examples=4, seeds=[3])
    with pytest.raises(ScoreTableError, match="the 4 rows are all of seed 3"):
        check_complete(table)


def test_matrix_keeps_axes(table):
    shuffled = table.sample(frac=1, random_state=1)
    matrix = ScoreMatrix.from_table(shuffled, {"maze": "slots"})
    assert matrix.seeds == (0, 1, 2)
    np.testing.assert_allclose(matrix.values["a", "maze"][1], [1, 1, 1 / 3, 1 / 3])
    assert matrix.steps["a", "maze"] == 2.0
    by_default = ScoreMatrix.from_table(table, {})
    np.testing.assert_allclose(by_default.values["a", "maze"][1], [1, 1, 0, 0])


def test_boolean_and_string_labels(table):
    table["correct"] = table["correct"].astype(bool)
    table["example"] = "x" + table["example"].astype(str)
    check_scores(table)
    assert ScoreMatrix.from_table(table, {}).values["a", "maze"].dtype == np.float64


def test_unknown_metric(table):
    with pytest.raises(ScoreTableError, match="expected one of correct, slots"):
        ScoreMatrix.from_table(table, {"maze": "tokens"})


def test_a_missing_cell_is_never_imputed(table):
    holed = table[~((table["arm"] == "b") & (table["seed"] == 1))]
    matrix = ScoreMatrix.from_table(holed, {})
    assert np.isnan(matrix.values["b", "maze"][1]).all()
    assert matrix.present(["a", "b"], ["maze"]).tolist() == [True, False, True]
    assert not matrix.present(["z"], ["maze"]).any()
