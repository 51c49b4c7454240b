"""The figures of the stability study in the report."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hybrid_pipeline.report.figures import BUILDERS, all_figures
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.render import render_html, render_markdown
from hybrid_pipeline.stability.section import ExtraFigure


def test_the_figures_stand_in_the_stability_section(full_inputs: ReportInputs) -> None:
    page = render_html(full_inputs)
    section = page[page.index('id="stability"') : page.index('id="claims"')]
    assert 'id="chart-stability_maze_loss"' in section
    assert 'data-chart="stability_maze_loss"' in section
    assert ">maze: training loss</h4>" in section
    assert "<figcaption>Training loss by update.</figcaption>" in section


def test_markdown_names_the_file_that_holds_them(full_inputs: ReportInputs) -> None:
    assert "Figure `figures/stability.json`: Training loss by update." in render_markdown(
        full_inputs
    )


def test_they_are_not_written_as_files_of_the_ablation(full_inputs: ReportInputs) -> None:
    assert set(all_figures(full_inputs)) == set(BUILDERS)


def test_a_name_must_serve_as_an_id() -> None:
    with pytest.raises(ValidationError, match="name"):
        ExtraFigure(name='a"b', caption="", figure={})
