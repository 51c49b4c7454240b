"""A tower source of one's own: the how-to, followed word for word; what a record may not lack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from scipy.fft import dctn

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.sources import (
    TowerOrigin,
    load_tower_sources,
    origin_of,
    with_random_weights,
)
from hybrid_pipeline.kedro_ext.project_parameters import validate_parameters
from hybrid_pipeline.kedro_ext.run_checks import check_run
from hybrid_pipeline.storage import read_json
from own_package import blocks, copy_project, forget, how_to, run_in
from project_conf import parameters_of

PAGE = how_to("add-a-tower-source.md")
TASKS = {"mazes": {"source": "maze", "num_train": 24, "num_validation": 4, "num_test": 4}}


def write_package(folder: Path) -> None:
    for name, text in zip(("cosine", "cosine_model"), blocks(PAGE, "python"), strict=True):
        assert f"src/mine/{name}.py" in PAGE
        (folder / f"{name}.py").write_text(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine").mkdir()
    write_package(tmp_path / "mine")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield tmp_path / "mine"
    forget()


def settings() -> dict[str, object]:
    (text,) = blocks(PAGE, "yaml")
    return {"tasks": TASKS, **yaml.safe_load(text)}


def test_its_tokens_are_the_cosine_transform_of_each_patch(package: Path) -> None:
    config = validate_parameters(settings())["clip"]
    tower = load_tower(config)
    assert (tower.grid, tower.width) == ((8, 8), 64)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    tokens = tower.encode(images).reshape(2, 8, 8, 8, 8)
    patches = (images / 127.5 - 1).reshape(2, 8, 8, 8, 8).swapaxes(2, 3)
    np.testing.assert_allclose(tokens, dctn(patches, axes=(3, 4), norm="ortho"), atol=1e-5)


def test_its_key_follows_its_code_and_its_random_weights(package: Path) -> None:
    config = validate_parameters(settings())["clip"]
    key, random = load_tower(config).key, with_random_weights(config)
    assert random.source == "cosine_random"
    assert with_random_weights(random) == random
    others = {load_tower(random.model_copy(update={"random_seed": seed})).key for seed in (0, 1)}
    assert len(others | {key}) == 3
    text = (package / "cosine_model.py").read_text()
    (package / "cosine_model.py").write_text(text.replace("0.5) * place", "0.6) * place"))
    forget()
    assert load_tower(validate_parameters(settings())["clip"]).key != key


def test_it_is_checked_as_the_built_in_ones_are(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"'clip.source' = 'cosin' is refused: did you mean 'cos"):
        validate_parameters(settings() | {"clip": {"source": "cosin"}})
    text = (package / "cosine.py").read_text()
    needy = text.replace('"cosine", read', '"cosine", needs=("path",), read')
    (package / "cosine.py").write_text(needy)
    forget()
    with pytest.raises(ConfigError, match="source 'cosine' needs 'path'"):
        validate_parameters(settings())
    forget()
    with pytest.raises(ConfigError, match=r"'cosine' is refused: allowed here are bundled, hub"):
        validate_parameters({"tasks": TASKS, "clip": {"source": "cosine"}})


def test_a_record_that_clashes_is_refused(package: Path) -> None:
    text = (package / "cosine.py").read_text()
    for wrong, said in (
        (text.replace('    "cosine",', '    "file",'), "two records have the tower source 'file'"),
        (text.replace('random="cosine_random"', 'random="x"'), "names 'x' for random weights"),
    ):
        (package / "cosine.py").write_text(wrong)
        forget()
        with pytest.raises(ConfigError, match=rf"'plugins' is refused: .*{said}"):
            validate_parameters(settings())


def test_a_width_that_the_adapter_cannot_take_is_refused_before_any_work(
    package: Path, tmp_path: Path
) -> None:
    given = parameters_of("base") | settings()
    given["model"] = {"n2n": {"num_heads": 5}}
    validate_parameters(given)
    node = type("Node", (), {"tags": {"arm.arm_3_n2n"}, "namespace": "x"})()
    with pytest.raises(ConfigError, match=r"'model.n2n.num_heads' = 5 is refused: .* 64 channels"):
        check_run(given, tmp_path, [node])


def test_the_control_of_a_source_without_random_weights_is_refused() -> None:
    module = ModuleType("plain")
    module.PLAIN = TowerOrigin("plain", "a:b", "a:c")  # type: ignore[attr-defined]
    load_tower_sources([module])
    try:
        config = ClipConfig(source="plain")
        assert origin_of(config) is module.PLAIN  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match=r"'plain' has no random weights for the control"):
            with_random_weights(config)
    finally:
        load_tower_sources()
    with pytest.raises(ConfigError, match=r"clip.source 'plain' is not known .allowed here: bun"):
        origin_of(config)


@pytest.mark.slow
def test_the_project_caches_its_tokens_and_applies_a_rule_of_ones_own(tmp_path: Path) -> None:
    copy_project(tmp_path)
    write_package(tmp_path / "src/mine")
    rules = blocks(how_to("review-hyperparameters.md"), "python")[-1]
    (tmp_path / "src/mine/rules.py").write_text(rules)
    given = settings() | {"plugins": ["mine.cosine", "mine.rules"]}
    given["tasks"] = {"sudoku_4x4": None, "maze_4x4": None, **TASKS}
    (tmp_path / "conf/local/parameters.yml").write_text(yaml.safe_dump(given))
    (command,) = blocks(PAGE, "bash")
    run_in(tmp_path, *command.split(), "--runner", "SequentialRunner")
    (store,) = (tmp_path / "data/04_feature").glob("*/manifest.json")
    assert read_json(store)["meta"]["clip"]["source"] == "cosine"
    run_in(tmp_path, "kedro", "run", "--pipeline", "hyperparameter_review",
           "--params", "training.seed=7")  # fmt: skip
    (page,) = (tmp_path / "data/08_reporting").glob("*/hyperparameter_review.json")
    assert '"odd_seed"' in page.read_text("utf-8")
