"""``kedro run`` of the project: default runner, one sentence for what is refused, light help."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kedro.io import DatasetError

from hybrid_pipeline import cli
from hybrid_pipeline.cli import DASK_RUNNER, _runner, sentence
from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext import study_hooks
from hybrid_pipeline.kedro_ext.dask.runner import NodeFailedError
from kedro_projects import TinyProject, make_project
from project_conf import ROOT

JSON = "hybrid_pipeline.kedro_ext.datasets.JsonAtomicDataset"
PIPELINE = """
from pathlib import Path
from kedro.pipeline import Pipeline, node

DATA = Path(__file__).parents[2] / "data"

def bad():
    if not (DATA / "fixed").exists():
        raise ValueError("the label column 'label' is not in\\n  mine.csv")
    return {"done": True}, "arm  correct\\nfull 0.5\\n", "<html></html>"

def one_arm():
    return {"done": True}

def register_pipelines():
    pipeline = Pipeline([
        node(bad, None, ["part", "summary", "page"], name="bad"),
        node(one_arm, None, "arm", name="one_arm", tags=["cell"]),
    ])
    return {"__default__": pipeline, "ablation": pipeline, "data_rendering": pipeline}
"""
CATALOG = f"""
part: {{type: {JSON}, filepath: data/part.json}}
arm: {{type: {JSON}, filepath: data/arm.json}}
summary: {{type: text.TextDataset, filepath: data/08_reporting/summary.txt}}
page: {{type: text.TextDataset, filepath: data/08_reporting/report.html}}
"""


@pytest.fixture
def project(tmp_path: Path) -> TinyProject:
    return make_project(tmp_path, PIPELINE, CATALOG)


def _run(project: TinyProject, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kedro", "run", *args]
    return subprocess.run(
        command, cwd=project.root, env=project.env(), capture_output=True, text=True, timeout=240
    )


@pytest.mark.slow
def test_what_is_refused_is_one_sentence_on_standard_error(project: TinyProject) -> None:
    bad = _run(project, "--params", "training.epoch=3")
    assert bad.returncode == 1
    (line,) = bad.stderr.splitlines()
    assert "unknown parameter 'training.epoch'; did you mean 'epochs'?" in line
    assert "Traceback" not in bad.stdout
    missing = _run(project, "--params", "clip.source=file,clip.model=m,clip.path=tower.pt")
    assert missing.returncode == 1
    assert "parameter 'clip.path' = 'tower.pt' is refused" in missing.stderr
    unknown = _run(project, "--pipeline", "ablatoin")
    assert unknown.returncode == 1
    (line,) = unknown.stderr.splitlines()
    assert line.startswith("there is no pipeline (--pipeline) named 'ablatoin'; did you mean 'abl")
    node = _run(project, "--pipeline", "ablation", "--from-nodes", "one_amr")
    assert node.returncode == 1
    (line,) = node.stderr.splitlines()
    assert line == (
        "there is no node (--from-nodes) in this pipeline named 'one_amr'; did you mean "
        "'one_arm'? (there are: bad, one_arm)."
    )


@pytest.mark.slow
def test_a_full_disk_behind_standard_output_ends_in_a_sentence(project: TinyProject) -> None:
    project.out("fixed").touch()
    shutil.copy(ROOT / "conf/logging.yml", project.root / "conf")
    command = [sys.executable, "-m", "kedro", "run", "--runner", "SequentialRunner"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=project.root, env=project.env(), stdout=full, stderr=subprocess.PIPE,
            text=True, timeout=240,
        )  # fmt: skip
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("the run is done and its files are written, but its summary was not")
    assert "Traceback" not in done.stderr
    assert project.out("08_reporting/summary.txt").is_file()


def test_jupyter_names_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(cli.cli, ["jupyter", "lab"])
    assert done.exit_code == 1
    assert "'kedro jupyter lab' needs the package 'jupyterlab'" in done.output


@pytest.mark.slow
def test_a_failing_node_is_named_and_its_traceback_is_kept(project: TinyProject) -> None:
    failed = _run(project, "--pipeline", "data_rendering")
    assert failed.returncode == 1
    *_, line = failed.stderr.splitlines()
    assert line.startswith("node 'bad' failed: the label column 'label' is not in mine.csv")
    assert "Traceback" not in failed.stdout + failed.stderr
    log = project.out("07_model_output/last_error.log")
    assert str(log.relative_to(project.root)) in line
    assert "Traceback" in log.read_text()
    verbose = _run(project, "--pipeline", "data_rendering", "--verbose")
    assert "Traceback" in verbose.stdout + verbose.stderr


@pytest.mark.slow
def test_a_finished_study_ends_with_its_table_and_where_to_look(project: TinyProject) -> None:
    project.out("fixed").touch()
    done = _run(project, "--pipeline", "ablation", "--runner", "SequentialRunner")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "\narm  correct\nfull 0.5\n\nReport:" in done.stdout
    assert "Report:  data/08_reporting/report.html" in lines
    assert "MLflow:  mlflow ui --backend-store-uri sqlite:///mlflow.db" in lines
    only = ("--runner", "SequentialRunner", "--nodes", "one_arm")  # an old report lies there
    part = _run(project, "--pipeline", "ablation", *only)
    assert part.returncode == 0, part.stderr
    assert "arm  correct" not in part.stdout
    assert "Report:" not in part.stdout


@pytest.mark.slow
def test_help_needs_neither_torch_nor_mlflow(project: TinyProject) -> None:
    code = (
        "import sys; sys.argv = ['kedro', 'run', '-h']\n"
        "from kedro.framework.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'mlflow', 'scipy', 'distributed'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        env=project.env(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "--runner-params" in done.stdout
    assert "--verbose" in done.stdout


@pytest.mark.parametrize(
    ("given", "pipelines", "runner"),
    [
        (None, {"ablation"}, DASK_RUNNER),
        (None, {"__default__"}, DASK_RUNNER),
        (None, {"data_rendering"}, None),
        ("SequentialRunner", {"ablation"}, "SequentialRunner"),
        ("DaskRunner", {"data_rendering"}, DASK_RUNNER),
    ],
)
def test_studies_use_all_cores_unless_told(
    given: str | None, pipelines: set[str], runner: str | None
) -> None:
    assert _runner(given, pipelines) == runner


def test_the_command_keeps_every_option_of_kedro() -> None:
    theirs = {option.name for option in cli.kedro_run.params}
    ours = {option.name for option in cli.run.params}
    assert ours - theirs == {"verbose"}
    assert not theirs - ours


def test_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_hooks, "_last_failed_node", None)
    assert sentence(ConfigError("parameter 'a' is refused.")) == "parameter 'a' is refused."
    assert sentence(KeyError("a")) == "KeyError: 'a'"
    assert sentence(DatasetError("no\nfile")) == "no file"
    monkeypatch.setattr(study_hooks, "_last_failed_node", "train")
    assert sentence(TypeError()) == "node 'train' failed: TypeError: TypeError"
    assert sentence(NodeFailedError("node 'x' failed: y")) == "node 'x' failed: y"


def test_ctrl_c_ends_with_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, cli._one_sentence(verbose=False, options={}):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert "run the same command to resume" in capsys.readouterr().err
    with pytest.raises(click.UsageError), cli._one_sentence(verbose=False, options={}):
        raise click.UsageError("no such option")
