"""Every study has a folder of its own; what does not change the study does not move it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext import study_hooks
from hybrid_pipeline.kedro_ext.project_parameters import (
    PARAMETER_GROUPS,
    ProjectState,
    current_state,
    store_state,
)
from hybrid_pipeline.kedro_ext.study_folder import current_study, kept, study_command, study_name
from hybrid_pipeline.kedro_ext.study_hooks import LatestHooks
from project_conf import ROOT, in_a_run, loader


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return dict(loader("base")["parameters"])


def changed(parameters: dict[str, Any], group: str, **values: Any) -> dict[str, Any]:
    return {**parameters, group: {**(parameters.get(group) or {}), **values}}


def test_the_name_is_the_environment_and_a_key(base: dict[str, Any]) -> None:
    name = study_name(None, base)
    label, key = name.rsplit("-", 1)
    assert label == "base"
    assert len(key) == 8
    assert study_name("local", base) == study_name("base", base) == name
    smoke = study_name("smoke", dict(loader("smoke")["parameters"]))
    assert smoke.startswith("smoke-")
    assert not smoke.endswith(key)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("training", {"lr": 0.00123}),
        ("ablation", {"num_seeds": 7}),
        ("ablation", {"controls": True}),
        ("evaluation", {"delta": 0.03}),
    ],
)
def test_what_changes_the_study_moves_it(
    base: dict[str, Any], group: str, values: dict[str, Any]
) -> None:
    assert study_name(None, changed(base, group, **values)) != study_name(None, base)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("training", {"arm": "arm_2_clip", "seed": 5}),  # of hybrid_training
        ("storage", {"root": "elsewhere"}),
        ("evaluation", {}),
    ],
)
def test_what_does_not_change_the_study_leaves_it(
    base: dict[str, Any], group: str, values: dict[str, Any]
) -> None:
    assert study_name(None, changed(base, group, **values)) == study_name(None, base)


def test_a_default_that_is_stated_is_no_change(base: dict[str, Any]) -> None:
    without = {**base, "evaluation": {}}
    stated = PARAMETER_GROUPS["evaluation"]().model_dump(mode="json")
    assert study_name(None, {**base, "evaluation": stated}) == study_name(None, without)


def test_the_catalog_gives_two_environments_two_reports(base: dict[str, Any]) -> None:
    before = current_state()
    try:
        paths = {}
        for env in ("base", "smoke"):
            conf = loader(env)
            parameters = dict(conf["parameters"])
            store_state(ProjectState(conf.conf_source, env, parameters))
            paths[env] = conf["catalog"]["reporting.html"]["filepath"]
            assert paths[env] == f"data/08_reporting/{study_name(env, parameters)}/report.html"
        assert paths["base"] != paths["smoke"]
    finally:
        store_state(before)


REFERENCES = sorted(path.name for path in (ROOT / "benchmarks/reference").iterdir())


def test_every_kept_study_has_a_report_of_its_own(tmp_path: Path) -> None:
    assert {"default", "controls"} <= set(REFERENCES)
    folders = [report_folder(f"benchmarks/reference/{name}") for name in REFERENCES]
    assert len(set(folders)) == len(REFERENCES)
    for name, folder in zip(REFERENCES, folders, strict=True):
        assert folder.rsplit("-", 1)[0] == f"reference-{name}"
    (tmp_path / "default").mkdir()
    shutil.copy(ROOT / "benchmarks/reference/default/card.json", tmp_path / "default")
    elsewhere = report_folder(str(tmp_path / "default"))
    assert elsewhere.startswith("reference-default-")
    assert elsewhere not in folders
    assert report_folder("./benchmarks/reference/default/") in folders


def report_folder(reference: str) -> str:
    """The folder of the report that is made from a kept study, as the catalog has it."""
    with in_a_run("reference", storage={"reference": reference}):
        path = Path(loader("reference")["catalog"]["reporting.html"]["filepath"])
    assert path.parts[:2] == ("data", "08_reporting")
    return path.parent.name


def test_latest_moves_for_a_report_and_for_nothing_else(
    base: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current_state()
    monkeypatch.setattr(study_hooks, "reports_of_run", lambda: written)
    try:
        store_state(ProjectState(tmp_path, None, base))
        folder = tmp_path / "08_reporting" / current_study()
        folder.mkdir(parents=True)
        store_state(ProjectState(tmp_path, None, base, reporting_dir=folder))
        written = frozenset({"training_advice.txt"})
        LatestHooks().after_pipeline_run()
        assert not (folder.parent / "latest").exists()
        written = frozenset({"report.html", "report.md"})
        LatestHooks().after_pipeline_run()
        assert (folder.parent / "latest").resolve() == folder
    finally:
        store_state(before)


def test_the_command_says_what_was_given(base: dict[str, Any], tmp_path: Any) -> None:
    before = current_state()
    given = {"training": {"epochs": 2.0}, "ablation": {"controls": True}}
    try:
        store_state(ProjectState(tmp_path, None, base))
        assert study_command() == "kedro run --pipeline ablation"
        store_state(ProjectState(tmp_path, "smoke", base, overrides=given))
        assert study_command() == (
            "kedro run --pipeline ablation --env smoke "
            "--params training.epochs=2.0,ablation.controls=true"
        )
    finally:
        store_state(before)


@pytest.mark.parametrize(
    "name", ["default", "controls", "factorial", "eight_seeds", "adamw_eight_seeds"]
)
def test_a_kept_study_is_reported_at_the_level_it_was_judged_at(name: str) -> None:
    """Eight seeds were looked at twice: 95 % intervals would be too narrow for them."""
    folder = f"benchmarks/reference/{name}"
    given = {"storage": {"reference": folder}}
    parameters = loader("reference", **given)["parameters"]
    assert parameters["evaluation"]["level"] == (0.975 if "eight" in name else 0.95)
    assert kept("level", str(ROOT / folder)) == parameters["evaluation"]["level"]


def test_a_level_that_is_typed_wins() -> None:
    parameters = loader("reference", evaluation={"level": 0.9})["parameters"]
    assert parameters["evaluation"]["level"] == 0.9


def test_a_folder_without_a_kept_study_is_refused_in_one_sentence(tmp_path: Path) -> None:
    given = {"storage": {"reference": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"^there is no kept study in .*: it has no card.json\.$"):
        loader("reference", **given)["parameters"]
    (tmp_path / "card.json").write_text("{}", "utf-8")
    with pytest.raises(ConfigError, match=r"card.json does not say its study's level\.$"):
        loader("reference", **given)["parameters"]
