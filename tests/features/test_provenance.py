"""What can be known about a checkpoint, from real open_clip tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features import clip
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.provenance import check_activation, plain_names, recorded_facts

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1},
}


def facts(name: str, model: str) -> dict[str, Any]:
    tags = {
        tag: dict(get_pretrained_cfg(model, tag))
        for tag in open_clip.list_pretrained_tags_by_model(model)
    }
    return recorded_facts(Path(name), open_clip.get_model_config(model), tags)


def test_what_all_releases_agree_on_is_taken() -> None:
    siglip = facts("my.pt", "ViT-B-16-SigLIP")
    assert (siglip["mean"], siglip["std"]) == ((0.5,) * 3, (0.5,) * 3)
    assert "quick_gelu" not in facts("my.pt", "ViT-B-32")  # OpenAI's has it, LAION-2B's has not


def test_releases_that_differ_need_the_config_beside_the_file() -> None:
    with pytest.raises(ConfigError, match=r"put its open_clip_config.json beside it"):
        facts("my.pt", "ViT-L-14")
    assert facts("ViT-L-14.pt", "ViT-L-14")["quick_gelu"]  # OpenAI's, by name


def test_gelu_weights_are_refused_by_a_quick_gelu_model() -> None:
    with pytest.raises(ConfigError, match=r"with GELU.* uses QuickGELU; set clip.model to 'A'"):
        check_activation({"quick_gelu": True}, {"quick_gelu": False}, "A-quickgelu", "x.pt")
    check_activation({"quick_gelu": True}, {}, "A-quickgelu", "x.pt")


def test_a_hub_tower_takes_the_preprocessing_of_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0), "interpolation": "bilinear"}
    torch.save(open_clip.CLIP(**TINY).state_dict(), tmp_path / "downloaded.pt")
    monkeypatch.setattr(clip, "get_pretrained_cfg", lambda *_: tag)
    monkeypatch.setattr(clip, "_model_config", lambda *_: TINY)
    monkeypatch.setattr(clip, "download_pretrained", lambda _: str(tmp_path / "downloaded.pt"))
    tower = load_tower(ClipConfig(source="hub", model="m", pretrained="t"))
    found = tower.source.preprocessing
    assert (found.mean, found.std, found.interpolation) == (
        (0.1, 0.2, 0.3),
        (1.0, 2.0, 3.0),
        "bilinear",
    )
    assert tower.name == "m:t"
    assert "m:t" in tower.disclosure


def test_a_tower_that_is_not_square_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "image_size": [32, 48]}}
    monkeypatch.setattr(clip, "_model_config", lambda *_: wide)
    (tmp_path / "w.pt").write_bytes(b"")
    torch.save(open_clip.CLIP(**wide).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="not square"):
        load_tower(ClipConfig(source="file", model="m", path=str(tmp_path / "w.pt")))


@pytest.mark.parametrize(
    "name", ["_orig_mod.visual.w", "module.visual.w", "module._orig_mod.visual.w",
             "_orig_mod.module.visual.w", "visual._orig_mod.w", "visual.w"]
)  # fmt: skip
def test_names_without_what_compiling_and_ddp_add(name):
    assert plain_names({name: 1, name.replace("visual", "text"): 2}) == {"visual.w": 1, "text.w": 2}


def test_a_module_of_that_name_inside_the_model_stays():
    assert plain_names({"module.w": 1, "visual.w": 2}) == {"module.w": 1, "visual.w": 2}
    assert plain_names({}) == {}


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/vit_tiny_patch16_224", "hf_hub:x/y", "local-dir:/x", 3]
)
def test_a_model_file_that_names_a_hub_reaches_for_no_network(name, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    model = {**TINY, "vision_cfg": {"image_size": 32, "timm_model_name": name}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    config = ClipConfig(source="random", model="m.json")
    with pytest.raises(ConfigError, match="would be fetched from a hub"):
        load_tower(config, root=tmp_path)
