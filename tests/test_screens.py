"""The script that photographs the pages refuses a drawing whose arms stand out of order."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "docs/images/make_screens.py"


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_screens", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_screens", module)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_arms_from_left_to_right_pass_in_whatever_order_they_are_listed(screens):
    screens.check_order([("arm_2_clip", 240.0), ("arm_1_baseline", 12.5), ("arm_3_n2n", 400.0)])


def test_swapped_arms_are_refused_with_the_order_drawn(screens):
    places = [("arm_1_baseline", 0.0), ("arm_2_clip", 300.0), ("arm_3_n2n", 100.0)]
    with pytest.raises(ValueError, match="order: arm_1_baseline, arm_3_n2n, arm_2_clip"):
        screens.check_order(places)


def test_a_drawing_without_arms_is_refused(screens):
    with pytest.raises(ValueError, match="order: none"):
        screens.check_order([])


def test_the_picture_of_kedro_viz_is_checked(screens):
    assert screens.SHOTS["kedro_viz"].places == screens.ARM_PLACES
