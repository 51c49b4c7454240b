"""Small, degenerate and malformed score tables through the public command.

Each ends in a result or in one sentence, never in a traceback or a library's own message.
"""

import functools
import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.stats.command import main
from hybrid_pipeline.stats.results import StudyResults

HEADER = "arm,seed,task,example,correct\n"


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    few = functools.partial(EvaluationConfig, num_resamples=100)
    monkeypatch.setattr("hybrid_pipeline.stats.command.EvaluationConfig", few)


def csv_of(
    right: Callable[[str, int, int], bool],
    *,
    arms: Sequence[str] = ("a", "b"),
    seeds: Sequence[int] = (0, 1, 2),
    tasks: Sequence[str] = ("t",),
    num_examples: int = 4,
) -> str:
    """A table in which ``right`` tells for arm, seed and example whether the answer is right."""
    return HEADER + "".join(
        f"{arm},{seed},{task},{example},{int(right(arm, seed, example))}\n"
        for task in tasks
        for arm in arms
        for seed in seeds
        for example in range(num_examples)
    )


def run_on(text, tmp_path, capsys, *options):
    """Return code, standard output and standard error; a warning of numpy or scipy is an error."""
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = main([str(path), "--json", str(tmp_path / "r.json"), *options])
    out, err = capsys.readouterr()
    assert (code, bool(out), bool(err)) in [(0, True, False), (2, False, True)], (out, err)
    if code:
        assert err.endswith(".\n"), err
        assert err.count("\n") == 1, err
    else:
        assert not re.search(r"[+x-]nan|nan [%p]", out), out
        StudyResults.from_json((tmp_path / "r.json").read_text())
    return code, out, err


SAME = "both arms score the same on every example"
DEGENERATE = {
    "all right": (csv_of(lambda *_: True), 0, f"not evaluable: {SAME}"),
    "all wrong": (csv_of(lambda *_: False), 0, f"not evaluable: {SAME}"),
    "one arm all right": (csv_of(lambda a, *_: a == "b"), 0, "+100.0 points [+100.0, +100.0]"),
    "equal seeds": (
        csv_of(lambda a, s, e: a == "b" and e == 1), 0, "+25.0 points [-54.6, +104.6]",
    ),
    "equal examples": (
        csv_of(lambda a, s, e: a == "b" and s == 1), 0, "+33.3 points [-110.1, +176.8]",
    ),
    "every mean the same": (
        csv_of(lambda a, s, e: a == "b" and s == e, num_examples=3), 0,
        "+33.3 points [-32.1, +98.8]",
    ),
    "seed means the same": (
        csv_of(lambda a, s, e: a == "b" and (s + e) % 2, num_examples=2), 0, "+50.0 points",
    ),
    "one example": (csv_of(lambda a, s, e: s == 1, num_examples=1), 2, "the only example"),
    "two seeds": (csv_of(lambda a, s, e: s == e, seeds=(0, 1)), 0, "Nothing is judged: 2 seeds"),
    "one seed": (csv_of(lambda a, s, e: e == 1, seeds=(7,)), 2, "are all of seed 7"),
    "one arm": (csv_of(lambda a, s, e: (s + e) % 2, arms=("a",)), 0, "a is the only arm"),
    "one task as another": (
        csv_of(lambda a, s, e: a == "b" and s == e, tasks=("t", "u")), 0, "+25.0 points",
    ),
    "only a header": (HEADER, 2, "no rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_tables_give_a_result_or_one_sentence(name, tmp_path, capsys):
    text, code, words = DEGENERATE[name]
    found, out, err = run_on(text, tmp_path, capsys)
    assert found == code
    assert words in (err if code else out)


def test_one_seed_is_described_if_holes_are_allowed(tmp_path, capsys):
    text = DEGENERATE["one seed"][0]
    code, out, _ = run_on(text, tmp_path, capsys, "--allow-missing")
    assert code == 0
    assert out.startswith("Nothing is judged: 1 seed")


def test_names_reach_the_verdict_as_they_are_written(tmp_path, capsys):
    """Two arms that a number would merge into one, and names that pandas reads as missing."""
    for first, second in (("1.1", "1.10"), ("None", "null"), ("NA", "nan"), ("007", "7")):
        text = csv_of(lambda a, s, e, b=second: a == b or s == e, arms=(first, second),
                      tasks=(second,))  # fmt: skip
        code, out, _ = run_on(text, tmp_path, capsys)
        assert code == 0
        assert out.startswith(f"{second} against {first}: +75.0 points")
        assert StudyResults.from_json((tmp_path / "r.json").read_text()).tasks == (second,)


NASTY = ["", " ", "nan", "None", "NA", "inf", "-inf", "-1", "2", "1.0", "1e400", "1e16", "0x1",
         "1_0", "true", "False", "yes", "٣", "café", "\x00", "a\tb", '"', '"a,b"', "a,b", "mean",
         "\u200b", "9" * 20, "-0", "0.5", "1" * 400, "\ufeff", "=1+1"]  # fmt: skip


def malformed(rng):
    """A small table of answers, often all alike, with up to two faults."""
    arms, tasks = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    seeds, examples = int(rng.integers(2, 5)), int(rng.integers(1, 5))
    values = {"slots_correct": "1", "slots_total": "3", "length": "1"}
    more = [name for name in ("supervision_steps", "updates", "length") if rng.random() < 0.2]
    more += ["slots_correct", "slots_total"] if rng.random() < 0.5 else []
    share = rng.choice([0.0, 0.1, 0.5, 1.0])
    table = [HEADER.strip().split(",") + more] + [
        [f"a{a}", str(s), f"t{t}", str(e), str(int(rng.random() < share)),
         *(values.get(name, "2") for name in more)]
        for a in range(arms) for s in range(seeds) for t in range(tasks) for e in range(examples)
    ]  # fmt: skip
    for _ in range(int(rng.integers(3))):
        _break(table, rng)
    return "\n".join(",".join(row) for row in table)


def _break(table, rng):
    row = int(rng.integers(len(table)))
    cells = table[row]
    place = int(rng.integers(len(cells)))
    match int(rng.integers(8)):
        case 0 if len(table) > 1:
            del table[row]
        case 1:
            table.insert(row, list(cells))
        case 2 if len(cells) > 1:
            del cells[place]
        case 3:
            table[1:] = [line for line in table[1:] if line[place:] != cells[place:]]
        case 4 | 5:
            value = str(rng.choice(NASTY))
            for line in table[1:]:
                line[min(place, len(line) - 1)] = value
        case _:
            cells[place] = str(rng.choice(NASTY))


def test_malformed_tables_give_a_result_or_one_sentence(tmp_path, capsys):
    rng = np.random.default_rng(11)
    codes = []
    for _ in range(500):
        options = [o for o in ("--allow-missing", "--metric=slots") if rng.random() < 0.3]
        text = malformed(rng)
        try:
            codes.append(run_on(text, tmp_path, capsys, *options)[0])
        except Exception as error:
            raise AssertionError(f"{options} on {text!r}") from error
    assert 20 < codes.count(0) < 480
