import io
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_pipeline.claims.__main__ import main as claims_main
from hybrid_pipeline.stats.command import main
from hybrid_pipeline.stats.results import StudyResults

CLAIMS = Path(__file__).parents[2] / "conf/base/parameters/claims.yml"


@pytest.fixture
def scores(make_table, chain, tmp_path):
    values = {**dict(zip(chain, (0.3, 0.4, 0.4, 0.5, 0.5), strict=True)), "control_wide_vit": 0.5}
    path = tmp_path / "scores.csv"
    make_table(values, num_examples=60, seed_sd=0.02, slots=4).to_csv(path, index=False)
    return path


def test_text_and_json_say_the_same(scores, tmp_path, capsys):
    out = tmp_path / "deep" / "results.json"
    assert claims_main([str(scores), str(CLAIMS), "--json", str(out)]) == 0
    text = capsys.readouterr().out
    results = StudyResults.from_json(out.read_text())
    assert text.startswith(results.headline)
    assert results.arms[-1] == "arm_5_coconut"
    assert len(results.claims) > 60
    assert results.tasks == ("maze",)
    for words in ("Effects, maze", "Compound estimate", "Controls", "Claims",
                  "80 % power"):  # fmt: skip
        assert words in text
    assert "mean over tasks" not in text
    for effect in results.stages():
        assert effect.verdict in text


def test_options_reach_the_analysis(scores, tmp_path, capsys):
    out = tmp_path / "r.json"
    options = ["--delta", "0.05", "--level", "0.9", "--metric", "slots", "--json", str(out)]
    assert main([str(scores), *options]) == 0
    capsys.readouterr()
    results = StudyResults.from_json(out.read_text())
    assert (results.delta, results.alpha) == (0.05, 0.1)
    assert results.metrics == {"maze": "slots"}


def test_any_arms_form_a_chain_from_the_baseline(make_table, tmp_path, capsys):
    path = tmp_path / "s.parquet"
    make_table({"tuned": 0.6, "plain": 0.4}, tasks=("a", "b"), seed_sd=0.02).to_parquet(path)
    assert main([str(path), "--baseline", "plain"]) == 0
    assert capsys.readouterr().out.startswith("tuned against plain: +")
    assert main([str(path), "--baseline", "nobody"]) == 2
    assert (
        capsys.readouterr().err == "there is no arm 'nobody' in the table; it has tuned, plain.\n"
    )


def test_missing_cells_are_refused_or_listed(make_table, tmp_path, capsys):
    table = make_table({"a": 0.4, "b": 0.6}, seeds=range(4), seed_sd=0.02)
    path = tmp_path / "s.csv"
    table[(table["arm"] == "a") | (table["seed"] != 2)].to_csv(path, index=False)
    assert main([str(path)]) == 2
    assert "(b, seed 2, maze)" in capsys.readouterr().err
    assert main([str(path), "--allow-missing"]) == 0
    text = capsys.readouterr().out
    assert "Missing cells" in text
    assert "the chain has a hole at b" in text


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (main, ["--delta", "2"], "parameter 'evaluation.delta' = 2.0 is refused"),
        (claims_main, ["none.yml"], "there is no claims file"),
    ],
)
def test_bad_options_get_one_sentence(scores, command, options, words, capsys):
    assert command([str(scores), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_malformed_table_gets_one_sentence(scores, capsys):
    scores.write_text(
        scores.read_text().replace("arm_1_baseline,0,maze,0,1", "arm_1_baseline,0,maze,0,7")
    )
    assert main([str(scores)]) == 2
    assert capsys.readouterr().err == "row 2: correct is neither 0 nor 1.\n"


def test_numbers_as_names_are_analysed(make_table, tmp_path, capsys):
    table = make_table({"a": 0.4, "b": 0.6}, seed_sd=0.02)
    table["arm"], table["task"] = table["arm"].map({"a": 1, "b": 2}), 7
    table.to_csv(tmp_path / "s.csv", index=False)
    assert main([str(tmp_path / "s.csv")]) == 0
    assert capsys.readouterr().out.startswith("2 against 1: +")


def test_a_result_that_cannot_be_written_gets_one_sentence(scores, tmp_path, capsys):
    assert main([str(scores), "--json", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path}: Is a directory.\n"


@pytest.mark.parametrize(
    ("module", "more"), [("stats.command", ()), ("claims.__main__", (str(CLAIMS),))]
)
def test_the_commands_run_without_torch(scores, module, more):
    code = (
        f"import sys; from hybrid_pipeline.{module} import main;"
        f"assert main({[str(scores), *more]!r}) == 0;"
        "loaded = {'torch', 'timm', 'open_clip', 'kedro'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Compound estimate" in done.stdout


@pytest.mark.parametrize(
    ("module", "more", "last"), [("stats", [], "Compound estimate"), ("claims", [CLAIMS], "Claims")]
)
def test_the_module_is_the_command(scores, monkeypatch, capsys, module, more, last):
    monkeypatch.setattr(sys, "argv", [module, str(scores), *map(str, more)])
    monkeypatch.delitem(sys.modules, f"hybrid_pipeline.{module}.__main__", raising=False)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module(f"hybrid_pipeline.{module}", run_name="__main__")
    assert exit_.value.code == 0
    assert last in capsys.readouterr().out


def test_the_statistics_take_no_claims(scores, capsys):
    with pytest.raises(SystemExit):
        main([str(scores), "--claims", str(CLAIMS)])
    assert "unrecognized arguments: --claims" in capsys.readouterr().err


def test_a_full_standard_output_is_named(scores, monkeypatch, capsys):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    assert main([str(scores)]) == 2
    assert capsys.readouterr().err == "standard output: No space left on device.\n"


def test_home_in_the_arguments(scores, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.csv").write_bytes(scores.read_bytes())
    assert main(["~/mine.csv", "--json", "~/out.json"]) == 0
    assert (tmp_path / "out.json").is_file()
