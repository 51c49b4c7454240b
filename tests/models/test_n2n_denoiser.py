"""Noisy against clean targets in image space, the check of the Noise2Noise paper, in small."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "noise2noise_denoiser.py"


@pytest.fixture(scope="module")
def benchmark_module():
    spec = importlib.util.spec_from_file_location("noise2noise_denoiser", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_noisy_targets_denoise_as_well_as_clean_ones(benchmark_module):
    outcome = benchmark_module.run(seed=1, num_steps=150)
    assert outcome.noisy_targets - outcome.noisy_input > 3.0  # dB: it denoises at all
    assert abs(outcome.gap) < 0.2
