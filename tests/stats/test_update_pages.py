"""The scripts that put a study's tables into the pages refuse in one sentence."""

import importlib.util
from pathlib import Path

import pytest

from hybrid_pipeline.arms import arms_of_design
from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.stats.analysis import Study, analyse

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "controls.md"
    path.write_text("before\n<!-- controls:start -->\nold\n<!-- controls:end -->\nafter\n")
    return path


@pytest.fixture
def study(make_table, chain, tmp_path):
    def write(controls):
        accuracies = {**dict.fromkeys(chain, 0.6), **dict.fromkeys(controls, 0.3)}
        table, fast = make_table(accuracies, seed_sd=0.01), EvaluationConfig(num_resamples=100)
        results = analyse(Study(table, list(accuracies), fast, controls=controls))
        path = tmp_path / "study_results.json"
        path.write_text(results.to_json())
        return path, results

    return write


def refused(main, arguments, capsys):
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_controls_go_between_the_markers(page, study):
    path, results = study({"control_deep_core": "arm_4_trm"})
    arguments = ["--results", str(path), "--pages", str(page.parent)]
    assert script("update_pages").main(arguments) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- controls:start -->\nSeeds 0, 1, 2; 100 test examples")
    assert text.endswith("<!-- controls:end -->\nafter\n")
    row = results.controls[0]
    assert 0 < row.p_adjusted < 1e-3
    assert "| <.001 | beats its control |" in text


def test_a_factorial_design_goes_into_its_own_page(tmp_path, make_table):
    arms = arms_of_design(AblationConfig(design="factorial"))
    values = {arm.name: 0.4 + 0.1 * ("trm" in arm.components) for arm in arms}
    table, fast = make_table(values, seed_sd=0.0), EvaluationConfig(num_resamples=100)
    sets = {arm.name: arm.components for arm in arms}
    path, page = tmp_path / "study_results.json", tmp_path / "ablation-design.md"
    path.write_text(analyse(Study(table, list(values), fast, sets)).to_json())
    page.write_text("before\n<!-- factorial:start --><!-- factorial:end -->\nafter\n")
    arguments = ["--results", str(path), "--pages", str(tmp_path)]
    assert script("update_pages").main(arguments) == 0
    lines = page.read_text().splitlines()
    subsets = [line for line in lines if "| 50.0 | 50.0 [" in line or "| 40.0 | 40.0 [" in line]
    assert len(subsets) == 12  # N2N needs CLIP
    assert subsets[0].startswith("| 1 Custom ViT | 40.0 |")
    assert [line for line in subsets if line.startswith("| TRM + COCONUT | 50.0 |")]
    (share,) = (line for line in lines if line.startswith("| TRM | mean | "))
    assert share.count("+10.0 [") == 2  # the share, and added last
    (total,) = (line for line in lines if line.startswith("| mean | 1.25 ["))
    assert "| 1.25 | +0.00 [" in total or "| 1.25 | -0.00 [" in total


def test_controls_without_a_study(page, tmp_path, capsys):
    main = script("update_pages").main
    old = page.read_text()
    error = refused(main, ["--results", tmp_path / "none.json", "--pages", page.parent], capsys)
    assert error.startswith(f"there is no study in {tmp_path / 'none.json'}: run")
    assert page.read_text() == old


def test_a_study_without_controls_leaves_the_page(page, study, capsys):
    old = page.read_text()
    path, _ = study({})
    error = refused(
        script("update_pages").main, ["--results", path, "--pages", page.parent], capsys
    )
    assert "has no controls and no factorial design" in error
    assert page.read_text() == old


def test_a_page_without_markers(page, study, capsys):
    page.write_text("nothing")
    path, _ = study({"control_deep_core": "arm_4_trm"})
    error = refused(
        script("update_pages").main, ["--results", path, "--pages", page.parent], capsys
    )
    assert "once each" in error


def test_the_readme_without_a_study(tmp_path, capsys):
    error = refused(script("update_readme").main, ["--data", tmp_path], capsys)
    assert error.startswith("there is no study in ")
    assert error.endswith("run `make ablation` first.\n")
