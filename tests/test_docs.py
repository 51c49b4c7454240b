"""Documentation held to the project: links, commands, tree, figures, notebook."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hybrid_pipeline.arms import chain
from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.kedro_ext.project_parameters import validate_parameters
from hybrid_pipeline.kedro_ext.study_folder import study_name
from hybrid_pipeline.report.inputs import ReportInputs, TaskBaseline, TowerDisclosure
from hybrid_pipeline.report.latest import point_latest
from hybrid_pipeline.report.study import compound_document, effects_frame
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.results import StudyResults

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "conf").glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(kedro run|kedro viz|make|python|pytest)\b")
TREE_LINE = re.compile(r"^([│ ]*)[├└]── (\S+)")
ALLOWED_HOSTS = {
    "kedro.org", "keepachangelog.com", "semver.org", "arxiv.org", "www.nature.com",
    "img.shields.io",
}  # fmt: skip


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text("utf-8")), flags=re.M)
    words = [re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings]
    return set(words)


def commands(text: str) -> Iterator[str]:
    """Commands in code blocks and in inline code, joined over line ends."""
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```$", text, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.split(" #")[0].strip()
    for inline in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose(text)):
        yield " ".join(inline.split())


def documented() -> list[tuple[str, str]]:
    """Every (page, command) of the documentation, but for those on a package of the reader's.

    The packages of ``add-a-*.md`` are written and run by tests/test_own_component.py and
    tests/tasks/test_own_source.py.
    """
    return [
        (str(page.relative_to(ROOT)), command)
        for page in PAGES
        for command in commands(page.read_text("utf-8"))
        if COMMAND.match(command) and not (page.name.startswith("add-a-") and "--params" in command)
    ]


def registered_pipelines() -> set[str]:
    """The names in the registry, read from its source: no parameters are needed."""
    tree = ast.parse((ROOT / "src/hybrid_pipeline/pipeline_registry.py").read_text("utf-8"))
    register = next(
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "register_pipelines"
    )
    returned = next(node.value for node in register.body if isinstance(node, ast.Return))
    return {ast.literal_eval(key) for key in returned.keys}  # type: ignore[union-attr,arg-type]


def option(words: list[str], name: str) -> str | None:
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


@cache
def environment(env: str) -> dict[str, Any]:
    """Parameters of base with an environment on top, as Kedro merges them."""
    from kedro.config import OmegaConfigLoader

    from hybrid_pipeline.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(conf_source=str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)
    return dict(loader["parameters"])


def merged_parameters(env: str | None, overrides: str | None) -> dict[str, Any]:
    """The same with ``--params`` on top, split as Kedro splits them."""
    from kedro.framework.cli.utils import _split_params

    given = _split_params(None, None, overrides) if overrides else {}
    return dict(merge(environment(env or "base"), given))


def merge(base: Any, over: Any) -> Any:
    """``over`` on top of ``base``, key by key."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return over


# --- Links and names


