"""What a finished study keeps: the same curves as its report draws."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from hybrid_pipeline.report.assemble import LOSS_POINTS, _curves

SCRIPT = Path(__file__).parents[2] / "benchmarks/make_reference.py"


def script():
    spec = importlib.util.spec_from_file_location("make_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_thinned_losses_draw_the_same_curves():
    rng, made = np.random.default_rng(0), script()
    assert made.LOSS_POINTS == LOSS_POINTS
    name = {"arm": "arm_1_baseline", "seed": 0, "task": "maze"}
    updates = pd.DataFrame({**name, "step": np.arange(1, 801), "loss": rng.random(800)})
    validations = pd.DataFrame({**name, "step": [400, 800], "score": [0.4, 0.5]})
    small = made.thinned(updates)
    assert len(small) < 70
    assert list(_curves(validations, small)) == list(_curves(validations, updates))


def test_a_study_that_is_not_there(tmp_path, capsys):
    assert script().main(["none", str(tmp_path / "x"), "--data", str(tmp_path)]) == 2
    assert "there is no finished study" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
