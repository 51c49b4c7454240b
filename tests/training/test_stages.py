"""A label-free stage is fitted once for all arms and lengths of a seed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hybrid_pipeline.arms import Arm, find_arm
from hybrid_pipeline.components import Control
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.training import stages as module
from hybrid_pipeline.training.stages import run_stages
from toy_study import SHAPE, toy_data, toy_spec


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_data(tmp_path_factory.mktemp("data"))


def fitted(data, root, arm, seed=0, length=1.0):
    spec = toy_spec(find_arm(arm), seed=seed).at(length)
    model = build_model(spec.arm, spec.model, SHAPE, seed=seed)
    stage = run_stages(spec, data, model, root)
    return stage, model.encoder.adapters["n2n"]


def equal(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_arms_and_lengths_of_a_seed_share_an_adapter(data, tmp_path, monkeypatch):
    first, adapter = fitted(data, tmp_path, "arm_3_n2n")
    alone, refitted = fitted(data, tmp_path / "elsewhere", "arm_5_coconut", length=0.5)
    assert equal(adapter, refitted)
    assert alone.metrics == first.metrics
    monkeypatch.setattr(module, "resolve", None)  # nothing is fitted again
    for arm, length in (("arm_4_trm", 1.0), ("arm_5_coconut", 0.5)):
        again, read = fitted(data, tmp_path, arm, length=length)
        assert again == first
        assert equal(adapter, read)
        assert not any(p.requires_grad for p in read.parameters())


def test_another_seed_has_an_adapter_of_its_own(data, tmp_path):
    _, one = fitted(data, tmp_path, "arm_3_n2n")
    _, other = fitted(data, tmp_path, "arm_3_n2n", seed=1)
    assert not equal(one, other)


def test_a_damaged_adapter_is_fitted_again(data, tmp_path, caplog):
    first, adapter = fitted(data, tmp_path, "arm_3_n2n")
    (path,) = tmp_path.glob("*/weights.safetensors")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    again, refitted = fitted(data, tmp_path, "arm_3_n2n")
    assert "fitted again" in caplog.text
    assert equal(adapter, refitted)
    assert again.metrics == first.metrics


def test_cells_beside_one_another_fit_an_adapter_once(data, tmp_path, monkeypatch):
    """Under a runner with several workers the arms of a seed begin together."""
    fits, together = [], threading.Barrier(2)

    def resolve(name):
        fits.append(name)
        return real_resolve(name)

    def work(arm):
        together.wait()
        return fitted(data, tmp_path, arm)

    real_resolve = module.resolve
    monkeypatch.setattr(module, "resolve", resolve)
    with ThreadPoolExecutor(2) as pool:
        (one, _), (other, _) = pool.map(work, ("arm_3_n2n", "arm_5_coconut"))
    assert one == other
    assert len(fits) == 1
    assert len(list(tmp_path.glob("[!.]*"))) == 1


def test_arms_without_an_adapter_have_no_stage(data, tmp_path):
    spec = toy_spec(find_arm("arm_2_clip"))
    model = build_model(spec.arm, spec.model, SHAPE, seed=0)
    assert run_stages(spec, data, model, tmp_path).metrics == {}
    assert list(tmp_path.iterdir()) == []


def test_a_control_with_other_parameters_has_an_adapter_of_its_own(data, tmp_path):
    fitted(data, tmp_path, "arm_3_n2n")
    arm = find_arm("arm_3_n2n")
    deeper = Control("deeper", "two blocks", beside="n2n", settings={"n2n.depth": 2})
    spec = toy_spec(Arm("control_deeper", arm.components, deeper))
    model = build_model(spec.arm, spec.model, SHAPE, seed=0)
    run_stages(spec, data, model, tmp_path)
    assert len(model.encoder.adapters["n2n"].blocks) == 2
    assert len(list(tmp_path.glob("[!.]*"))) == 2
