"""Pretraining in miniature: it learns, repeats, resumes, and says what it did."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from damage import flip_bit, set_aside_of, truncate
from hybrid_pipeline.config import ClipConfig, ClipPretrainingConfig, ConfigError
from hybrid_pipeline.features import card, clip, pretrained_card, pretraining
from hybrid_pipeline.features.captions import OverlapError
from hybrid_pipeline.features.card import BUNDLED
from hybrid_pipeline.features.clip import build_clip, load_tower, read_card
from hybrid_pipeline.features.layouts import Layout
from hybrid_pipeline.features.pretrained_card import HeldOutAccuracy
from hybrid_pipeline.features.pretraining import learning_rate, model_config, pretrain
from hybrid_pipeline.features.prompts import prompt_text
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.storage import read_json, seal, write_noted

TINY = ClipPretrainingConfig(
    num_pairs=32 * 6,
    batch_size=32,
    vision_width=32,
    text_width=32,
    embed_dim=32,
    head_width=16,
    vision_layers=1,
    text_layers=1,
    mlp_ratio=1.0,
    stem_channels=(4, 4, 8),
    checkpoint_every_steps=2,
    num_evaluation_batches=2,
)


def paint(prompts: Sequence[str], ids: np.ndarray) -> np.ndarray:
    """Each character of the prompt is a bright square at its place, plus noise."""
    images = np.zeros((len(prompts), 16, 16), dtype=np.float64)
    for image, text, number in zip(images, prompts, ids, strict=True):
        codes = np.frombuffer(text.encode("ascii", "replace")[:256], dtype=np.uint8)
        image.ravel()[: len(codes)] = codes
        image += rng_for("test_paint", 0, int(number)).normal(0.0, 2.0, image.shape)
    return np.clip(images, 0, 255).astype(np.uint8)


def run(root: Path, config: ClipPretrainingConfig = TINY, **options: Any) -> Path:
    return pretrain(config, paint, root, image_size=16, painter_key="p", **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One uninterrupted run, with two threads allowed to the caller."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        folder = run(tmp_path_factory.mktemp("whole"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "tower.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_file(tmp_path: Path, whole: Path) -> None:
    assert weights(run(tmp_path / "again")) == weights(whole)
    assert weights(run(tmp_path / "other", TINY.model_copy(update={"seed": 1}))) != weights(whole)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interrupted_run_ends_with_the_same_file(
    tmp_path: Path, whole: Path, stop_at: int
) -> None:
    def stop(step: int, _num_steps: int, _loss: float) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", on_step=stop)
    seen: list[int] = []
    parts = run(tmp_path / "parts", on_step=lambda step, *_: seen.append(step))
    assert seen[0] == 2 * (stop_at // 2) + 1
    assert weights(parts) == weights(whole)
    assert not (parts / "checkpoint.pt").exists()


def test_a_finished_run_trains_nothing(tmp_path: Path) -> None:
    folder = run(tmp_path)

    def fail(*_: object) -> None:
        pytest.fail("a step was trained")

    assert run(tmp_path, on_step=fail) == folder
    (folder / "tower.safetensors").write_bytes(b"damaged")
    seen: list[int] = []
    run(tmp_path, on_step=lambda step, *_: seen.append(step))
    assert seen == [1, 2, 3, 4, 5, 6]


def test_it_learns(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"num_pairs": 32 * 80, "lr": 3e-3})
    losses: list[float] = []
    folder = run(tmp_path, config, on_step=lambda _s, _n, loss: losses.append(loss))
    found = read_card(folder / "tower.safetensors")["evaluation"]
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:3])
    assert found["top1"] > 3 / 32  # three times chance, on strings it has not seen


def test_the_card_says_what_happened(whole: Path) -> None:
    folder = whole
    card = read_json(folder / "card.json")
    assert card["num_steps"] == 6
    assert card["config"]["seed"] == 0
    assert set(card["versions"]) == {"torch", "open_clip_torch", "numpy"}
    assert card["num_bytes"] == (folder / "tower.safetensors").stat().st_size
    tensors = load_file(folder / "tower.safetensors")
    assert card["num_parameters"] == sum(t.numel() for t in tensors.values())
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    page = (folder / "card.md").read_text("utf-8")
    assert "not OpenAI's CLIP" in page
    assert f"{card['evaluation']['top1']:.3f}" in page


def test_the_result_is_a_tower(whole: Path) -> None:
    folder = whole
    config = ClipConfig(
        source="file", model=pretrained_card.NAME, path=str(folder / "tower.safetensors")
    )
    tower = load_tower(config)
    images = paint(["1234", "4321"], np.arange(2))
    model = build_clip(model_config(TINY, 16)).eval()
    state = {n: t.float() for n, t in load_file(folder / "tower.safetensors").items()}
    model.load_state_dict(state)
    model.visual.output_tokens = True  # type: ignore[union-attr]
    with torch.no_grad():
        _, tokens = model.visual(tower.source.preprocessing(images))  # type: ignore[operator]
    np.testing.assert_allclose(tower.encode(images), tokens, rtol=1e-5, atol=1e-5)


def test_a_string_of_a_task_stops_it(tmp_path: Path) -> None:
    prompt = prompt_text(pretraining.draw_batch(0, 4, 32, num_variants=1, edits=2)[7])
    with pytest.raises(OverlapError, match="is a task's example"):
        run(tmp_path, task_prompts=[prompt])


def test_a_loss_that_is_not_finite_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pretraining, "contrastive_loss", lambda: lambda *_: torch.tensor(float("nan"))
    )
    with pytest.raises(FloatingPointError, match="nan"):
        run(tmp_path)


def test_a_tower_beyond_two_megabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained_card, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 are allowed"):
        run(tmp_path)


def test_the_interval_is_students_over_batches() -> None:
    right = np.zeros((4, 10), dtype=bool)
    right[0, :5] = right[1, :7] = right[2, :6] = right[3, :6] = True
    found = HeldOutAccuracy.of(right, np.array([["text"] * 5 + ["grid"] * 5] * 4))
    margin = 3.182446 * np.std([0.5, 0.7, 0.6, 0.6], ddof=1) / 2
    assert found.top1 == pytest.approx(0.6)
    assert (found.low, found.high) == pytest.approx((0.6 - margin, 0.6 + margin), abs=1e-4)
    assert found.top1_by_kind == {"text": 1.0, "grid": 0.2}


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    config = ClipPretrainingConfig(lr=0.01, warmup_ratio=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == rates[9] == pytest.approx(0.01)
    assert rates[55] == pytest.approx(0.005, rel=0.02)
    assert rates[-1] < 1e-5


def test_matrices_decay_and_vectors_do_not() -> None:
    state = pretraining.new_state(TINY, 16)
    decayed, rest = state.optimizer.param_groups
    names = {id(p): n for n, p in state.model.named_parameters()}
    assert all(p.ndim >= 2 and "embedding" not in names[id(p)] for p in decayed["params"])
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(rest["params"]) == len(names)


def test_ids_of_views_never_repeat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[int] = []

    def recording(prompts: Sequence[str], ids: np.ndarray) -> np.ndarray:
        seen.extend(ids.tolist())
        return paint(prompts, ids)

    pretrain(TINY, recording, tmp_path, image_size=16, painter_key="p")
    first_batch_twice = TINY.batch_size  # once more for mean and std
    assert len(seen) - len(set(seen)) == first_batch_twice


def test_layouts_of_every_kind_are_drawn() -> None:
    layouts: list[Layout] = pretraining.draw_batch(0, 0, 128, num_variants=1, edits=2)
    assert {layout.kind for layout in layouts} == {"text", "grid", "walls"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"weights_key": "x"}'])
def test_a_damaged_card_of_a_tower_is_set_aside(tmp_path: Path, caplog, content: str) -> None:
    folder = tmp_path / "0123"
    folder.mkdir()
    for name in ("tower.safetensors", "card.json"):
        (folder / name).write_text("whole")
    seal(folder)
    (folder / "card.json").write_text(content)
    assert not pretrained_card.finished(folder)
    assert (tmp_path / "0123.damaged" / "card.json").read_text() == content
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.endswith("set aside as 0123.damaged; the tower is trained again")


DAMAGES = ["a changed weight", "a cut end", "another's state", "no note"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_of_a_pretraining_is_set_aside(
    tmp_path: Path, whole: Path, caplog, damage: str
) -> None:
    def stop(step: int, _num_steps: int, _loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=stop)
    (path,) = tmp_path.glob("*/checkpoint.pt")
    if damage == "a changed weight":
        state = torch.load(path, weights_only=True)
        state["model"]["logit_scale"] += 1
        torch.save(state, path)
    elif damage == "a cut end":
        truncate(path, path.stat().st_size - 100)
    elif damage == "another's state":
        write_noted(path, lambda file: torch.save({"model": {}, "optimizer": {}}, file))
    else:
        (path.parent / ".checksums" / path.name).unlink()
    seen: list[int] = []
    folder = run(tmp_path, on_step=lambda step, *_: seen.append(step))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert weights(folder) == weights(whole)
    assert set_aside_of(tmp_path) == ["checkpoint.pt.damaged"]
    (said,) = [r.getMessage() for r in caplog.records]
    assert said.endswith("the pretraining begins anew")


@pytest.mark.parametrize("damage", ["a flipped bit", "another's card", "a card of nothing"])
def test_a_tower_that_differs_from_its_card_is_refused(
    tmp_path: Path, whole: Path, damage: str
) -> None:
    """A flipped bit in a weight is a valid file of other numbers."""
    shutil.copytree(whole, tmp_path / "tower")
    path, beside = (tmp_path / "tower" / name for name in ("tower.safetensors", "card.json"))
    config = ClipConfig(source="file", model=pretrained_card.NAME, path=str(path))
    load_tower(config)
    if damage == "a flipped bit":
        flip_bit(path, path.stat().st_size - 40, 3)
    else:
        beside.write_text('{"weights_key": "0123"}' if damage == "another's card" else "{}")
    said = "differs from the weights that card.json names; export the tower again by the pipeline"
    nothing = "card.json is damaged .it names no weights_key.; export the tower again"
    with pytest.raises(ConfigError, match=nothing if damage == "a card of nothing" else said):
        load_tower(config)


def test_rot_in_the_bundled_tower_is_seen(tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(BUNDLED.parent, tmp_path / "bundled")
    rotten = tmp_path / "bundled" / BUNDLED.name
    monkeypatch.setattr(card, "BUNDLED", rotten)
    monkeypatch.setattr(clip, "BUNDLED", rotten)
    load_tower(ClipConfig())
    flip_bit(rotten, rotten.stat().st_size - 40, 3)
    with pytest.raises(ConfigError, match=r"differs from the weights .*install the package again"):
        load_tower(ClipConfig())
