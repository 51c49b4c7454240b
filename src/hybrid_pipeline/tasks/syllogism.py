"""Syllogisms of reasoning_gym: does the conclusion follow from two premises?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_pipeline.tasks.reasoning_gym import ReasoningGymTask, generated, register_generator
from hybrid_pipeline.tasks.source import Example, GeneratedSource, TextSource

ANSWERS = ("No", "Yes")
_STATEMENT = re.compile(r"(All|No|Some) (\w+) are (not )?(\w+)")


@register_generator("syllogism")
class Syllogism(TextSource[ReasoningGymTask], GeneratedSource[ReasoningGymTask]):
    """Two premises and a conclusion of reasoning_gym's ``syllogism``: does it follow?

    Entries whose answer is not that of the verifier are left out. reasoning_gym's rules
    do not ask that the middle term is distributed, so some of its "Yes" do not follow.
    """

    classes = ANSWERS
    libraries = ("reasoning-gym",)

    def examples(self) -> Iterator[Example]:
        """The generator's entries that are right."""
        for entries in generated(self.task, self.chunk):
            for entry in entries:
                parts = entry["metadata"]
                premises = f"{parts['premise1']}. {parts['premise2']}."
                prompt = f"{premises}\n{parts['conclusion']}?"
                answer = ANSWERS.index(str(entry["answer"]))
                if verify_syllogism(prompt, (answer,)):
                    yield Example(prompt, (answer,), (True,))

    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """Exact up to case, blanks and the order of the premises."""
        return [canonical_syllogism(text) for text in prompts]

    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """Whether the conclusion holds in every world in which the premises do, as answered."""
        return verify_syllogism(prompt, answer)

    def remarks(self, prompts: Sequence[str], targets: NDArray[Any]) -> list[str]:
        """The share of "No" if it is not the one asked for, by more than three standard errors."""
        asked = float(self.task.all_options["invalid_ratio"])
        came, n = int((targets[:, 0] == 0).sum()), len(prompts)
        if abs(came / n - asked) <= 3 * math.sqrt(max(asked * (1 - asked), 1 / n) / n):
            return []
        return [
            f"invalid_ratio {asked:g} was asked for; {came:,} of {n:,} conclusions do not follow "
            f"({came / n:.3f}), because wrong answers of the generator are left out"
        ]


def read_syllogism(prompt: str) -> list[tuple[str, str, str]]:
    """Both premises and the conclusion as (quantifier, subject, predicate)."""
    found = [
        ("Some not" if negated else quantifier, subject, predicate)
        for quantifier, subject, negated, predicate in _STATEMENT.findall(prompt)
    ]
    if len(found) != 3:
        raise ValueError(f"not two premises and a conclusion: {prompt!r}")
    return found


def verify_syllogism(prompt: str, answer: Sequence[int]) -> bool:
    """Whether the conclusion holds in every world in which the premises do, or not, as answered.

    A world says which of the 8 combinations of the three terms occur; every term has a member
    (Aristotle's reading).
    """
    statements = read_syllogism(prompt)
    terms = sorted({term for _, *pair in statements for term in pair})
    first, second, conclusion = (
        _holds(q, terms.index(a), terms.index(b)) for q, a, b in statements
    )
    follows = bool((conclusion | ~(first & second & _members())).all())
    return follows == bool(answer[0])


@cache
def _worlds() -> NDArray[np.bool_]:
    """Which of the 8 kinds of individuals exist in each of the 256 worlds, bool [256, 8]."""
    return np.asarray((np.arange(256)[:, None] >> np.arange(8)) & 1, dtype=bool)


def _has(term: int) -> NDArray[np.bool_]:
    return np.asarray((np.arange(8) >> term) & 1, dtype=bool)


def _members() -> NDArray[np.bool_]:
    return np.asarray(np.all([(_worlds() & _has(t)).any(1) for t in range(3)], axis=0))


def _holds(quantifier: str, subject: int, predicate: int) -> NDArray[np.bool_]:
    """Truth of a statement in each world, bool [256]."""
    both = (_worlds() & _has(subject) & _has(predicate)).any(1)
    only = (_worlds() & _has(subject) & ~_has(predicate)).any(1)
    truths = {"All": ~only, "No": ~both, "Some": both, "Some not": only}
    return np.asarray(truths[quantifier])


def canonical_syllogism(prompt: str) -> str:
    """The statements with their words normalised and the premises in alphabetical order."""
    first, second, conclusion = (" ".join(s).lower() for s in read_syllogism(prompt))
    return " / ".join([*sorted([first, second]), conclusion])
