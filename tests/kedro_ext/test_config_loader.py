"""The configuration: home folders, encodings, YAML that is not plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from hybrid_pipeline import cli
from hybrid_pipeline.config import ConfigError, StorageConfig, at_home
from hybrid_pipeline.kedro_ext.config_loader import ProjectConfigLoader
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState
from hybrid_pipeline.tasks.registry import TasksConfig

PATTERNS = {"mlflow": ["mlflow*"]}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", "/home/me")
    for env in ("base", "local"):
        (tmp_path / env).mkdir()
    (tmp_path / "base" / "globals.yml").write_text("data_root: ~/data\n")
    (tmp_path / "base" / "parameters.yml").write_text(
        "storage: {root: '${globals:data_root}'}\ntasks: {a: {path: ~/a.csv, note: a ~ b}}\n"
    )
    (tmp_path / "base" / "catalog.yml").write_text(
        "report: {filepath: '${globals:data_root}/r.md', type: text}\nmine: {filepath: ~/x.csv}\n"
    )
    return tmp_path


def load(conf: Path, key: str, **parameters: Any) -> Any:
    loader = ProjectConfigLoader(
        str(conf), "local", parameters, base_env="base", default_run_env="local"
    )
    return loader[key]


def test_home_in_globals_parameters_catalog_and_params(conf: Path) -> None:
    parameters = load(conf, "parameters", clip={"path": "~/b.pt"})
    assert parameters["storage"]["root"] == "/home/me/data"
    assert parameters["tasks"]["a"] == {"path": "/home/me/a.csv", "note": "a ~ b"}
    assert parameters["clip"]["path"] == "/home/me/b.pt"
    catalog = load(conf, "catalog")
    assert [entry["filepath"] for entry in catalog.values()] == [
        "/home/me/data/r.md",
        "/home/me/x.csv",
    ]
    state = ProjectState(Path("/p"), None, {"storage": {"root": "~/data"}})
    assert state.data_dir == Path("/home/me/data")


def test_home_in_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert StorageConfig(root="~/x").root == "/home/me/x"
    table = {"a": {"source": "table", "path": "~/a.csv"}}
    assert TasksConfig.model_validate(table).root["a"].path == "/home/me/a.csv"
    assert [at_home(t) for t in ("~", "data", "a~b", "./~x")] == ["/home/me", "data", "a~b", "./~x"]
    for refused in ("~nobody-here/x", "~$lock.csv", "a\0b", ""):
        with pytest.raises(ValueError, match=r"no home folder|zero character|at least 1"):
            StorageConfig(root=refused)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("kind", ["parameters", "catalog", "globals"])
def test_a_file_in_another_encoding_is_named(conf: Path, kind: str, encoding: str) -> None:
    path = conf / "local" / f"{kind}.yml"
    path.write_bytes("a: M\xfcller\n".encode(encoding))
    with pytest.raises(ConfigError, match=rf"{path} is not UTF-8.*save it as UTF-8"):
        load(conf, kind)


def test_a_byte_order_mark_is_no_harm(conf: Path) -> None:
    (conf / "local" / "parameters.yml").write_bytes(b"\xef\xbb\xbfclip: {source: hub}\n")
    assert load(conf, "parameters")["clip"] == {"source": "hub"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b: !!python/none\n", r"line 2, column 6: the tag '!!python/none' is not allowed"),
        ("a: {b: 1\n", r"line 2"),
        ("a: *x\n", "undefined alias"),
        ("a: 1\na: 2\n", "duplicate key"),
    ],
)
def test_yaml_that_is_not_plain_is_refused_with_its_place(conf: Path, text: str, said: str) -> None:
    path = conf / "local" / "parameters.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s){path} is refused: .*{said}"):
        load(conf, "parameters")


def test_an_interpolation_that_leads_nowhere_names_its_key(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"'parameters' is refused at 'clip.path': .*'nothing'"):
        load(conf, "parameters", clip={"path": "${nothing}"})


def test_a_value_of_another_kind_names_what_was_given(conf: Path) -> None:
    (conf / "base" / "parameters.yml").write_text("ablation: {looks: [3, 5]}\n")
    with pytest.raises(ConfigError, match=r"another kind stands in base .*look at ablation.looks"):
        load(conf, "parameters", ablation={"looks": {}})


def test_tags_in_params_are_refused_in_one_sentence() -> None:
    option = next(o for o in cli.run.params if o.name == "params")
    context = click.Context(cli.run)
    assert option.process_value(context, "training.lr=1e-3") == {"training": {"lr": 0.001}}
    for value in ("halting.target_tau=!!python/none", "a=!!python/object/apply:os.system [ls]"):
        with pytest.raises(click.BadParameter, match="is not allowed; write plain values"):
            option.process_value(context, value)
    for value in ("a={", "a=[1", "a=*x"):
        with pytest.raises(click.BadParameter):
            option.process_value(context, value)
