"""Towers against open_clip's own forward, and the mismatches that must not pass in silence."""

from __future__ import annotations

import json
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features import clip
from hybrid_pipeline.features.clip import build_clip, load_tower
from hybrid_pipeline.features.sources import model_of

TEXT = {"context_length": 8, "vocab_size": 32, "width": 64, "heads": 1, "layers": 1}
NATIVE: dict[str, Any] = {
    "embed_dim": 40,
    "vision_cfg": {"image_size": 48, "patch_size": 16, "width": 64, "head_width": 16, "layers": 2},
    "text_cfg": TEXT,
}
TIMM: dict[str, Any] = {
    "embed_dim": 40,
    "vision_cfg": {
        "timm_model_name": "test_vit",
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": 160,
    },
    "text_cfg": TEXT,
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 64, 64), dtype=np.uint8)


def saved(folder: Path, model: dict[str, Any], name: str = "weights.pt") -> Any:
    """A random open_clip model, its config in model.json and its weights in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(model))
    torch.manual_seed(3)
    built = open_clip.CLIP(**model).eval()
    if name.endswith(".safetensors"):
        save_file(built.state_dict(), folder / name)
    else:
        torch.save(built.state_dict(), folder / name)
    return built


def file_config(folder: Path, name: str = "weights.pt", **more: Any) -> ClipConfig:
    return ClipConfig(
        source="file", model=str(folder / "model.json"), path=str(folder / name), **more
    )


def open_clips_input(images: np.ndarray, size: int) -> torch.Tensor:
    transform = image_transform_v2(PreprocessCfg(size=size), is_train=False)
    return torch.stack([transform(Image.fromarray(image)) for image in images])


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("model", [NATIVE, TIMM], ids=["native", "timm"])
def test_pooled_features_equal_encode_image(
    tmp_path: Path, images: np.ndarray, model: dict[str, Any], name: str
) -> None:
    built = saved(tmp_path, model, name)
    tower = load_tower(file_config(tmp_path, name, output="pooled", projected=True))
    with torch.no_grad():
        expected = built.encode_image(open_clips_input(images, model["vision_cfg"]["image_size"]))
    assert tower.encode(images).shape == (5, 1, 40)
    np.testing.assert_allclose(tower.encode(images)[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_native_tokens_equal_open_clips(tmp_path: Path, images: np.ndarray) -> None:
    built = saved(tmp_path, NATIVE)
    built.visual.output_tokens = True
    with torch.no_grad():
        _, tokens = built.visual(open_clips_input(images, 48))
        projected = tokens @ built.visual.proj
    tower = load_tower(file_config(tmp_path))
    assert (tower.num_tokens, tower.width, tower.grid) == (9, 64, (3, 3))
    np.testing.assert_allclose(tower.encode(images), tokens, rtol=1e-5, atol=1e-5)
    after = load_tower(file_config(tmp_path, projected=True))
    np.testing.assert_allclose(after.encode(images), projected, rtol=1e-5, atol=1e-5)


def test_native_pooled_before_projection_is_the_class_token(
    tmp_path: Path, images: np.ndarray
) -> None:
    built = saved(tmp_path, NATIVE)
    with torch.no_grad():
        projected = built.encode_image(open_clips_input(images, 48))
    before = load_tower(file_config(tmp_path, output="pooled")).encode(images)[:, 0]
    assert before.shape == (5, 64)
    np.testing.assert_allclose(before @ built.visual.proj.detach().numpy(), projected, atol=1e-5)


def test_timm_tokens_equal_the_trunks(tmp_path: Path, images: np.ndarray) -> None:
    built = saved(tmp_path, TIMM)
    trunk = built.visual.trunk
    with torch.no_grad():
        tokens = trunk.forward_features(open_clips_input(images, 160))
    tokens = tokens[:, trunk.num_prefix_tokens :]
    tower = load_tower(file_config(tmp_path))
    assert tower.encode(images).shape == (5, tower.num_tokens, tower.width)
    np.testing.assert_allclose(tower.encode(images), tokens, rtol=1e-5, atol=1e-5)


def test_mean_of_projected_timm_tokens_is_the_pooled_vector(
    tmp_path: Path, images: np.ndarray
) -> None:
    """Average pooling and a linear head commute, where no norm comes between them."""
    built = saved(tmp_path, TIMM)
    tokens = load_tower(file_config(tmp_path, projected=True)).encode(images)
    pooled = load_tower(file_config(tmp_path, output="pooled", projected=True)).encode(images)
    assert isinstance(built.visual.trunk.fc_norm, torch.nn.Identity)
    np.testing.assert_allclose(tokens.mean(axis=1), pooled[:, 0], atol=1e-5)


def test_coca_style_tower_reads_tokens_but_cannot_project_them(
    tmp_path: Path, images: np.ndarray
) -> None:
    vision = {**NATIVE["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 4}
    saved(tmp_path, {**NATIVE, "vision_cfg": vision})
    assert load_tower(file_config(tmp_path)).encode(images).shape == (5, 9, 64)
    with pytest.raises(ConfigError, match="pools and projects in one"):
        load_tower(file_config(tmp_path, projected=True))


def test_resnet_tower_reads_its_map_but_has_no_pooled_features_before_projection(
    tmp_path: Path, images: np.ndarray
) -> None:
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}
    saved(tmp_path, {**NATIVE, "vision_cfg": vision})
    tower = load_tower(file_config(tmp_path))
    assert (tower.grid, tower.encode(images).shape) == ((2, 2), (5, 4, 512))
    with pytest.raises(ConfigError, match="pools and projects in one"):
        load_tower(file_config(tmp_path, output="pooled"))


def test_keys_follow_weights_and_layer(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    tower = load_tower(file_config(tmp_path))
    assert load_tower(file_config(tmp_path)).key == tower.key
    assert load_tower(file_config(tmp_path, projected=True)).key != tower.key
    assert load_tower(file_config(tmp_path, output="pooled")).key != tower.key
    other = {**NATIVE, "quick_gelu": True}
    (tmp_path / "model.json").write_text(json.dumps(other))
    assert load_tower(file_config(tmp_path)).key != tower.key
    changed = open_clip.CLIP(**NATIVE).state_dict()
    torch.save(changed, tmp_path / "weights.pt")
    (tmp_path / "model.json").write_text(json.dumps(NATIVE))
    assert load_tower(file_config(tmp_path)).key != tower.key


def sidecar(folder: Path, **changes: Any) -> None:
    content = {"model_cfg": {**NATIVE, **changes.pop("model_cfg", {})}, "preprocess_cfg": changes}
    (folder / "open_clip_config.json").write_text(json.dumps(content))


def test_preprocessing_beside_the_file_is_used(tmp_path: Path, images: np.ndarray) -> None:
    saved(tmp_path, NATIVE)
    plain = load_tower(file_config(tmp_path))
    sidecar(tmp_path, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], size=48)
    tower = load_tower(file_config(tmp_path))
    assert tower.source.preprocessing.mean == (0.5, 0.5, 0.5)
    assert tower.key != plain.key
    assert np.abs(tower.encode(images) - plain.encode(images)).max() > 1e-3


def test_quick_gelu_mismatch_fails_in_one_sentence(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    sidecar(tmp_path, model_cfg={"quick_gelu": True})
    with pytest.raises(ConfigError, match="trained with QuickGELU") as caught:
        load_tower(file_config(tmp_path))
    assert "\n" not in str(caught.value)


def test_image_size_mismatch_fails(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    sidecar(tmp_path, size=[64, 64])
    with pytest.raises(ConfigError, match=r"images are \[64, 64\] px"):
        load_tower(file_config(tmp_path))
    sidecar(tmp_path, model_cfg={"vision_cfg": {**NATIVE["vision_cfg"], "image_size": 64}})
    with pytest.raises(ConfigError, match=r"vision_cfg.image_size = 64"):
        load_tower(file_config(tmp_path))


def test_a_released_file_is_known_by_its_name(tmp_path: Path) -> None:
    """OpenAI's ViT-B-32 was trained with QuickGELU; the plain model name would use GELU."""
    path = tmp_path / "ViT-B-32.pt"
    path.write_bytes(b"never read")
    config = ClipConfig(source="file", model="ViT-B-32", path=str(path))
    with pytest.raises(ConfigError, match=r"set clip.model to 'ViT-B-32-quickgelu'"):
        load_tower(config)


