"""Records that contradict themselves are refused."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from hybrid_pipeline.report.gallery import ExampleCard
from hybrid_pipeline.report.inputs import LearningCurve, ReportInputs
from hybrid_pipeline.stability.section import ExtraTable


def test_a_curve_needs_as_many_values_as_steps() -> None:
    with pytest.raises(ValidationError, match="validation has 1 values for 2 steps"):
        LearningCurve(arm="a", seed=0, task="t", steps=(0, 1), validation=(0.5,))


def test_an_extra_table_needs_full_rows() -> None:
    with pytest.raises(ValidationError, match="1 entries for 2 columns"):
        ExtraTable(title="t", columns=("a", "b"), rows=(("1",),))


@pytest.mark.parametrize("png", ["no base64!", base64.b64encode(b"GIF89a").decode()])
def test_an_example_must_be_a_png(png: str) -> None:
    with pytest.raises(ValidationError, match="image of 'maze'"):
        ExampleCard(
            task="maze", example=1, prompt="", grid=None, classes=(), truth=(), scored=(),
            views=(png,),
        )  # fmt: skip


def test_a_mistyped_field_is_refused(default_inputs: ReportInputs) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        ReportInputs.model_validate({**default_inputs.model_dump(), "verdict": "it works"})
