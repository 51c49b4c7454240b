"""A component and a control of one's own: the how-tos, followed word for word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from hybrid_pipeline.arms import chain, control_arms, find_arm
from hybrid_pipeline.components import components, load_components
from hybrid_pipeline.config import ConfigError, ModelConfig
from hybrid_pipeline.kedro_ext.project_parameters import validate_parameters
from hybrid_pipeline.plugins import load_plugins
from hybrid_pipeline.storage import code, read_json
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.spec import CellSpec
from own_package import blocks, copy_project, forget, how_to, run_in
from toy_study import EVERY_ARM, HALTING, MODEL, SHAPE, TRAINING, changed, toy_spec

COMPONENT, CONTROL = how_to("add-a-component.md"), how_to("add-a-control.md")
ARM = f"arm_{len(components()) + 2}_scan"
TASKS = {"mazes": {"source": "maze", "num_train": 64, "num_validation": 8, "num_test": 16}}


def write_package(root: Path) -> None:
    """The files of both pages, each under the name that the page gives."""
    (root / "mine").mkdir(exist_ok=True)
    record, module = blocks(COMPONENT, "python")
    files = {"scan": record, "scan_model": module, "controls": blocks(CONTROL, "python")[0]}
    for name, text in files.items():
        assert f"src/mine/{name}.py" in COMPONENT + CONTROL
        (root / f"mine/{name}.py").write_text(text)


@pytest.fixture
def package(tmp_path, monkeypatch) -> Iterator[Path]:
    write_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield tmp_path / "mine"
    forget()


def scan_spec(kernel: int = 3) -> CellSpec:
    model = ModelConfig.model_validate(MODEL.model_dump() | {"scan": {"kernel": kernel}})
    return CellSpec(chain()[-1], 0, model, changed(TRAINING, epochs=2), HALTING)


def test_the_component_joins_the_chain_and_no_arm_or_control_moves(package, data):
    before = {arm.name: toy_spec(arm).key(data) for arm in EVERY_ARM}
    beside = {name: arm.control_of for name, arm in control_arms().items()}
    letters = [arm.letters for arm in chain()]
    load_components(load_plugins(["mine.scan"]))
    assert [arm.letters for arm in chain()] == [*letters, f"{letters[-1]}S"]
    assert {name: arm.control_of for name, arm in control_arms().items()} == beside
    assert {arm.name: toy_spec(find_arm(arm.name)).key(data) for arm in EVERY_ARM} == before


def test_its_arm_trains_and_its_weights_move(package, data, tmp_path):
    load_components(load_plugins(["mine.scan"]))
    spec = scan_spec()
    result = run_cell(spec, data, tmp_path / "cells")
    assert result.status == "done"
    weights = load_file(tmp_path / "cells" / spec.key(data) / "weights.safetensors")
    assert weights["encoder.mixers.scan.conv.weight"].abs().sum() > 0  # it starts at zero
    subset = find_arm("subset_CS")
    assert subset.components == ("clip", "scan")
    assert "encoder.mixers.scan.gate.weight" in subset_model(subset, spec)


def subset_model(arm, spec):
    from hybrid_pipeline.models.hybrid import build_model

    return build_model(arm, spec.model, SHAPE, seed=0).state_dict()


def test_its_code_and_its_parameters_are_in_the_key_of_its_arm(package, data):
    load_components(load_plugins(["mine.scan"]))
    key = scan_spec().key(data)
    assert scan_spec(kernel=5).key(data) != key
    text = (package / "scan_model.py").read_text()
    (package / "scan_model.py").write_text(text + "\n# a comment\n")
    code._source.cache_clear()
    assert scan_spec().key(data) == key
    (package / "scan_model.py").write_text(text.replace(".sigmoid()", ".tanh()"))
    code._source.cache_clear()
    assert scan_spec().key(data) != key


def test_its_parameters_are_checked_as_all_are(package):
    (settings,) = map(yaml.safe_load, blocks(COMPONENT, "yaml"))
    groups = validate_parameters({"tasks": TASKS, **settings})
    assert groups["model"].scan.kernel == 5
    settings["model"]["scan"] = {"kernl": 3}
    with pytest.raises(ConfigError, match=r"'model\.scan\.kernl'; did you mean 'kernel'"):
        validate_parameters({"tasks": TASKS, **settings})
    settings["model"]["scan"] = {"kernel": 99}
    with pytest.raises(ConfigError, match=r"'model\.scan\.kernel' = 99 is refused"):
        validate_parameters({"tasks": TASKS, **settings})
    with pytest.raises(ConfigError, match=r"unknown parameter 'model\.scan'"):
        validate_parameters({"tasks": TASKS, "model": {"scan": {"kernel": 3}}})


def test_a_record_that_clashes_is_refused(package):
    text = (package / "scan.py").read_text()
    (package / "scan.py").write_text(text.replace('letter="S"', 'letter="C"'))
    with pytest.raises(ConfigError, match=r"'plugins' is refused: two records have the letter 'C'"):
        validate_parameters({"tasks": TASKS, "plugins": ["mine.scan"]})
    forget()
    (package / "scan.py").write_text(
        text.replace('paper="this study"', 'paper="", requires=("x",)')
    )
    with pytest.raises(ConfigError, match=r"component 'scan' requires 'x'; allowed here: clip"):
        validate_parameters({"tasks": TASKS, "plugins": ["mine.scan"]})


def test_an_installed_package_brings_it_by_the_name_of_its_entry_point(package):
    described = package.parent / "mine-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[hybrid_pipeline.plugins]\nscan = mine.scan\n")
    validate_parameters({"tasks": TASKS, "plugins": ["scan"]})
    assert chain()[-1].name == ARM


def test_the_control_stands_beside_the_arm_that_it_names(package):
    (settings,) = map(yaml.safe_load, blocks(CONTROL, "yaml"))
    groups = validate_parameters({"tasks": TASKS, **settings})
    assert groups["ablation"].controls == ["eight_paths"]
    arm = find_arm("control_eight_paths")
    assert (arm.control_of, arm.components) == ("arm_5_coconut", chain()[4].components)
    assert arm.configured(MODEL).coconut.num_paths == 8
    spec = toy_spec(arm)
    assert subset_model(arm, spec)["planner.path_embeddings"].shape[0] == 8


def test_the_control_with_another_part_names_what_it_replaces(package):
    (package / "other.py").write_text(blocks(CONTROL, "python")[1])
    load_components(load_plugins(["mine.other"]))
    own, arm = find_arm("control_plain_sum").parts, find_arm("arm_2_clip").parts
    assert {name for name in own if own[name] != arm[name]} == {"clip"}
    assert own.keys() == arm.keys()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_project_trains_it_on_a_worker(tmp_path):
    copy_project(tmp_path)
    write_package(tmp_path / "src")
    (tmp_path / "conf/mine").mkdir()
    (settings,) = map(yaml.safe_load, blocks(COMPONENT, "yaml"))
    settings["tasks"] = {"sudoku_4x4": None, "maze_4x4": None, **TASKS}
    settings["training"] = {"epochs": 1.0, "global_batch_size": 8}
    settings["model"] |= {
        "core": {"dim": 16, "num_heads": 2, "num_layers": 1, "hidden_multiple": 8},
        "vit": {"embed_dim": 16, "num_heads": 2, "depth": 1},
        "n2n": {"steps": 2, "batch_size": 8},
    }
    (tmp_path / "conf/mine/parameters.yml").write_text(yaml.safe_dump(settings))
    run_in(
        tmp_path, "kedro", "run", "--env", "mine", "--pipeline", "hybrid_training",
        "--params", f"training.arm={ARM}", "--runner", "DaskRunner",
        "--runner-params", "workers=1",
    )  # fmt: skip
    (result,) = (tmp_path / "data/06_models/cells").glob("*/result.json")
    assert read_json(result)["arm"] == ARM
    weights = load_file(result.with_name("weights.safetensors"))
    assert "encoder.mixers.scan.conv.weight" in weights
