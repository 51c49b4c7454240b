"""Benefit claims are found in comments, and only there."""

from pathlib import Path

import pytest

from hybrid_pipeline.review.comments import is_unreferenced_claim, read_comments

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        "Pretrained: +33% accuracy (CLIP knowledge)",
        "- TRM: +7.5 % reasoning (H/L cycles)",
        "Total: ~70% over baseline",
        "improves accuracy by 12 points",
        "3x faster convergence",
        "+5-8% with four paths",
        "COCONUT adds 10% planning (4 paths)",
        "accuracy up 25% with CLIP",
        "+12 pts alignment",
        "+12pp",
        "CLIP brings 25 percent more accuracy",
    ],
)
def test_claims(text):
    assert is_unreferenced_claim(text)


@pytest.mark.parametrize(
    "text",
    [
        "First 10% of training",
        "first 10% of training, better for the DQN",
        "first 20% of training: gives faster start",
        "adds 10% noise",
        "warm-up 10% of all updates",
        "warm-up over 3000 steps",
        "+33% accuracy, see docs/explanation/n2n.md",
        "TRM gains 7.5 points (arXiv:2510.04871, table 1)",
        "better than linear decay",
        "pixels per token side",
    ],
)
def test_not_claims(text):
    assert not is_unreferenced_claim(text)


def test_comments_are_read_with_line_and_without_strings():
    text = "a: 1  # first\nb: 'no # comment'\n# second\nc: it's fine # third\nd: x#y\n"
    found = read_comments({"f.yml": text, "credentials.yml": "# +50% accuracy"})
    assert [(c.line, c.text) for c in found] == [(1, "first"), (3, "second"), (4, "third")]


def test_own_configuration_claims_nothing():
    files = {str(p.relative_to(ROOT)): p.read_text() for p in (ROOT / "conf").rglob("*.yml")}
    claims = [c for c in read_comments(files) if is_unreferenced_claim(c.text)]
    assert claims == []
