from dataclasses import replace

import pytest
from pydantic import ValidationError

from hybrid_pipeline.claims import recompute
from hybrid_pipeline.claims.audit import Measured, audit, show
from hybrid_pipeline.claims.claims import Claim, Claims, StabilityFinding, read_claims
from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.stats.results import Floor, Interval

BASE = {"id": "x", "section": "s", "quote": "q"}
GAIN = {**BASE, "kind": "gain", "unit": "gain", "component": "clip"}


def judge(statement, measured=None):
    claims = Claims(source="test", statements=({**BASE, **statement},))
    return audit(claims, measured or Measured())[0]


def sum_claim(value, gains=(0.1, 0.2), **extra):
    return {"kind": "arithmetic", "unit": "percent", "value": value, "recompute": "sum_of_gains",
            "inputs": {"gains": list(gains)}, **extra}  # fmt: skip


def range_claim(value):
    return {"kind": "arithmetic", "unit": "gain", "value": value, "recompute": "compound_range",
            "inputs": {"low": [0.1], "high": [0.2]}}  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        (sum_claim(0.30), "holds", "holds"),
        (sum_claim(0.31), "does_not_hold", "does not hold: 30.0 %"),
        (sum_claim(0.31, tolerance=0.02), "holds", "holds"),
        (sum_claim(0.304), "holds", "holds"),
        (sum_claim(0.304, decimals=1), "does_not_hold", "does not hold: 30 %"),
        (sum_claim([0.2, 0.4]), "holds", "holds"),
        (sum_claim([0.4, 0.5]), "does_not_hold", "does not hold: 30.0 %"),
        (range_claim([0.1, 0.2]), "holds", "holds"),
        (range_claim([0.1, 0.3]), "holds_in_part", "low holds, high does not: +10.0 to +20.0 %"),
        (range_claim([0.0, 0.2]), "holds_in_part", "high holds, low does not: +10.0 to +20.0 %"),
        (range_claim([0.0, 0.3]), "does_not_hold", "neither end holds: +10.0 to +20.0 %"),
        (range_claim(0.1), "does_not_hold", "does not hold: +10.0 to +20.0 %"),
    ],
)
def test_arithmetic(statement, code, words):
    row = judge(statement)
    assert row.verdict_code == code
    assert row.verdict.replace("30.00 %", "30 %") == words


INTERVAL = Interval(estimate=0.10, low=0.05, high=0.15)
PLATEAU = Measured(
    {("clip", "mean"): INTERVAL},
    {("clip", "mean"): 0.8},
    mde_logs={("clip", "mean"): 0.03},
    plateau_reached=True,
)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.04, "exceeded"),
        (0.16, "refuted"),
        ([0.16, 0.2], "refuted"),
        ([0.01, 0.04], "exceeded"),
        (0.05, "compatible_not_confirmed"),
        ([0.14, 0.3], "compatible_not_confirmed"),
        ([0.01, 0.9], "compatible_not_confirmed"),
        (0.30, "impossible_here"),
        ([0.24, 0.3], "refuted"),
    ],
)
def test_gains_against_interval_and_ceiling(value, code):
    row = judge({**GAIN, "value": value}, PLATEAU)
    assert row.verdict_code == code
    assert row.ceiling == pytest.approx(0.25)
    assert row.recomputed == "+10.0 % [+5.0, +15.0]"


@pytest.mark.parametrize(
    ("changes", "value", "code", "words"),
    [
        ({"plateau_reached": False}, 0.2, "not_reached", "not reached in this training length"),
        ({"plateau_reached": None}, 0.2, "not_reached", "not reached in these scores"),
        ({"plateau_reached": False}, 0.01, "exceeded",
         "exceeded in this training length: more was measured"),
        ({"mde_logs": {("clip", "mean"): 0.1}}, 0.2, "cannot_be_judged", "cannot be judged"),
        ({"mde_logs": {}}, 0.2, "cannot_be_judged", "cannot be judged"),
        ({"mde_logs": {("clip", "mean"): 0.1}}, 0.01, "cannot_be_judged", "cannot be judged"),
        ({"floor": Floor(reached=False)}, 0.2, "cannot_be_judged", "cannot be judged"),
        ({"floor": Floor(unbeaten_tasks=("maze",))}, 0.2, "refuted", "refuted"),
        ({"plateau_reached": False}, 0.3, "impossible_here", "impossible here"),
        ({"plateau_reached": False}, 0.1, "compatible_not_confirmed", "compatible, not confirmed"),
    ],
)  # fmt: skip
def test_only_a_study_that_could_see_it_refutes(changes, value, code, words):
    """Log distance of .2 to .1 is .087: above an MDE80 of .03, below one of .1."""
    row = judge({**GAIN, "value": value}, replace(PLATEAU, **changes))
    assert (row.verdict_code, row.verdict) == (code, words)


