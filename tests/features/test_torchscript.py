"""A TorchScript archive gives its tensors, and nothing that it brings is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features import clip
from hybrid_pipeline.features.clip import build_clip, load_tower, load_visual
from hybrid_pipeline.features.torchscript import TorchScriptError, read_torchscript

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MODEL = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1},
}
CANARY = "CANARY"


class Varied(nn.Module):
    """Parameters and buffers as archives hold them: strided, shared, empty, of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
        self.tied = self.visual[0].weight
        self.names = ["a", "b"]
        self.sizes = [1, 2]
        self.shares = [0.5, 0.25]
        self.flags = [True]
        self.by_name = {"a": torch.ones(1)}
        self.register_buffer("strided", torch.arange(6).reshape(2, 3).half().t())
        self.register_buffer("part", torch.arange(10.0)[3:7])
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("scalar", torch.tensor(2.5, dtype=torch.float64))
        for kind in (torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
                     torch.uint8, torch.bool):  # fmt: skip
            self.register_buffer("of_" + str(kind).split(".")[1], torch.tensor([1, 0]).to(kind))

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(x)


class Writes(nn.Module):
    """A module whose unpacking writes a file: what a hostile archive does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        torch.save(state[0], "CANARY")
        self.weight = state[0]
        self.training = state[1]


class Holder(nn.Module):
    """A harmless module that holds the hostile one."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Writes()

    def forward(self, x: Tensor) -> Tensor:
        return self.visual(x)


def archive(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """An archive that writes the second path when torch loads it."""
    canary = tmp_path / "outside" / "written.pt"
    canary.parent.mkdir()
    source = archive(Holder(), tmp_path / "source.pt")
    path = tmp_path / "hostile.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():  # stored, as torch stores
            new.writestr(name, old.read(name).replace(CANARY.encode(), str(canary).encode()))
    return path, canary


def test_the_tensors_are_those_that_torch_loads(tmp_path: Path) -> None:
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 5, 5))
    traced.save(str(tmp_path / "traced.pt"))
    for path in (archive(Varied(), tmp_path / "varied.pt"), tmp_path / "traced.pt"):
        found, expected = read_torchscript(path), torch.jit.load(str(path)).state_dict()
        assert set(found) == set(expected)
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.dtype, name
            assert torch.equal(found[name], tensor), name


def test_a_hostile_archive_writes_nothing(hostile) -> None:
    path, canary = hostile
    with pytest.raises(TorchScriptError, match="packs its state by code of its own"):
        read_torchscript(path)
    assert not canary.exists()
    torch.jit.load(str(path))  # what torch would have done
    assert canary.exists()


def test_the_tower_of_a_hostile_archive_is_refused_in_a_sentence(hostile, monkeypatch) -> None:
    path, canary = hostile
    monkeypatch.chdir(path.parent)
    with pytest.raises(ConfigError, match=r"TorchScript archive that is not read \(a module in it"):
        load_visual(build_clip(MODEL).visual, path)
    assert not canary.exists()
    config = ClipConfig(source="file", model="ViT-B-32-quickgelu", path=str(path))
    with pytest.raises(ConfigError, match="save the model's state_dict instead"):
        load_tower(config)
    assert not canary.exists()


class Visual(nn.Module):
    """An open_clip model as OpenAI saved theirs: half precision, under its own names."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in state.items():
            *parents, leaf = name.split(".")
            module: nn.Module = self
            for parent in parents:
                if not hasattr(module, parent):
                    module.add_module(parent, nn.Module())
                module = getattr(module, parent)
            module.register_buffer(leaf, tensor)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_tower_is_read_from_an_archive(tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(0)
    model = build_clip(MODEL)
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    path = archive(Visual(half), tmp_path / "openai.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    visual = build_clip(MODEL).visual
    load_visual(visual, path)
    for name, tensor in visual.state_dict().items():
        assert torch.equal(tensor, half[f"visual.{name}"].float()), name


def rewritten(path: Path, change) -> Path:
    """The archive with another data.pkl or other storages."""
    place = path.with_name("rewritten.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(place, "w") as new:
        for name in old.namelist():
            kind, content = change(name, old.read(name))
            new.writestr(name, content, compress_type=kind)
    return place


class Runs:
    """Pickles as a call."""

    def __reduce__(self):
        return (print, ("run",))


def stored(content: bytes):
    return zipfile.ZIP_STORED, content


@pytest.mark.parametrize(
    ("sentence", "change"),
    [
        ("names builtins.print|names __builtin__.print",
         lambda n, c: stored(pickle.dumps(Runs(), 2) if n.endswith("/data.pkl") else c)),
        ("no module", lambda n, c: stored(pickle.dumps([1], 2) if n.endswith("/data.pkl") else c)),
        ("damaged", lambda n, c: stored(c[:-40] if n.endswith("/data.pkl") else c)),
        ("damaged", lambda n, c: stored(b"" if n.endswith("/data.pkl") else c)),
        ("not as many as noted", lambda n, c: stored(c[:-1] if n.endswith("/data/0") else c)),
        ("is compressed", lambda n, c: (zipfile.ZIP_DEFLATED, c)),
        ("not little-endian",
         lambda n, c: stored(b"big" if n.endswith("/byteorder") else c)),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_archive_is_refused(tmp_path: Path, capsys, sentence, change) -> None:
    path = rewritten(archive(Varied(), tmp_path / "varied.pt"), change)
    with pytest.raises(TorchScriptError, match=sentence):
        read_torchscript(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("form", ["pt", "torchscript"])
def test_a_flipped_bit_in_a_weight_is_seen_although_torch_sees_none(tmp_path: Path, form) -> None:
    path, model = tmp_path / "a.pt", build_clip(MODEL)
    if form == "pt":
        torch.save(model.state_dict(), path)
    else:
        archive(Visual(model.state_dict()), path)
    content = bytearray(path.read_bytes())
    weight = model.state_dict()["visual.conv1.weight"].numpy().tobytes()
    content[content.index(weight) + 100] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match=r"differs from its checksum|Bad CRC-32"):
        load_visual(build_clip(MODEL).visual, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    state = build_clip(MODEL).state_dict()
    state["visual.ln_pre.weight"][3] = value
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"a.pt is damaged: 'ln_pre.weight' holds a number that"):
        load_visual(build_clip(MODEL).visual, tmp_path / "a.pt")


@pytest.mark.parametrize("card", ["{", "[1]", '{"name": "x"}', '{"name": 1}', "null", "7"])
def test_a_damaged_card_is_one_sentence(tmp_path: Path, card: str) -> None:
    from safetensors.torch import save_file

    state = {name: t.contiguous() for name, t in build_clip(MODEL).state_dict().items()}
    save_file(state, tmp_path / "t.safetensors", metadata={"card": card})
    config = ClipConfig(source="file", model=clip.NAME, path=str(tmp_path / "t.safetensors"))
    with pytest.raises(ConfigError, match=r"t.safetensors holds a card (that|without)"):
        load_tower(config)
