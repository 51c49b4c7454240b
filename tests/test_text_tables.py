"""Tables as text."""

from hybrid_pipeline.text_tables import markdown_table, plain_table


def test_columns_are_aligned_and_numbers_stay_as_they_were_written() -> None:
    lines = plain_table(["arm", "points"], [["long name", "0.10"], ["x", "[+1, 2]"], ["y", ""]])
    assert lines[0].split() == ["arm", "points"]
    assert set(lines[1]) == {"-", " "}
    assert [line.split(maxsplit=1) for line in lines[2:]] == [
        ["long", "name  0.10"], ["x", "[+1, 2]"], ["y"]
    ]  # fmt: skip
    assert lines[2].index("0.10") == lines[3].index("[+1") == lines[0].index("points")
    assert not any(line.endswith(" ") for line in lines)


def test_a_table_without_rows_is_its_header() -> None:
    assert plain_table(["a", "b"], [])[0].split() == ["a", "b"]


def test_bars_and_line_breaks_do_not_break_markdown() -> None:
    assert markdown_table(["a"], [["x|y\nz"]]) == ["| a |", "| --- |", "| x\\|y z |"]