def test_a_ceiling_needs_no_interval():
    measured = Measured({}, {("clip", "mean"): 0.9})
    assert judge({**GAIN, "value": 0.5}, measured).verdict_code == "impossible_here"
    assert judge({**GAIN, "value": 0.05}, measured).verdict_code == "not_verifiable"


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [(0.1, 0.2, "refuted"), (-0.2, -0.1, "refuted"), (-0.1, 0.1, "compatible_not_confirmed")],
)
def test_compounding(low, high, code):
    interval = Interval(estimate=(low + high) / 2, low=low, high=high)
    measured = Measured(interaction=interval, plateau_reached=True)
    assert judge({"kind": "compounding"}, measured).verdict_code == code
    early = judge({"kind": "compounding"}, replace(measured, plateau_reached=False)).verdict_code
    assert early == ("cannot_be_judged" if code == "refuted" else code)
    assert judge({"kind": "compounding", "task": "maze"}, measured).verdict_code == (
        "not_verifiable"
    )


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("supported", "holds"),
        ("refuted", "does_not_hold"),
        ("inconclusive", "compatible_not_confirmed"),
    ],
)
def test_stability(outcome, code):
    measured = Measured(stability={"nan": StabilityFinding(outcome=outcome, detail="5 seeds.")})
    row = judge({"kind": "stability", "topic": "nan", "remark": "As stated."}, measured)
    assert row.verdict_code == code
    assert row.detail == "5 seeds. As stated."
    assert judge({"kind": "stability", "topic": "other"}, measured).verdict_code == (
        "not_verifiable"
    )


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (recompute.compound_without({"a": 0.1}, {"a": 0.2}, "b"), None),
        (recompute.additive_total([0.1, 0.2], [0.3], [0.4], "x"), None),
        (recompute.inside_own_ranges(5.0, {"t": {"low": [0.1], "high": [0.2]}}), "holds"),
        (
            recompute.ranges_agree({"a": [0.1, 0.2], "b": [0.1, 0.2]}, {}),
            "holds",
        ),
        (recompute.independent_range([0.1, 0.2], [0.1], [0.2]), None),
        (recompute.dqn_start_in_warmup(0.2, 0.1, 3000, 100_000, 192, 50), "holds"),
        (recompute.frozen_rate(5), "not_verifiable"),
    ],
)
def test_recomputations_can_come_out_the_other_way(result, code):
    assert result.code == code


