"""What holds for the repository as a whole."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest
import yaml
from kedro.io import DataCatalog

from project_conf import ENVIRONMENTS, ROOT, groups_of, in_a_run, loader

# The figures that were claimed for the components and in all, as gains in percent. They belong to
# parameters/claims.yml alone: nothing else may repeat them as if they had been measured.
CLAIMED = ("10", "12", "18", "25", "65", "82")
GAIN = re.compile(rf"\+\s?(?:{'|'.join(CLAIMED)})\s?(?:%|per ?cent|points)")
SHARE = re.compile(r"(?<![\d.])(?:18|25|65|82)\s?(?:%|per ?cent)")
COMPOUND = re.compile(r"1\.82|~\s?65")
CLAIMS = "conf/base/parameters/claims.yml"
SEED_ANALYSIS = "docs/reference/seed_hyperparameter_analysis.md"  # the claims' own text


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, or all files where git knows nothing of the folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [name for name in listed.stdout.split("\0") if name]
    found = [ROOT / name for name in names] or [p for q in patterns for p in ROOT.glob(q)]
    return [path for path in found if path.is_file()]


def words_of(path: Path) -> str:
    return path.read_text("utf-8")


@pytest.mark.parametrize("pattern", [GAIN, SHARE, COMPOUND], ids=["gain", "share", "compound"])
def test_claimed_figures_stand_in_the_claims_file_alone(pattern):
    files = tracked("conf/**/*.yml", "conf/*.yml", "src/**/*.py")
    if pattern is not SHARE:  # shares of other things are measured and written about
        files += tracked("README.md", "docs/**/*.md")
    assert ROOT / CLAIMS in files
    assert pattern.search(words_of(ROOT / CLAIMS)), "the pattern must find what it forbids"
    hits = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in files
        if path not in (ROOT / CLAIMS, ROOT / SEED_ANALYSIS)
        for match in [pattern.search(words_of(path))]
        if match
    }
    assert hits == set()


def test_no_comment_in_the_configuration_promises_a_gain():
    promise = re.compile(r"\b(?:boost|improves?|improvement|gains?)\b.*\d\s?%", re.IGNORECASE)
    hits = []
    for path in tracked("conf/**/*.yml", "conf/*.yml"):
        for number, line in enumerate(words_of(path).splitlines(), 1):
            _, mark, comment = line.partition("#")
            if mark and path != ROOT / CLAIMS and promise.search(comment):
                hits.append(f"{path.relative_to(ROOT)}:{number}")
    assert hits == []


def test_the_lock_file_has_exact_pins_and_no_address():
    lines = words_of(ROOT / "requirements.lock").splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert len(pins) > 100
    assert all(re.match(r"^[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!+-]+", pin) for pin in pins)
    assert not re.search(r"https?:|file:|@\s|--(?:extra-)?index-url|--find-links", "\n".join(lines))


def test_the_lock_file_pins_every_direct_dependency():
    import tomllib

    project = tomllib.loads(words_of(ROOT / "pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=!~ ]", w)[0].lower().replace("_", "-") for w in wanted}
    pinned = {
        line.split("==")[0].split("[")[0].lower().replace("_", "-")
        for line in words_of(ROOT / "requirements.lock").splitlines()
        if "==" in line
    }
    assert names <= pinned


def test_nothing_is_sent_home():
    assert yaml.safe_load(words_of(ROOT / ".telemetry")) == {"consent": False}
    for name in ("Makefile", ".ci/run"):
        assert "DO_NOT_TRACK" in words_of(ROOT / name)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_catalog_entry_resolves(env):
    with in_a_run(env):
        config = loader(env)["catalog"]
    catalog = DataCatalog.from_config(config)
    names = {"task": "maze_4x4", "arm": "arm_4_trm", "seed": "0", "block": "1"}
    names |= {"figure": "forest", "setting": "original", "length": "25_percent"}
    assert len(config) > 20
    for pattern in config:
        name = pattern.format(**names)
        dataset = catalog.get(name)
        assert dataset is not None, name
        described = str(getattr(dataset, "_filepath", None) or getattr(dataset, "_path", ""))
        assert "{" not in described


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_environment_is_valid(env):
    groups = groups_of(env)
    assert groups["tasks"].root
    assert groups["claims"].statements


def test_environments_change_values_and_add_no_groups():
    base = set(loader("base")["parameters"])
    for env in ENVIRONMENTS[1:]:
        for path in (ROOT / "conf" / env).rglob("*.yml"):
            if "parameters" in path.parts:
                assert set(yaml.safe_load(words_of(path))) <= base


def test_nodes_hold_no_loop_over_batches_and_no_tracker():
    for path in tracked("src/hybrid_pipeline/pipelines/*/nodes.py"):
        source = words_of(path)
        assert "mlflow." not in source, path
        assert not re.search(r"^import torch|^from torch|^import open_clip", source, re.MULTILINE)
        assert not re.search(r"\bwhile\b|\.backward\(", source), path


def test_nothing_is_left_to_do_in_the_source():
    for path in tracked("src/**/*.py"):
        with io.BytesIO(path.read_bytes()) as file:
            comments = [
                t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT
            ]
        assert not [c for c in comments if re.search(r"TODO|FIXME|XXX", c)], path
