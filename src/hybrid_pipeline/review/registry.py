"""The rules of the review by name: each registers itself where it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from hybrid_pipeline.review.findings import Finding, ReviewInputs

Rule = Callable[[ReviewInputs], Finding | Iterable[Finding] | None]
AnyRule = TypeVar("AnyRule", bound=Rule)

RULES: dict[str, Rule] = {}
"""Name -> rule, in the order in which they were registered."""


def findings_of(rule: Rule, inputs: ReviewInputs) -> Iterator[Finding]:
    """What a rule finds: nothing, one finding or several."""
    found = rule(inputs)
    if isinstance(found, Finding):
        yield found
    elif found is not None:
        yield from found


def register_rule(rule: AnyRule) -> AnyRule:
    """Make a rule part of every review, under the name of its function; a decorator.

    Raises:
        ValueError: if another rule has the name.
    """
    name, place = rule.__name__, f"{rule.__module__}.{rule.__qualname__}"
    known = RULES.get(name)
    if known is not None and f"{known.__module__}.{known.__qualname__}" != place:
        raise ValueError(
            f"rule {name!r} is registered twice: by {known.__module__} and by {rule.__module__}; "
            "rename one"
        )
    RULES[name] = rule
    return rule
