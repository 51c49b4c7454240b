import hashlib

import pandas as pd
import plotly.graph_objects as go

from cell_records import done
from hybrid_pipeline.pipelines.reporting.pipeline import FIGURES
from hybrid_pipeline.report.figures import BUILDERS
from hybrid_pipeline.report.render import render_html, render_markdown
from hybrid_pipeline.report.study import document_fingerprint
from hybrid_pipeline.report.timing import summary_text, training_minutes
from hybrid_pipeline.training.result import Cell


def record(arm, seed, seconds):
    results = tuple(done(arm, seed, task, seconds=s) for task, s in seconds.items())
    return Cell(arm=arm, seed=seed, results=results)


def test_minutes_are_means_over_seeds():
    records = [
        record("a", 0, {"x": 60, "y": 30}),
        record("a", 1, {"x": 120, "y": 30}),
        record("b", 0, {"x": 6, "y": 0}),
        Cell(arm="b", seed=1, not_run="why"),
        Cell(arm="a", seed=0, results=(done("a", 0, "x", seconds=9e9, length=0.25),)),
    ]
    assert training_minutes(records) == {"a": {"x": 1.5, "y": 0.5}, "b": {"x": 0.1, "y": 0.0}}


def minutes_of(inputs, value):
    tasks = {c.task for c in inputs.cells}
    return {c.arm: dict.fromkeys(tasks, value) for c in inputs.cells}


def test_times_are_in_the_terminal_only(default_inputs):
    page, text = render_html(default_inputs), render_markdown(default_inputs)
    assert "inutes" in summary_text(default_inputs, minutes_of(default_inputs, 1.25))
    for document in (page.partition("<script>")[0], text):
        assert "inutes" not in document


def test_the_terminal_gets_minutes_and_the_tower(default_inputs):
    text = summary_text(default_inputs, minutes_of(default_inputs, 2.0))
    assert "4.0" in text
    assert default_inputs.tower.sentence in text


def test_the_catalog_has_a_file_for_every_figure():
    assert tuple(BUILDERS) == FIGURES


def test_a_fingerprint_is_of_the_content():
    assert document_fingerprint("abc") == hashlib.sha256(b"abc").hexdigest()
    frames = [pd.DataFrame({"a": [1, value]}) for value in (2, 2, 3)]
    keys = [document_fingerprint(frame) for frame in frames]
    assert keys[0] == keys[1] != keys[2]
    assert document_fingerprint({"a": 1, "b": 2}) == document_fingerprint({"b": 2, "a": 1})
    figure = go.Figure(layout={"title": "x"})
    assert document_fingerprint(figure) == document_fingerprint(go.Figure(figure))