@pytest.mark.parametrize(
    ("tag", "words"),
    [("openai", "set clip.model to 'ViT-B-32-quickgelu'"), ("openia", "'openia' is no tag")],
)
@pytest.mark.parametrize("read", [load_tower, lambda config: model_of(config, Path())])
def test_what_the_hub_could_not_give_is_refused_before_any_work(read, tag, words) -> None:
    """Both when the tower is read and when only its sizes are asked for, before images are made."""
    config = ClipConfig(source="hub", model="ViT-B-32", pretrained=tag)
    with pytest.raises(ConfigError, match=words):
        read(config)


def test_hub_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(_: object) -> str:
        raise FileNotFoundError("Failed to download file\nwith a long trace")

    monkeypatch.setattr(clip, "download_pretrained", offline)
    config = ClipConfig(source="hub", model="ViT-B-32-quickgelu", pretrained="openai")
    with pytest.raises(ConfigError, match=r"clip.source to 'file'.*'bundled'") as caught:
        load_tower(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["bundled", "random", "file"])
def test_no_source_but_hub_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a download was tried")

    monkeypatch.setattr(clip, "download_pretrained", refuse)
    saved(tmp_path, TIMM)
    config = file_config(tmp_path) if source == "file" else ClipConfig(source=source)
    assert load_tower(config).num_tokens > 0


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"source": "hub", "model": "ViT-B-23", "pretrained": "openai"}, "close names: .*ViT-B-32"),
        ({"source": "hub", "model": "ViT-B-32", "pretrained": "opnai"}, "known: openai"),
        ({"source": "hub", "model": "hf-hub:a/b", "pretrained": "x"}, "not known to open_clip"),
        ({"source": "file", "model": "ViT-B-32", "path": "gone.pt"}, "'gone.pt' is not a file"),
        ({"source": "file", "model": "no.json", "path": __file__}, "'no.json' is not a file"),
    ],
)
def test_what_does_not_exist_is_named(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_tower(ClipConfig(**config))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    wider = {**NATIVE, "vision_cfg": {**NATIVE["vision_cfg"], "image_size": 64}}
    (tmp_path / "model.json").write_text(json.dumps(wider))
    with pytest.raises(ConfigError, match=r"'positional_embedding' is \[10, 64\] in the file"):
        load_tower(file_config(tmp_path))
    torch.save({"text.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="no weights named 'visual"):
        load_tower(file_config(tmp_path))
    (tmp_path / "weights.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="no readable checkpoint"):
        load_tower(file_config(tmp_path))


BROKEN = "clip.path 'weights.pt' is no readable checkpoint"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (b"hello", BROKEN),
        (b"\x1b[31mred", BROKEN),
        (torch.nn.Linear(2, 2), f"{BROKEN} of plain weights; save the model's state_dict"),
        ({"a": [1]}, "clip.path 'weights.pt' is no checkpoint: it holds more than weights"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, weights: Any, sentence: str) -> None:
    saved(tmp_path, NATIVE)
    path = tmp_path / "weights.pt"
    if isinstance(weights, bytes):
        path.write_bytes(weights)
    else:
        torch.save(weights, path)
    with pytest.raises(ConfigError, match=sentence) as refused:
        load_tower(file_config(tmp_path))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("{", "model.json' is no JSON"),
        ("[1]", "model.json' holds no mapping"),
        ('{"foo": 1}', "model.json' is no open_clip model config: it needs embed_dim"),
        ('{"embed_dim": 8, "vision_cfg": {"widht": 3}}', "clip.model is refused.*'widht'"),
    ],
)
def test_a_damaged_model_config_is_one_sentence(tmp_path: Path, model: str, sentence: str) -> None:
    saved(tmp_path, NATIVE)
    (tmp_path / "model.json").write_text(model)
    with pytest.raises(ConfigError, match=sentence):
        load_tower(file_config(tmp_path))


def test_a_damaged_config_beside_the_weights_is_one_sentence(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"open_clip_config.json, beside clip.path, is no JSON"):
        load_tower(file_config(tmp_path))


def test_only_square_bytes_are_encoded(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    tower = load_tower(file_config(tmp_path))
    for wrong in (np.zeros((1, 8, 9), np.uint8), np.zeros((1, 8, 8), np.float32)):
        with pytest.raises(ConfigError, match="square grey images"):
            tower.encode(wrong)


def test_a_torchscript_archive_is_taken_for_quick_gelu(tmp_path: Path) -> None:
    saved(tmp_path, NATIVE)
    with zipfile.ZipFile(tmp_path / "jit.pt", "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(ConfigError, match="trained with QuickGELU"):
        load_tower(file_config(tmp_path, "jit.pt"))


def test_stem_must_make_the_patches() -> None:
    with pytest.raises(ValueError, match="makes no patches of 16"):
        build_clip({**NATIVE, "conv_stem": [8, 8]})


class TestBundled:
    """The committed tower and its random control."""

    def test_it_is_small_and_says_what_it_is(self) -> None:
        tower = load_tower(ClipConfig())
        assert clip.BUNDLED.stat().st_size <= 2_000_000
        assert "not OpenAI's CLIP" in tower.disclosure
        assert (tower.name, tower.grid, tower.width) == ("bundled", (8, 8), 96)

    def test_the_card_beside_it_is_its_own(self) -> None:
        card = json.loads((clip.BUNDLED.parent / "card.json").read_text())
        assert load_tower(ClipConfig()).source.weights_key == card["weights_key"]
        header = clip.read_card(clip.BUNDLED)
        assert header == {name: card[name] for name in header}

    def test_random_control_has_its_shape_and_other_weights(self, images: np.ndarray) -> None:
        bundled, control = load_tower(ClipConfig()), load_tower(ClipConfig(source="random"))
        again = load_tower(ClipConfig(source="random"))
        other = load_tower(ClipConfig(source="random", random_seed=1))
        assert bundled.encode(images).shape == control.encode(images).shape
        assert len({bundled.key, control.key, other.key}) == 3
        assert again.key == control.key
        np.testing.assert_array_equal(again.encode(images), control.encode(images))

    def test_loading_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        load_tower(ClipConfig(source="random"))
        load_tower(ClipConfig())
        assert torch.equal(torch.rand(1), expected)

    def test_as_a_file_it_needs_its_own_name(self) -> None:
        name = clip.read_card(clip.BUNDLED)["name"]
        tower = load_tower(ClipConfig(source="file", model=name, path=str(clip.BUNDLED)))
        assert tower.key == load_tower(ClipConfig()).key
        with pytest.raises(ConfigError, match="holds"):
            load_tower(ClipConfig(source="file", model="ViT-B-32", path=str(clip.BUNDLED)))

    def test_the_control_takes_the_architecture_that_it_controls(self, tmp_path: Path) -> None:
        saved(tmp_path, NATIVE)
        named = ClipConfig(source="random", model=str(tmp_path / "model.json"))
        assert load_tower(named).width == 64
        own = clip.read_card(clip.BUNDLED)["name"]
        control = load_tower(ClipConfig(source="random", model=own))
        assert control.key == load_tower(ClipConfig(source="random")).key
