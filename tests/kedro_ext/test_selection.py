"""What does not exist is said with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.selection import (
    check_environment,
    check_runner,
    check_runner_params,
    explain_selection,
)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name in ("base", "smoke", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()
    return tmp_path


def test_environments_are_the_folders_of_conf(conf: Path) -> None:
    check_environment("smoke", conf)
    check_environment(None, conf)
    with pytest.raises(ConfigError) as refused:
        check_environment("smok", conf)
    assert str(refused.value) == (
        "there is no environment (--env) named 'smok'; did you mean 'smoke'? "
        "(there are: base, smoke)."
    )


def test_runners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_of_test").mkdir()
    (tmp_path / "mine_of_test/runners.py").write_text("class MyRunner: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (None, "ThreadRunner", "DaskRunner", "mine_of_test.runners.MyRunner"):
        check_runner(name)
    for name in ("ParallelRunner", "kedro.runner.ParallelRunner"):
        with pytest.raises(ConfigError, match="without the project's hooks"):
            check_runner(name)
    with pytest.raises(ConfigError, match="did you mean 'DaskRunner'"):
        check_runner("DaskRuner")
    for name in ("hybrid_pipeline.kedro_ext.dask.DaskRunner", "nothing.Here"):
        with pytest.raises(ConfigError, match=r"named '.*Runner, ThreadRunner.*Importing it said"):
            check_runner(name)
    check_runner_params(SequentialRunner, {"is_async": True})
    with pytest.raises(ConfigError, match=r"SequentialRunner named 'isasync'; did you mean"):
        check_runner_params(SequentialRunner, {"isasync": True})


def make(function: str) -> Pipeline:
    node = Node(len, "numbers", "count", name="count", tags=["cell"])
    return Pipeline([node], namespace=function)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pipelines": ["abblation"]}, "no pipeline (--pipeline) named 'abblation'; did you mean"),
        ({"tags": ["cel"]}, "no tag (--tags) in this pipeline named 'cel'; did you mean 'cell'?"),
        ({"from_nodes": ["arm_4.cont"]}, "node (--from-nodes) in this pipeline named 'arm_4.cont'"),
        ({"node_names": ["count"]}, "named 'count'; did you mean 'arm_4.count'?"),
        ({"namespaces": ["arm4"]}, "namespace (--namespaces) in this pipeline named 'arm4'; did"),
        ({"to_outputs": ["arm_4.counts"]}, "did you mean 'arm_4.count' or"),
        ({"tags": ["cell"], "namespaces": ["arm_4"]}, "meets --tags and --namespaces together"),
    ],
)
def test_selections(options: dict[str, list[str]], sentence: str) -> None:
    found = {"ablation": make("arm_4")}
    said = explain_selection({"pipelines": ["ablation"], **options}, found, ["ablation"])
    assert said is not None
    assert sentence in said


def test_nothing_is_said_where_nothing_was_selected() -> None:
    assert explain_selection({"pipelines": ["a"]}, {"a": make("x")}, ["a"]) is None
