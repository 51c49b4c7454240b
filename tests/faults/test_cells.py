"""A damaged cell or checkpoint is set aside with one warning, and the cell is made again, equal."""

from __future__ import annotations

import io
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from damage import flip_bit, flip_bytes, replace_bytes, set_aside_of, truncate, zero_half
from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.storage import DamagedError, Workspace, write_noted
from hybrid_pipeline.training import cell as cell_module
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from hybrid_pipeline.training.result import Cell
from hybrid_pipeline.training.study import load_scores
from toy_study import named, toy_spec, without_seconds

SPEC = toy_spec(named("arm_5_coconut"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished cell with every file a cell can have."""
    root = tmp_path_factory.mktemp("cells")
    return root, run_cell(SPEC, data, root)


@pytest.fixture(scope="module")
def interrupted(data, tmp_path_factory):
    """A cell with a label-free stage that was stopped after its first checkpoint."""
    root = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_module.Trainer, "_after_update", stop_after_checkpoint)
        with pytest.raises(KeyboardInterrupt):
            run_cell(SPEC, data, root)
    assert (root / SPEC.key(data) / "checkpoint.pt").exists()
    return root


def test_a_second_worker_waits_for_a_cell_and_reads_it(data, tmp_path, monkeypatch) -> None:
    """Two arms may have a cell in common, and two runs a data folder."""
    spec, trained = toy_spec(named("arm_1_baseline")), []
    train = cell_module._train
    monkeypatch.setattr(cell_module, "_train", lambda *a: trained.append(1) or train(*a))
    together = threading.Barrier(2)

    def work(_: int):
        together.wait()
        return run_cell(spec, data, tmp_path)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(work, range(2))
    assert one == other
    assert trained == [1]
    assert set_aside_of(tmp_path) == []


real_after_update = cell_module.Trainer._after_update


def stop_after_checkpoint(trainer, done: int) -> None:
    real_after_update(trainer, done)
    if trainer.checkpoint.exists():
        raise KeyboardInterrupt


def of(result) -> dict:
    """All that a result says but its times."""
    return without_seconds(result.model_dump())


def copied(root: Path, tmp_path: Path, data) -> Path:
    shutil.copytree(root, tmp_path / "copy")
    return tmp_path / "copy" / SPEC.key(data)


def invert_correct(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame["correct"] = 1 - frame["correct"]
    path.unlink()
    frame.to_parquet(path, index=False)


def change_a_digit(path: Path) -> None:
    text = path.read_text()
    place = text.index("0.", text.index("test_score")) + 2
    digit = str((int(text[place]) + 1) % 10)
    replace_bytes(path, (text[:place] + digit + text[place + 1 :]).encode())
    json.loads(path.read_text())


def is_made_again(data, folder: Path, result, caplog, name: str) -> None:
    again = run_cell(SPEC, data, folder.parent)
    assert of(again) == of(result)
    assert set_aside_of(folder.parent.parent) == [f"{folder.name}.damaged"]
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.startswith(str(folder / name))
    assert said.endswith(f"set aside as {folder.name}.damaged; the cell is trained again")
    caplog.clear()
    assert of(run_cell(SPEC, data, folder.parent)) == of(result)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "damage"), [("scores.parquet", invert_correct), ("result.json", change_a_digit)]
)
def test_a_damaged_cell_is_trained_again(data, finished, tmp_path, caplog, name, damage) -> None:
    root, result = finished
    folder = copied(root, tmp_path, data)
    damage(folder / name)
    is_made_again(data, folder, result, caplog, name)


def test_damage_in_any_file_of_a_cell_is_seen(data, finished, tmp_path, monkeypatch) -> None:
    root, _ = finished
    names = sorted(p.name for p in (root / SPEC.key(data)).iterdir())
    assert len(names) > 6
    monkeypatch.setattr(cell_module, "build_model", stopped)
    for number, name in enumerate(names):
        for damage in (flip_bytes, zero_half, Path.unlink):
            folder = copied(root, tmp_path / f"{number}{damage.__name__}", data)
            damage(folder / name)
            with pytest.raises(Stopped):
                run_cell(SPEC, data, folder.parent)


class Stopped(Exception):
    """In place of a training."""


def stopped(*args, **kwargs):
    raise Stopped


def test_the_report_names_a_damaged_cell(data, finished, tmp_path) -> None:
    root, result = finished
    storage = StorageConfig(root=str(tmp_path))
    shutil.copytree(root, Workspace(storage.root).cells)
    cell = Cell(arm="arm_5_coconut", seed=0, results=(result,))
    assert len(load_scores([cell], storage)) == 12
    path = Workspace(storage.root).cells / SPEC.key(data) / "scores.parquet"
    invert_correct(path)
    with pytest.raises(DamagedError, match=r"scores.parquet differs from its checksum: run the"):
        load_scores([cell], storage)
    path.unlink()
    with pytest.raises(DamagedError, match=r"scores.parquet is missing: run the"):
        load_scores([cell], storage)


def test_a_cell_killed_before_it_was_sealed_is_finished(data, finished, tmp_path, monkeypatch):
    """Between any two of its last writes: nothing is trained further, nothing ends in an error."""
    _, result = finished
    for number, write in enumerate(("_keep_weights", "seal")):
        root = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cell_module, write, killed)
            with pytest.raises(KeyboardInterrupt):
                run_cell(SPEC, data, root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cell_module.Trainer, "_update", stopped)
            assert of(run_cell(SPEC, data, root)) == of(result)
        assert set_aside_of(root) == []


def killed(*args, **kwargs):
    raise KeyboardInterrupt


def rewritten(path: Path, change) -> None:
    """The checkpoint with another content, saved as if the run had written it."""
    state = torch.load(path, weights_only=True)
    change(state)
    write_noted(path, lambda file: torch.save(state, file))


def with_nan(state) -> None:
    next(iter(state["parts"]["model"].values())).view(-1)[0] = np.nan


def with_infinite_average(state) -> None:
    name = next(n for n, t in state["parts"]["ema"].items() if t.dim())
    state["parts"]["ema"][name].view(-1)[-1] = np.inf


def without_a_part(state) -> None:
    del state["parts"]["optimizer"]


def of_another_shape(state) -> None:
    name = next(n for n, t in state["parts"]["model"].items() if t.dim() == 2)
    state["parts"]["model"][name] = state["parts"]["model"][name][:, :-1].clone()


CHECKPOINTS = {
    "one flipped bit": lambda p: flip_bit(p, p.stat().st_size // 2, 3),
    "no bytes": lambda p: truncate(p, 0),
    "a cut end": lambda p: truncate(p, p.stat().st_size // 2),
    "no zip": lambda p: replace_bytes(p, b"half a file"),
    "NaN in the weights": lambda p: rewritten(p, with_nan),
    "infinite averages": lambda p: rewritten(p, with_infinite_average),
    "no optimizer": lambda p: rewritten(p, without_a_part),
    "another shape": lambda p: rewritten(p, of_another_shape),
    "no step": lambda p: rewritten(p, lambda state: state.pop("step")),
    "no moments": lambda p: rewritten(p, lambda s: s["parts"]["optimizer"].pop("param_groups")),
    "a list": lambda p: write_noted(p, lambda file: torch.save([1, 2], file)),
    "a pickled function": lambda p: write_noted(p, lambda file: torch.save(print, file)),
}


def small_parts() -> dict:
    """A model with moments and averages of its own."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "model": model,
        "optimizer": optimizer,
        "ema": torch.optim.swa_utils.AveragedModel(model),
    }


@pytest.mark.parametrize("damage", CHECKPOINTS)
def test_a_damaged_checkpoint_is_named(tmp_path, damage) -> None:
    path, parts = tmp_path / "checkpoint.pt", small_parts()
    save_checkpoint(path, 3, parts, {"skipped": 0})
    assert load_checkpoint(path, small_parts()) == (3, {"skipped": 0})
    CHECKPOINTS[damage](path)
    with pytest.raises(DamagedError, match=r"checkpoint.pt (differs|holds|is no|does not fit)"):
        load_checkpoint(path, parts)


@pytest.mark.parametrize("damage", ["one flipped bit", "NaN in the weights"])
def test_a_damaged_checkpoint_is_trained_anew(
    data, finished, interrupted, tmp_path, caplog, damage
) -> None:
    folder = copied(interrupted, tmp_path, data)
    CHECKPOINTS[damage](folder / "checkpoint.pt")
    again = run_cell(SPEC, data, folder.parent)
    assert of(again) == of(finished[1])
    assert set_aside_of(folder) == ["checkpoint.pt.damaged"]
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.startswith(f"{folder / 'checkpoint.pt'} ")
    assert said.endswith("; the cell is trained from its start")
    for name in ("scores.parquet", "weights.safetensors", "policy.safetensors"):
        whole = (finished[0] / folder.name / name).read_bytes()
        assert (folder / name).read_bytes() == whole


@pytest.mark.parametrize("name", ["stage.json", "weights.safetensors"])
def test_a_damaged_adapter_is_fitted_again(
    data, finished, interrupted, tmp_path, caplog, name
) -> None:
    folder = copied(interrupted, tmp_path, data)
    (kept,) = (folder.parent / "stages").glob("[!.]*")
    flip_bytes(kept / name, 1)
    again = run_cell(SPEC, data, folder.parent)
    assert of(again) == of(finished[1])
    assert set_aside_of(folder.parent) == [f"{kept.name}.damaged"]
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.endswith("the adapter is fitted again")


def test_one_flipped_bit_anywhere_in_a_checkpoint_is_seen(tmp_path) -> None:
    path, part = tmp_path / "checkpoint.pt", torch.nn.Linear(2, 2)
    save_checkpoint(path, 3, {"model": part}, {"skipped": 0})
    rng = np.random.default_rng(0)
    for place in rng.choice(path.stat().st_size, 200, replace=False):
        bit = int(rng.integers(8))
        flip_bit(path, int(place), bit)
        with pytest.raises(DamagedError, match="differs from its checksum"):
            load_checkpoint(path, {"model": part})
        flip_bit(path, int(place), bit)
    assert load_checkpoint(path, {"model": part}) == (3, {"skipped": 0})


def test_a_checkpoint_stays_what_torch_reads(tmp_path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, 3, {"model": torch.nn.Linear(2, 2)}, {})
    assert torch.load(io.BytesIO(path.read_bytes()), weights_only=True)["step"] == 3
