"""Datasets appear whole or not at all, and say what is wrong with a damaged file."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from kedro.io import DatasetError
from PIL import Image

from damage import flip_bit, replace_bytes
from hybrid_pipeline.kedro_ext.datasets import (
    CsvAtomicDataset,
    HandleDataset,
    HandlesDataset,
    JsonAtomicDataset,
    OptionalJsonDataset,
    ParquetAtomicDataset,
    PngAtomicDataset,
    TextAtomicDataset,
)
from hybrid_pipeline.kedro_ext.figure_dataset import FigureDataset
from hybrid_pipeline.plot_style import BLACK, ORANGE, SKY, YELLOW, finish
from hybrid_pipeline.training.handles import TaskHandle

HANDLE = TaskHandle(task="sudoku", table="0123456789abcdef")
TOWER = TaskHandle.model_validate(
    {
        "task": "sudoku",
        "features": "f",
        "features_tower": {"source": "bundled", "name": "b", "key": "k", "disclosure": "d"},
    }
)
TABLE = pd.DataFrame({"arm": ["a", "b"], "correct": [0.1 + 0.2, 1.0]})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (JsonAtomicDataset, {"b": [1, 2.5, None], "a": "ä"}),
        (HandleDataset, HANDLE),
        (HandlesDataset, {"sudoku": HANDLE | TOWER}),
        (TextAtomicDataset, "# Report\n\nä\n"),
    ],
)
def test_what_is_saved_is_loaded(tmp_path: Path, kind: Any, value: Any) -> None:
    path = tmp_path / "folder" / "file"
    dataset = kind(filepath=str(path))
    assert not dataset.exists()
    dataset.save(value)
    assert dataset.exists()
    assert dataset.load() == value
    assert sorted(p.name for p in path.parent.iterdir()) == [".checksums", "file"]


@pytest.mark.parametrize("kind", [ParquetAtomicDataset, CsvAtomicDataset])
def test_tables_keep_their_values(tmp_path: Path, kind: Any) -> None:
    dataset = kind(filepath=str(tmp_path / "table"))
    dataset.save(TABLE)
    pd.testing.assert_frame_equal(dataset.load(), TABLE, check_exact=True)
    assert dataset.preview(nrows=1)["data"] == [["a", pytest.approx(0.3)]]


def test_names_in_a_csv_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "arm": ["1.1", "1.10", "None", "NA"],
            "reference": ["nan", "007", "1e3", "inf"],
            "estimate": [0.1, None, 1e-17, 2.0],
            "num_seeds": [3, 3, 4, 5],
            "verdict": ["gain", "", "nan", "true"],
        }
    )
    dataset = CsvAtomicDataset(filepath=str(tmp_path / "effects.csv"))
    dataset.save(table)
    expected = table.assign(verdict=["gain", None, "nan", "true"])
    pd.testing.assert_frame_equal(dataset.load(), expected, check_exact=True)


VALUES = [
    (JsonAtomicDataset, {"accuracy": 0.5}),
    (OptionalJsonDataset, {"topics": {}}),
    (HandleDataset, HANDLE),
    (HandlesDataset, {"sudoku": HANDLE}),
    (ParquetAtomicDataset, TABLE),
    (CsvAtomicDataset, TABLE),
    (TextAtomicDataset, "0.5 points"),
    (PngAtomicDataset, b"0.5 points"),
    (FigureDataset, go.Figure(go.Bar(x=["a"], y=[0.5]))),
]


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_a_changed_digit_is_seen(tmp_path: Path, caplog: Any, kind: Any, value: Any) -> None:
    """Rot that leaves a valid file: without a checksum it would be read as another result."""
    path = tmp_path / "file"
    kind(filepath=str(path)).save(value)
    flip_bit(path, path.read_bytes().find(b"5") if kind is not ParquetAtomicDataset else 60, 0)
    if kind is OptionalJsonDataset:
        replace_bytes(path, b"{}")
        assert kind(filepath=str(path)).load() == {}
        assert "differs from its checksum" in caplog.text
        return
    said = r"file is damaged \(it differs from its checksum\); delete it and run the pipeline that"
    with pytest.raises(DatasetError, match=said):
        kind(filepath=str(path)).load()


def test_a_file_without_a_note_is_read_as_it_is(tmp_path: Path) -> None:
    """The kept files of a reference study lie in git, without notes."""
    (tmp_path / "file").write_text('{"a": 1}')
    assert JsonAtomicDataset(filepath=str(tmp_path / "file")).load() == {"a": 1}


def test_equal_values_are_equal_files(tmp_path: Path) -> None:
    for name, value in {"one": {"a": 1, "b": 2}, "two": {"b": 2, "a": 1}}.items():
        JsonAtomicDataset(filepath=str(tmp_path / name)).save(value)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (JsonAtomicDataset, b'{"a": [1, 2'),
        (HandleDataset, b"[1, 2]"),
        (HandlesDataset, b'{"sudoku": {"tabel": "0"}}'),
        (ParquetAtomicDataset, b"PAR1 cut"),
        (CsvAtomicDataset, b""),
        (TextAtomicDataset, b"\xff\xfe\xfa"),
        (FigureDataset, b"{"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, kind: Any, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"file is damaged .*delete it and run the pipeline that"
    ):
        kind(filepath=str(path)).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="scores does not exist; run the pipeline"):
        ParquetAtomicDataset(filepath=str(tmp_path / "scores")).load()

    with pytest.raises(DatasetError, match="figure does not exist; run the pipeline"):
        FigureDataset(filepath=str(tmp_path / "figure")).load()


def test_a_failed_save_leaves_the_old_content(tmp_path: Path) -> None:
    dataset = JsonAtomicDataset(filepath=str(tmp_path / "file"))
    dataset.save({"a": 1})
    with pytest.raises(DatasetError):
        dataset.save({"a": object()})
    assert dataset.load() == {"a": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checksums", "file"]


def test_a_handle_holds_what_a_step_made_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    HandleDataset(filepath=str(path)).save(TaskHandle(task="sudoku", views="v"))
    assert json.loads(path.read_text()) == {"task": "sudoku", "views": "v"}
    HandlesDataset(filepath=str(path)).save({"sudoku": HANDLE})
    assert json.loads(path.read_text()) == {"sudoku": {"table": HANDLE.table}}
    with pytest.raises(DatasetError):
        HandleDataset(filepath=str(path)).save(["key"])


def test_long_json_is_cut_in_the_preview(tmp_path: Path) -> None:
    dataset = JsonAtomicDataset(filepath=str(tmp_path / "file"))
    dataset.save({"a": 1})
    assert json.loads(str(dataset.preview())) == {"a": 1}
    dataset.save({"a": "x" * 50_000})
    assert len(str(dataset.preview())) < 25_000


def test_a_preview_of_what_is_not_there_yet_is_a_sentence(tmp_path: Path) -> None:
    """Kedro-Viz would warn once for every file of a study that has not been run."""
    assert "run the pipeline" in str(JsonAtomicDataset(filepath=str(tmp_path / "a")).preview())
    table = CsvAtomicDataset(filepath=str(tmp_path / "b")).preview()
    assert "run the pipeline" in table["data"][0][0]
    figure = FigureDataset(filepath=str(tmp_path / "c")).preview()
    assert "run the pipeline" in figure["layout"]["annotations"][0]["text"]
    picture = base64.b64decode(str(PngAtomicDataset(filepath=str(tmp_path / "d")).preview()))
    assert Image.open(io.BytesIO(picture)).size == (1, 1)


def test_a_figure_comes_back_and_can_be_previewed(tmp_path: Path) -> None:
    dataset = FigureDataset(filepath=str(tmp_path / "figure.json"))
    bar = go.Bar(x=["a"], y=[0.5], error_y={"array": [0.1], "color": BLACK})
    dataset.save(finish(go.Figure(bar), "a title", height=300))
    assert dataset.load().data[0].y == (0.5,)
    assert dataset.load().data[0].error_y.color == BLACK
    shown = dataset.preview()
    assert shown["data"][0]["type"] == "bar"
    assert shown["layout"]["title"]["text"] == "a title"
    # Kedro-Viz puts the figure on black or on white paper, whatever it says.
    drawn = {color.lower() for color in re.findall(r'"(#[0-9A-Fa-f]{6})"', json.dumps(shown))}
    hidden = {color for color in drawn if min(contrast(color, "#111111"), contrast(color)) < 2}
    assert hidden <= {
        color.lower() for color in (ORANGE, SKY, YELLOW)
    }  # colours of arms, seen on white too


def contrast(color: str, paper: str = "#ffffff") -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(text: str) -> float:
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(color), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe"])
def test_a_damaged_optional_file_stops_nobody(tmp_path, caplog, content) -> None:
    path = tmp_path / "findings.json"
    path.write_bytes(content)
    assert OptionalJsonDataset(str(path)).load() == {}
    (said,) = [r.getMessage() for r in caplog.records if "findings.json" in r.getMessage()]
    assert said.endswith("left out of this run.")
