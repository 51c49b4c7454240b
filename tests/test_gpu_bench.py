"""The bench of a GPU: its whole flow in tiny sizes on a CPU, and its refusal without a card."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hybrid_pipeline.arms import chain

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks/gpu_updates.py"
NOT_NEEDED = ("kedro", "kedro_datasets", "mlflow", "dask", "distributed", "plotly", "reasoning_gym")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("gpu_updates")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_sentence(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no CUDA card" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_flow_in_tiny_sizes(script: ModuleType, tmp_path: Path) -> None:
    assert script.main(["--device", "cpu", "--tiny", "--out", str(tmp_path)]) == 0
    (page,) = tmp_path.iterdir()
    assert page.name.startswith("gpu_a-cpu_")
    text = page.read_text("utf-8")
    assert "the figures say nothing" in text
    assert "Left out" not in text
    assert "Failed" not in text
    sections = text.split("\n## ")
    assert len(sections) == 1 + 6
    for arm in chain():
        assert sum(f"| {arm.name} |" in section for section in sections) == 2
    assert ": 0.0e+00" in text  # without a graph both ways are one
    assert "| whole node, int8 to disk |" in text
    assert "`conf/gpu` take" in text


def test_what_does_not_fit_and_what_is_late_are_said(script: ModuleType, tmp_path: Path) -> None:
    bench = script.Bench(torch.device("cpu"), script.SMALL, True, tmp_path, deadline=float("inf"))

    def full():
        yield "| a |"
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    bench.section("One", full)
    bench.deadline = float("-inf")
    bench.section("Two", full)
    assert bench.page == [
        "", "## One", "", "| a |", "Failed: CUDA out of memory. Tried to allocate.",
        "", "## Two", "", "Left out: the eight minutes were over.",
    ]  # fmt: skip
    assert bench.failed == ["One"]
    row = script.large_row(chain()[0], 192, False, 192, None, None)
    assert row == "| arm_1_baseline | 192 | no | - | out of memory | - | - | - |"


def test_a_page_is_named_by_card_and_day(script: ModuleType, tmp_path: Path) -> None:
    name = script.page_path(tmp_path, "NVIDIA H100 80GB HBM3 (x1)/").name
    assert name.startswith("gpu_nvidia-h100-80gb-hbm3-x1_20")


def test_it_needs_no_kedro() -> None:
    """Imported where those packages cannot be."""
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({NOT_NEEDED!r}));"
        f" sys.path.insert(0, {str(SCRIPT.parent)!r}); runpy.run_path({str(SCRIPT)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
