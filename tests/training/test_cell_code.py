"""The key of a cell sees the code that the cell runs: all of it, and nothing else."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from hybrid_pipeline.config import HaltingConfig, ModelConfig, TrainingConfig
from hybrid_pipeline.storage import PACKAGE_ROOT, code, import_closure
from hybrid_pipeline.training.cell import run_cell
from hybrid_pipeline.training.spec import NOT_IN_CODE, CellSpec
from toy_study import EVERY_ARM, named, toy_spec

ARMS = [arm for arm in EVERY_ARM if {"clip", "n2n", "trm", "coconut"}.issuperset(arm.components)]
EVERY = {arm.name for arm in ARMS}
PLANNING = {"arm_5_coconut", "control_one_path", "control_wide_vit"}  # the last is matched to it
RECURSIVE = PLANNING | {"arm_4_trm"}
ADAPTED = RECURSIVE | {"arm_3_n2n", "control_deep_core", "control_mlp_adapter"}
FUSED = ADAPTED | {"arm_2_clip", "control_random_tower"}

CODE = "\nMORE = 1\n"
EDITS = [
    ("models/coconut.py", CODE, PLANNING),
    ("models/trm.py", CODE, RECURSIVE),
    ("models/n2n.py", CODE, ADAPTED),
    ("training/adapter_stage.py", CODE, ADAPTED - {"control_mlp_adapter"}),
    ("models/fusion.py", CODE, FUSED),
    ("models/vit.py", CODE, EVERY - {"control_linear_probe"}),
    ("models/deep_core.py", CODE, {"control_deep_core"}),
    ("models/wide_vit.py", CODE, {"control_wide_vit"}),
    ("models/layers.py", CODE, EVERY),
    ("models/hybrid.py", CODE, EVERY),
    ("training/loop.py", CODE, EVERY),
    ("training/optim.py", CODE, EVERY),
    ("halting/dqn.py", CODE, EVERY),
    ("seeding.py", CODE, EVERY),
    ("models/coconut.py", "\n# a comment\n", set()),
    ("models/coconut.py", '\n\n\ndef _f() -> None:\n    """Says."""\n', PLANNING),
    ("training/loop.py", "\n\n\n# a comment\n", set()),
    ("training/tracker.py", CODE, set()),
    ("training/logs.py", CODE, set()),
    ("config/model.py", CODE, set()),
    ("components.py", CODE, set()),
    ("storage/files.py", CODE, set()),
    ("report/render.py", CODE, set()),
    ("stats/results.py", CODE, set()),
    ("stats/floor.py", CODE, set()),
    ("stats/halting.py", CODE, set()),
    ("stats/policies.py", CODE, EVERY),
    ("kedro_ext/study_hooks.py", CODE, set()),
]


def _forget() -> None:
    code._path.cache_clear()
    code._source.cache_clear()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, to be edited."""
    copy = tmp_path_factory.mktemp("copy") / "hybrid_pipeline"
    shutil.copytree(PACKAGE_ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    return copy


def codes(package, monkeypatch) -> dict[str, str]:
    spec = SimpleNamespace(origin=None, submodule_search_locations=[str(package)])
    monkeypatch.setattr(code, "find_spec", {"hybrid_pipeline": spec}.get)
    _forget()
    try:
        return {arm.name: toy_spec(arm).code() for arm in ARMS}
    finally:
        _forget()


@pytest.mark.parametrize(("name", "added", "expected"), EDITS)
def test_an_edit_redoes_the_arms_that_run_it(package, monkeypatch, name, added, expected):
    before = codes(package, monkeypatch)
    path = package / name
    text = path.read_text("utf-8")
    path.write_text(text + added, "utf-8")
    try:
        after = codes(package, monkeypatch)
    finally:
        path.write_text(text, "utf-8")
    assert {arm for arm in EVERY if before[arm] != after[arm]} == expected


def test_a_docstring_and_the_layout_of_a_file_that_runs_do_not_count(package, monkeypatch):
    before, path = codes(package, monkeypatch), package / "models/coconut.py"
    text = path.read_text("utf-8")
    old = '"""The states, averaged with the path weights."""'
    assert old in text
    path.write_text(text.replace(old, '"""Other words."""\n\n'), "utf-8")
    try:
        assert codes(package, monkeypatch) == before
    finally:
        path.write_text(text, "utf-8")


def executed(spec: CellSpec, data, root: Path) -> set[str]:
    """Modules of the package of which a function ran while a cell was trained and scored."""
    files: set[str] = set()

    def look(frame, event, _argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        run_cell(spec, data, root)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    paths = [Path(file) for file in files]
    inside = [p.relative_to(PACKAGE_ROOT) for p in paths if p.is_relative_to(PACKAGE_ROOT)]
    return {".".join(("hybrid_pipeline", *p.with_suffix("").parts)) for p in inside}


@pytest.mark.parametrize(
    "name",
    ["arm_1_baseline", "arm_5_coconut", "control_wide_vit", "control_mlp_adapter",
     "control_deep_core", "control_linear_probe"],
)  # fmt: skip
def test_nothing_that_runs_is_missed(data, tmp_path, name):
    spec = toy_spec(named(name), epochs=0.5)
    ran = {module.removesuffix(".__init__") for module in executed(spec, data, tmp_path)}
    assert "hybrid_pipeline.training.loop" in ran
    counted = set(import_closure(spec.code_roots(), NOT_IN_CODE))
    missed = {m for m in ran - counted if not code._is_in(m, NOT_IN_CODE)}
    assert missed == set()


def test_the_configuration_that_is_left_out_of_the_code_has_no_code():
    """Its values are in the key; a method that computed a number would not be."""
    groups = [f.annotation for f in ModelConfig.model_fields.values()]
    for model in (ModelConfig, TrainingConfig, HaltingConfig, *groups):
        validators = model.__pydantic_decorators__.model_validators
        own = {n for n, v in vars(model).items() if callable(v) or isinstance(v, property)}
        assert {n for n in own if not n.startswith("__") and n not in validators} == set()
