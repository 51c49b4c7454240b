"""Which nodes want a GPU, and what is refused where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kedro.pipeline import Node

from hybrid_pipeline.config import ConfigError, TrainingConfig
from hybrid_pipeline.kedro_ext import devices
from hybrid_pipeline.kedro_ext.dask.runner import DaskRunner
from hybrid_pipeline.kedro_ext.devices import check_devices
from hybrid_pipeline.training import cards
from hybrid_pipeline.training.cards import Card, Cards
from hybrid_pipeline.training.precision import make_deterministic
from project_conf import pipelines_of

ROOT = Path(__file__).parents[2]
T4 = Card("Tesla T4", int(14.56 * 2**30), (7, 5), has_bf16=False)
ON_GPU = {"clip": {"device": "cuda"}, "training": {"device": "cuda"}}


def with_cards(*found: Card) -> Cards:
    return Cards(found, cuda="13.0", architectures=("sm_75", "sm_80", "sm_90"), driver=580)


def test_cuda_without_a_gpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for group in ON_GPU:
        with pytest.raises(ConfigError, match=rf"'{group}.device' = 'cuda'.*cpu, auto"):
            check_devices({group: {"device": "cuda"}}, {"gpu"}, "SequentialRunner")


def test_nothing_is_refused_where_it_could_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_devices(ON_GPU, {"cell"}, "SequentialRunner")  # a review trains nothing
    check_devices({"training": {"device": "auto"}}, {"gpu"}, "SequentialRunner")
    check_devices(ON_GPU, {"gpu"}, str(DaskRunner(scheduler="tcp://10.0.0.1:8786")))
    with pytest.raises(ConfigError):
        check_devices(ON_GPU, {"gpu"}, str(DaskRunner()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert check_devices(ON_GPU, {"gpu"}, "SequentialRunner", lambda: with_cards(T4)) == T4


def test_a_visible_card_that_torch_cannot_use_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA_VISIBLE_DEVICES names a card; torch has the last word."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = Cards(problem="CUDA unknown error.", cuda="13.0", driver=590)
    with pytest.raises(ConfigError, match=r"torch can use no GPU here \(CUDA unknown error\);"):
        check_devices(ON_GPU, {"gpu"}, "SequentialRunner", lambda: found)


@pytest.mark.parametrize(
    "found",
    [
        Cards(problem="The NVIDIA driver on your system is too old", cuda="13.0", driver=535),
        Cards(problem="No CUDA GPUs are available", cuda="13.0", driver=535),
    ],
)
def test_a_driver_that_is_too_old_is_named(
    found: Cards, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    said = r"driver 535 is too old for this torch.*CUDA 13.0 and needs a driver 580 or newer"
    with pytest.raises(ConfigError, match=said):
        check_devices(ON_GPU, {"gpu"}, "SequentialRunner", lambda: found)
    auto = {"clip": {"device": "auto"}, "training": {"device": "auto"}}
    assert check_devices(auto, {"gpu"}, "SequentialRunner", lambda: found) is None
    assert [r.message for r in caplog.records if "computes on the CPU" in r.message] == [
        f"device 'auto' computes on the CPU: {devices._problem(found)}."
    ]


def test_a_card_that_this_torch_holds_no_code_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    p100 = replace(T4, name="Tesla P100", capability=(6, 0))
    with pytest.raises(ConfigError, match=r"no code for Tesla P100 \(sm_60\), only for sm_75"):
        check_devices(ON_GPU, {"gpu"}, "SequentialRunner", lambda: with_cards(p100))
    ada = replace(T4, capability=(8, 9))
    assert with_cards(ada).has_code_for(ada)  # sm_80 runs on 8.9
    newer = replace(T4, capability=(15, 0))
    assert not with_cards(newer).has_code_for(newer)
    translated = Cards((newer,), architectures=("sm_75", "compute_120"))
    assert translated.has_code_for(newer)


def test_bf16_is_refused_where_it_is_only_imitated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    h100 = replace(T4, name="H100", capability=(9, 0), has_bf16=True)
    for device in ("cuda", "auto"):
        parameters = {"training": {"device": device, "precision": "bf16"}}
        with pytest.raises(ConfigError, match=r"Tesla T4 has no bf16.*allowed here: fp32, fp16"):
            check_devices(parameters, {"gpu"}, "SequentialRunner", lambda: with_cards(T4))
        check_devices(parameters, {"gpu"}, "SequentialRunner", lambda: with_cards(h100))
    assert sum("not bit for bit" in r.message for r in caplog.records) == 2  # once per run


def test_torch_is_asked_about_its_cards_by_their_properties(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    properties = SimpleNamespace(name="Tesla T4", total_memory=15 * 2**30, major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    found = cards.describe()
    assert found.cards == (Card("Tesla T4", 15 * 2**30, (7, 5), has_bf16=False),)
    assert Cards.from_json(json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_the_other_process_says_why() -> None:
    found = cards.ask()
    assert found.cards == ()
    assert found.problem
    assert not found.driver_is_too_old


def test_the_driver_is_read_where_the_kernel_names_it(tmp_path: Path) -> None:
    file = tmp_path / "version"
    assert cards.driver_version(file) is None
    for line, number in (
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat", 535),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release", 580),
    ):
        file.write_text(line)
        assert cards.driver_version(file) == number


def test_torchs_warnings_about_determinism_do_not_repeat(restored_threads: None) -> None:
    config = TrainingConfig(lr_warmup_ratio=0.1, device="cuda")
    texts = (
        "upsample_bilinear2d_backward_cuda does not have a deterministic implementation, but you",
        "Deterministic behavior was enabled [...] set CUBLAS_WORKSPACE_CONFIG=:4096:8",
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        make_deterministic(config)
        for text in texts:
            warnings.warn(text, UserWarning, stacklevel=1)
        warnings.warn("another", UserWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["another"]


@pytest.fixture
def restored_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(True)


@pytest.mark.parametrize(
    ("devices", "tagged"),
    [
        (("cpu", "cpu"), {"cache_features": False, "train": False}),
        (("cuda", "cpu"), {"cache_features": True, "train": False}),
        (("cpu", "auto"), {"cache_features": False, "train": True}),
    ],
)
@pytest.mark.parametrize("name", ["ablation", "hybrid_training", "stability"])
def test_the_nodes_that_compute_on_a_gpu_say_so(
    name: str,
    devices: tuple[str, str],
    tagged: dict[str, bool],
) -> None:
    changes = {"clip": {"device": devices[0]}, "training": {"device": devices[1]}}
    nodes = pipelines_of("base", **changes)[name].nodes

    def last(node: Node) -> str:
        return str(node.name.rpartition(".")[2])

    for start, wants in tagged.items():
        assert {"gpu" in n.tags for n in nodes if last(n).startswith(start)} == {wants}, start
    others = [n for n in nodes if not last(n).startswith(tuple(tagged))]
    assert not any("gpu" in node.tags for node in others)


@pytest.mark.slow
def test_the_t4_profile_is_refused_before_any_work_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kedro", "run", "--env", "t4", "--pipeline", "hybrid_training",
               "--params", f"storage.root={tmp_path}"]  # fmt: skip
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert "'clip.device' = 'cuda' is refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.parquet"))