def test_how_values_are_shown():
    assert show((), "gain", 0) == ""
    assert show((0.25,), "gain", 0) == "+25 %"
    assert show((0.8,), "percent", 0) == "80 %"
    assert show((1.82,), "factor", 2) == "1.82x"
    assert show((5_000_000.0,), "samples", 2, trim=True) == "5,000,000 samples"
    assert show((3e-4,), "rate", 0) == "0.0003"
    assert show((100.0,), "number", 0, trim=True) == "100"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"kind": "arithmetic"}, "of kind arithmetic needs recompute"),
        ({"kind": "gain", "value": 0.1}, "needs component"),
        ({"kind": "stability"}, "needs topic"),
        ({"kind": "ceiling"}, "needs value"),
        ({"kind": "gain", "component": "c", "value": [0.2, 0.1]}, "wrong way round"),
        ({"kind": "arithmetic", "recompute": "magic"}, "unknown recomputation 'magic'"),
        (
            {"kind": "arithmetic", "recompute": "share", "inputs": {"part": 1}},
            r"gives share\(part, whole\) inputs",
        ),
        (
            {"kind": "arithmetic", "recompute": "share", "inputs": {"part": 1, "whole": 0}},
            "cannot use",
        ),
        (
            {"kind": "arithmetic", "recompute": "share", "inputs": {"part": 1, "whole": 2}},
            "needs value to be compared",
        ),
        ({"kind": "opinion"}, "arithmetic"),
        ({"kind": "ceiling", "value": -1}, "a gain must be above -1"),
        ({"kind": "gain", "component": "c", "value": [-1.5, 0.2]}, "a gain must be above -1"),
        ({"kind": "ceiling", "value": "much"}, r"a value is one number, or \[low, high\]"),
        ({"kind": "ceiling", "value": [0.1, 0.2, 0.3]}, "a value is one number"),
        ({"kind": "ceiling", "value": float("nan")}, "a value is one number"),
        ({"kind": "gain", "surprise": 1}, "surprise"),
    ],
)
def test_a_bad_claim_is_refused(statement, words):
    with pytest.raises(ValidationError, match=words):
        Claim(**{**BASE, **statement})


@pytest.mark.parametrize(
    "statement",
    [
        "{id: a, section: s, quote: q, kind: gain, value: much, component: clip}",
        "{id: a, section: s, quote: q, kind: gain, component: clip}",
        "{id: a, section: s, quote: q, kind: opinion}",
    ],
)
def test_one_bad_claim_is_one_complaint(tmp_path, statement):
    path = tmp_path / "claims.yml"
    path.write_text(f"claims:\n  source: s\n  statements:\n    - {statement}\n")
    with pytest.raises(ConfigError) as error:
        read_claims(path)
    assert str(error.value).count("refused") == 1


def test_a_file_without_statements_is_refused(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("claims: {source: s, statements: []}\n")
    with pytest.raises(ConfigError, match="there is no statement to judge"):
        read_claims(path)


def test_a_ceiling_says_what_it_is():
    """A gain may be refuted beside it: that the ceiling allows it is no judgement on the gain."""
    measured = Measured({}, {("total", "mean"): 0.512, ("total", "maze"): 0.512})
    row = judge({"kind": "ceiling", "value": 0.65}, measured)
    assert row.verdict_code == "compatible_not_confirmed"
    assert row.detail == (
        "The ceiling allows it: the measured baseline is 51.2 % (geometric mean over tasks). "
        "Whether it was gained is another row."
    )
    assert row.ceiling == pytest.approx(1 / 0.512 - 1)
    high = judge({"kind": "ceiling", "value": 1.5, "task": "maze"}, measured)
    assert high.verdict_code == "impossible_here"
    assert high.detail == "The ceiling forbids it: the measured baseline is 51.2 %."
    zero = judge({"kind": "ceiling", "value": 0.5}, Measured({}, {("total", "mean"): 0.0}))
    assert zero.ceiling is None


def test_ids_are_unique():
    with pytest.raises(ValidationError, match="claim id x is used twice"):
        Claims(source="s", statements=({**GAIN, "value": 0.1}, {**GAIN, "value": 0.2}))


GOOD = """
claims:
  source: my paper
  statements:
    - {id: mine, section: 2, quote: "+10 %", kind: gain, unit: gain, value: 0.1, component: clip}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("section: 2", "section: [").encode(), "not readable YAML"),
        (b"- 1\n", "single top-level key 'claims'"),
        (b"claim: {}\n", "single top-level key 'claims'"),
        (b"\xff\xfe\x00", "not readable YAML"),
        (GOOD.encode(), r"'claims.statements.0.section' = 2 is refused"),
        (b"claims: {source: x, statement: []}\n", "did you mean 'statements'"),
    ],
)
def test_a_bad_file_gets_one_sentence(tmp_path, text, words):
    path = tmp_path / "claims.yml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_claims(path)
    assert "\n" not in str(error.value)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(GOOD.replace("section: 2", 'section: "2"'))
    assert read_claims(path).statements[0].ends == (0.1,)
    with pytest.raises(ConfigError, match="there is no claims file"):
        read_claims(tmp_path / "none.yml")