def test_relative_links_resolve(page: Path) -> None:
    for target in LINK.findall(prose(page.read_text("utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def test_every_page_is_reachable_from_the_index() -> None:
    seen, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in LINK.findall(prose(page.read_text("utf-8"))):
            linked = (page.parent / target.partition("#")[0]).resolve()
            if not target.startswith("http") and linked.is_file():
                todo.append(linked)
    docs = {p for p in PAGES if p.is_relative_to(ROOT / "docs")} | {ROOT / "conf/README.md"}
    assert {str(p.relative_to(ROOT)) for p in docs - seen} == set()


def test_no_hosts_and_no_paths_of_a_machine(page: Path) -> None:
    text = page.read_text("utf-8")
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= ALLOWED_HOSTS
    assert not re.search(r"(?<![\w.])/(home|work|root|Users|tmp)/", text)


# --- Commands


@pytest.mark.parametrize(("where", "command"), documented())
def test_documented_command_exists(where: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
        named = [w for w in words[1:] if "=" not in w and not w.startswith("-")]
        assert set(named) <= set(targets), where
    elif words[0] == "python":
        check_python(words[1:])
    elif words[0] == "pytest":
        paths = [w for w in words[1:] if not w.startswith("-")]
        assert all((ROOT / p).exists() for p in paths), where
    elif words[:2] == ["kedro", "run"]:
        check_kedro_run(words[2:])


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
    elif words[0] != "-c":
        assert (ROOT / words[0]).is_file()


def check_kedro_run(words: list[str]) -> None:
    from hybrid_pipeline.cli import run

    known = {name for parameter in run.params for name in parameter.opts}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known
    pipeline, env, namespaces = (
        option(words, "--pipeline"),
        option(words, "--env"),
        option(words, "--namespaces"),
    )
    assert pipeline in {None, "NAME", *registered_pipelines()}
    assert namespaces in {None, "NAME", *(arm.name for arm in chain())}
    given = option(words, "--params")
    if given is not None and "..." not in given:
        validate_parameters(merged_parameters(env, given))
    elif env is not None and env != "NAME":
        assert (ROOT / "conf" / env / "parameters").is_dir()


@pytest.mark.parametrize("env", ["base", "smoke", "gpu", "t4_session", "t4"])
def test_environments_are_valid(env: str) -> None:
    assert validate_parameters(merged_parameters(env, None))["training"].epochs > 0


def test_yaml_of_the_pages_is_valid_as_parameters() -> None:
    """Blocks that set parameters fit the models, on top of base, or of t4 in the page about it."""
    checked = 0
    for page in PAGES:
        base = environment("t4" if "t4" in page.name else "base")
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", page.read_text("utf-8"), re.M | re.S):
            value = yaml.safe_load(block)
            if not isinstance(value, dict) or not set(value) <= set(base) or "plugins" in value:
                continue  # tests/test_own_component.py and test_own_source.py run plugins' blocks
            checked += 1
            validate_parameters(merge(base, value))
    assert checked >= 8


# --- The tree and the generated pages


def test_tree_of_the_readme_names_what_exists() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    folders: dict[int, str] = {}
    found = 0
    for line in text.splitlines():
        match = TREE_LINE.match(line)
        if match is None:
            continue
        depth, name = len(match[1]) // 4, match[2]
        path = ROOT / Path(*(folders[d] for d in range(depth))) / name
        assert path.exists(), line
        assert path.is_dir() == name.endswith("/"), line
        folders[depth] = name.rstrip("/")
        found += 1
    rooms = {
        p.name for p in (ROOT / "src/hybrid_pipeline").iterdir() if (p / "__init__.py").exists()
    }
    assert rooms <= set(re.findall(r"── (\w+)/", text))
    assert found > 20


def test_the_readmes_python_runs_without_torch() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    code += "\nimport sys\nassert 'torch' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["arm_2_clip", "arm_3_n2n", "arm_4_trm"]
    gain = r": [+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\], \w+"
    assert all(re.search(gain, line) for line in lines)


def load_script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parameter_reference_is_current() -> None:
    made = load_script("docs/reference/make_parameters.py").page()
    assert (ROOT / "docs/reference/parameters.md").read_text("utf-8") == made


def test_parameter_reference_has_every_key_of_base() -> None:
    text = (ROOT / "docs/reference/parameters.md").read_text("utf-8")

    def leaves(value: Any, prefix: str = "") -> Iterator[str]:
        for key, inner in value.items():
            if isinstance(inner, dict) and key not in {
                "options",
                "original",
                "corrected",
                "counts",
            }:
                yield from leaves(inner, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    for group, value in merged_parameters(None, None).items():
        if group == "claims":
            continue
        assert f"\n## {group}\n" in text
        if not isinstance(value, dict):
            continue
        tasks = value.values() if group == "tasks" else [value]
        for keys in map(leaves, tasks):
            missing = [key for key in keys if f"`{key}`" not in text and not key.endswith("counts")]
            assert missing == []


def test_claimed_figures_stand_in_claims_alone() -> None:
    """No page says what a component gains but by a measurement: +25 % and the like."""
    claims = yaml.safe_load((ROOT / "conf/base/parameters/claims.yml").read_text("utf-8"))
    quotes = [s["quote"] for s in claims["claims"]["statements"] if s["kind"] == "gain"]
    figures = {f for q in quotes for f in re.findall(r"\+?\d+(?:-\d+)?%", q)}
    assert len(figures) > 5
    for page in PAGES:
        if "claims" in page.name or page.name == "seed_hyperparameter_analysis.md":
            continue  # the document itself, under its notice
        text = page.read_text("utf-8").replace(" %", "%")
        found = [f for f in figures if f.startswith("+") and f in text]
        assert found == [], page.name


# --- The measured table


STUDY = study_name(None, merged_parameters(None, None))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a synthetic study: two tasks, five arms, seeds 0 to 2."""
    root = tmp_path_factory.mktemp("project")
    results, scores = synthetic_study()
    outputs, reporting = (root / "data" / d / STUDY for d in ("07_model_output", "08_reporting"))
    outputs.mkdir(parents=True)
    reporting.mkdir(parents=True)
    point_latest(reporting)
    plain = results.model_dump(mode="json")
    (outputs / "study_results.json").write_text(results.to_json(), "utf-8")
    inputs = ReportInputs(
        results=results,
        baselines=(TaskBaseline(task="grid", majority=0.2, chance=0.1),),
        tower=TowerDisclosure(name="toy", source="bundled", sentence="It is not OpenAI's CLIP."),
        provenance={"updates per cell": [250], "code": {"commit": "abc123"}},
    )
    (outputs / "report_inputs.json").write_text(inputs.model_dump_json(), "utf-8")
    scores.to_parquet(reporting / "scores.parquet", index=False)
    effects_frame(plain).to_csv(reporting / "effects.csv", index=False)
    (reporting / "compound.json").write_text(json.dumps(compound_document(plain)), "utf-8")
    return root


def synthetic_study() -> tuple[StudyResults, pd.DataFrame]:
    rng = np.random.default_rng(3)
    frames = []
    for task, level in (("grid", 0.45), ("path", 0.2)):
        ease = rng.normal(0, 0.1, 80)
        for step, arm in enumerate(chain()):
            for seed in range(3):
                share = np.clip(level + 0.05 * step + ease + rng.normal(0, 0.02), 0.01, 0.99)
                slots = rng.binomial(8, share)
                frames.append(
                    pd.DataFrame(
                        {
                            "arm": arm.name,
                            "seed": seed,
                            "task": task,
                            "example": np.arange(80),
                            "correct": (slots >= 5).astype(int),
                            "slots_correct": slots,
                            "slots_total": 8,
                            "supervision_steps": 1,
                        }
                    )
                )
    scores = pd.concat(frames, ignore_index=True)
    study = Study(
        scores=scores,
        arms=[arm.name for arm in chain()],
        components={arm.name: arm.components for arm in chain()},
        metrics={"grid": "slots", "path": "correct"},
        evaluation=EvaluationConfig(num_resamples=100),
    )
    results = analyse(study)
    return results, scores


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/update_readme.py")


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "README.md", tmp_path / "README.md"))


def updated(script: ModuleType, study: Path, readme: Path) -> int:
    return int(script.main(["--data", str(study / "data"), "--readme", str(readme)]))


def block_of(script: ModuleType, readme: Path) -> str:
    return str(readme.read_text("utf-8").split(script.START)[1].split(script.END)[0])


def test_readme_table_round_trips(script: ModuleType, study: Path, readme: Path) -> None:
    before = readme.read_text("utf-8")
    assert updated(script, study, readme) == 0
    text, block = readme.read_text("utf-8"), block_of(script, readme)
    assert updated(script, study, readme) == 0
    assert readme.read_text("utf-8") == text
    assert text.split(script.START)[0] == before.split(script.START)[0]
    assert text.split(script.END)[1] == before.split(script.END)[1]

    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
    header, arms = rows[0], rows[2:]
    effects = pd.read_csv(study / "data/08_reporting" / STUDY / "effects.csv")
    stages = effects[(effects.kind == "stage") & (effects.task == "mean")]
    column = header.index("against the arm before, points")
    assert len(arms) == len(chain()) == len(stages) + 1
    for shown, (_, stage) in zip(arms[1:], stages.iterrows(), strict=True):
        numbers = [float(x) for x in re.findall(r"[-+]\d+\.\d", shown[column])]
        expected = [100 * stage[name] for name in ("estimate", "low", "high")]
        assert numbers == pytest.approx(expected, abs=0.0501)
        word, _, reason = stage.verdict.partition(": ")
        assert shown[-1].startswith(word)
        if reason.startswith("finds"):
            assert shown[-1] == f"{word} ({reason.partition(';')[0]})"


def test_readme_shows_the_kept_study(script: ModuleType) -> None:
    scores = pd.read_parquet(ROOT / "benchmarks/reference/eight_seeds/scores.parquet")
    judged = scores[scores.length == scores.length.max()]
    means = judged.groupby(["task", "arm"]).correct.mean() * 100
    block = block_of(script, ROOT / "README.md")
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
    arms = [arm for arm in chain() if arm.name in set(judged.arm)]
    assert {arm.name for arm in arms} == set(judged.arm)
    assert [label[:2] for label, *_ in rows[2:]] == [f"{k} " for k in range(1, len(arms) + 1)]
    for arm, (_, maze, sudoku, *_) in zip(arms, rows[2:], strict=True):
        for task, shown in (("maze_4x4", maze), ("sudoku_4x4", sudoku)):
            assert float(shown.partition(" ")[0]) == pytest.approx(
                means[task, arm.name], abs=0.0501
            )


def test_readme_table_has_what_a_figure_needs(
    script: ModuleType, study: Path, readme: Path
) -> None:
    updated(script, study, readme)
    block = block_of(script, readme)
    assert "seeds 0, 1, 2" in block
    assert "80 test examples" in block
    assert "95 % intervals" in block
    assert "250 updates" in block
    assert "not OpenAI's CLIP" in block
    assert "majority 20.0 %" in block
    means = pd.read_parquet(study / "data/08_reporting" / STUDY / "scores.parquet")
    grid = means[(means.task == "grid") & (means.arm == chain()[0].name)]
    assert f"| {100 * (grid.slots_correct / 8).mean():.1f} [" in block


def test_readme_table_refuses_files_of_two_studies(
    script: ModuleType,
    study: Path,
    readme: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Path(shutil.copytree(study, tmp_path / "other", symlinks=True))
    path = other / "data/08_reporting" / STUDY / "scores.parquet"
    scores = pd.read_parquet(path)
    scores.loc[0, "slots_correct"] = 8 - scores.loc[0, "slots_correct"] + 1
    scores.assign(slots_correct=scores.slots_correct.clip(0, 8)).to_parquet(path, index=False)
    before = readme.read_text("utf-8")
    assert updated(script, other, readme) == 2
    assert "scores.parquet" in capsys.readouterr().err
    assert readme.read_text("utf-8") == before


def test_readme_without_markers_is_left_alone(
    script: ModuleType, study: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "README.md"
    plain.write_text("# nothing\n", "utf-8")
    assert updated(script, study, plain) == 2
    assert plain.read_text("utf-8") == "# nothing\n"


def test_readme_block_is_a_measured_table_or_says_how_to_get_one(script: ModuleType) -> None:
    block = block_of(script, ROOT / "README.md").strip()
    assert block == script.PLACEHOLDER or ("seeds" in block and "intervals" in block)


# --- The notebook


def test_notebook_has_no_outputs() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert all(not c.get("outputs") and not c.get("execution_count") for c in cells)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_notebook_reads_a_study(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    project = Path(shutil.copytree(study, tmp_path / "project", symlinks=True))
    path = project / "data/08_reporting" / STUDY / "scores.parquet"
    scores = pd.read_parquet(path)
    short = scores.assign(length=0.25, correct=1 - scores.correct)  # not reported
    pd.concat([short, scores.assign(length=1.0)]).to_parquet(path, index=False)
    shutil.copy(ROOT / "pyproject.toml", project)
    shutil.copytree(ROOT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf/local").mkdir()
    (project / "src").mkdir()
    (project / "notebooks").mkdir()
    notebook = Path(shutil.copy(ROOT / "notebooks/read_a_study.ipynb", project / "notebooks"))
    convert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    done = subprocess.run(
        [*convert, "--output", "read.ipynb", str(notebook)],
        capture_output=True,
        text=True,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = (project / "notebooks/read.ipynb").read_text("utf-8")
    assert "arm_5_coconut against arm_1_baseline" in text
    assert "image/png" in text  # the figure, which needs no network
