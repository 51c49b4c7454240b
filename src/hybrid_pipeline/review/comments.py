"""Benefit claims in configuration comments."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hybrid_pipeline.review.findings import Comment, Finding, ReviewInputs

# A figure; "10% of training" says how long something lasts and is none.
_NUMBER = (
    r"\d+(?:\.\d+)?(?:\s*(?:-|to)\s*\d+(?:\.\d+)?)?"
    r"\s*(?:%|percent\b|points?\b|pts?\b|pp\b|x\b)"
    r"(?!\s+of\s+(?:the\s+|all\s+)?(?:training|steps|updates|epochs|run|data|examples|memory)\b)"
)
_FIGURE = re.compile(_NUMBER, re.IGNORECASE)
_SIGNED = re.compile(rf"[+~≈]\s*{_NUMBER}", re.IGNORECASE)
_WORDED = re.compile(
    r"\b(improve\w*|gains?|better|boosts?|benefits?|faster|higher accuracy|speed-?up|reduc\w+"
    r"|more|increase\w*)\b",
    re.IGNORECASE,
)
# Words that promise only right before a figure: "adds 10% planning", but not "adds 10% noise".
_LEADING = re.compile(
    rf"(?:\badd(?:s|ed)?|(?<![\w-])up(?:\s+by)?)\s+{_NUMBER}(?!\s+(?:noise|dropout|padding)\b)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(docs/|benchmarks/|data/08_reporting|\.md\b|\.json\b|arxiv|doi|https?://"
    r"|section \d|table \d)",
    re.IGNORECASE,
)


def read_comments(files: Mapping[str, str]) -> tuple[Comment, ...]:
    """The comments of YAML files.

    Args:
        files: file name -> text. Names with ``credentials`` in them are left out unread.
    """
    found: list[Comment] = []
    for name in sorted(files):
        if "credentials" in name:
            continue
        for number, line in enumerate(files[name].splitlines(), start=1):
            text = _comment_of(line)
            if text:
                found.append(Comment(name, number, text))
    return tuple(found)


def is_unreferenced_claim(text: str) -> bool:
    """Whether a comment promises a benefit in figures and names no result that shows it."""
    if _REFERENCE.search(text):
        return False
    with_word = bool(_WORDED.search(text)) and bool(_FIGURE.search(text))
    return with_word or bool(_SIGNED.search(text) or _LEADING.search(text))


def benefit_claims(inputs: ReviewInputs) -> list[Finding]:
    """A benefit in a configuration comment without a reference to a result."""
    return [
        Finding(
            id="benefit_claim_in_comment",
            severity="warning",
            path=f"{comment.file}:{comment.line}",
            value=comment.text,
            computed={},
            recommendation=(
                "Remove the figure or name the result that shows it (a file under docs/ or "
                "benchmarks/, a report, a paper's table). Claims are kept as data in claims.yml."
            ),
            quote="These are aspirational numbers, not measured",
            evidence="heuristic",
        )
        for comment in inputs.comments
        if is_unreferenced_claim(comment.text)
    ]


def _comment_of(line: str) -> str:
    quote = ""
    for position, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not _inside_word(line, position):
            quote = char
        elif char == "#" and (position == 0 or line[position - 1] in " \t"):
            return line[position + 1 :].strip()
    return ""


def _inside_word(line: str, position: int) -> bool:
    return position > 0 and line[position - 1].isalnum()
