"""Questions over a random graph of concepts, as ProsQA poses them.

Source: Hao et al., "Training Large Language Models to Reason in a Continuous Latent Space"
(COCONUT), arXiv:2412.06769, appendix on the construction of ProsQA and its Algorithm 1.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hybrid_pipeline.config import GeneratedTask
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.tasks.registry import register_source
from hybrid_pipeline.tasks.source import Example, GeneratedSource, TextSource

# Letters that are hard to confuse in a small image come first.
NAMES = "ABCDEFGHJKLMNPRSTUVWXYZabdefghkmnqrty23456789cijlopsuvwxzIOQ01#@"
MEAN_PARENTS = 1.5
ONLY_FIRST, ONLY_SECOND = 0.35, 0.7
MAX_TRIES = 10_000
WL_ROUNDS = 6

Edge = tuple[int, int]


class PlanningTask(GeneratedTask):
    """A ProsQA-style question over a random graph of concepts (COCONUT, appendix)."""

    source: Literal["planning"]
    num_nodes: int = Field(
        default=12, ge=6, le=64, description="concepts; those in no fact are not named"
    )
    num_hops: int = Field(default=3, ge=2, le=8, description="steps to the answer")
    max_facts: int = Field(
        default=18, ge=6, le=1_000, description="18 fill 64 px at font_size_px 9"
    )


@register_source(PlanningTask)
class Planning(TextSource[PlanningTask], GeneratedSource[PlanningTask]):
    """A directed acyclic graph of "every a is a b", and the question: is x a g or an h?

    x reaches exactly one of the two, in ``num_hops`` steps. To fit an image a fact is written
    ``a>b`` and the question ``x: g or h?``, with concepts named by one character. Class 0 is the
    concept named first.
    """

    classes = ("first", "second")

    def examples(self) -> Iterator[Example]:
        """One question per index, each from a generator of its own."""
        index = 0
        while True:
            yield _example(self.task, rng_for("planning", self.task.data_seed, index))
            index += 1

    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """An invariant of names, the facts' order and the options' order."""
        return [canonical_planning(text) for text in prompts]

    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """Whether x reaches the concept that the answer names, and not the other one."""
        return verify_planning(prompt, answer)

    def remarks(self, prompts: Sequence[str], targets: NDArray[Any]) -> list[str]:
        """How many questions name fewer concepts than were asked for."""
        del targets
        asked = self.task.num_nodes
        named = Counter(_num_named(text) for text in prompts)
        fewer = sum(count for number, count in named.items() if number < asked)
        if not fewer:
            return []
        return [
            f"num_nodes {asked} was asked for; {fewer:,} of {len(prompts):,} questions name fewer "
            f"(a concept in no fact is not named; concepts: questions): {_counts(named)}"
        ]


def _num_named(prompt: str) -> int:
    edges, x, named = read_planning(prompt)
    return len({node for edge in edges for node in edge} | {x, *named})


def _counts(found: Counter[int]) -> str:
    return ", ".join(f"{number}: {found[number]:,}" for number in sorted(found))


def _example(task: PlanningTask, rng: np.random.Generator) -> Example:
    for _ in range(MAX_TRIES):
        edges, labels = _graph(task.num_nodes, rng)
        leaves = set(range(2, task.num_nodes)) - {a for a, _ in edges}
        depths = _depths(edges, 0)
        goals = sorted(n for n in leaves if labels[n] == 1 and depths[n] == task.num_hops)
        others = sorted(n for n in leaves if labels[n] == 2)
        if goals and others and len(edges) <= task.max_facts:
            break
    else:
        raise ValueError(
            f"no graph of num_nodes {task.num_nodes} with num_hops {task.num_hops} and at most "
            f"max_facts {task.max_facts} in {MAX_TRIES} tries; change one"
        )
    goal, other = int(rng.choice(goals)), int(rng.choice(others))
    pool = list(NAMES[: max(task.num_nodes, 23)])
    names = [str(name) for name in rng.choice(pool, task.num_nodes, replace=False)]
    shuffled = [edges[int(i)] for i in rng.permutation(len(edges))]
    facts = " ".join(f"{names[a]}>{names[b]}" for a, b in shuffled)
    second = int(rng.integers(2))
    first_named, second_named = (other, goal) if second else (goal, other)
    prompt = f"{facts}\n{names[0]}: {names[first_named]} or {names[second_named]}?"
    return Example(prompt, (second,), (True,))


def _graph(num_nodes: int, rng: np.random.Generator) -> tuple[list[Edge], list[int]]:
    """Algorithm 1: edges (parent, child) and, per node, 1 below node 0, 2 below node 1, 3 both.

    Parents are drawn with weights 1.5 x depth + 1; with probability .35 each, a new node may not
    descend from node 1, or not from node 0, which keeps the two families apart and alike in size.
    """
    labels, depths, edges = [1, 2], [0, 0], list[Edge]()
    for node in range(2, num_nodes):
        wanted = int(rng.poisson(MEAN_PARENTS))
        draw = rng.random()
        allowed = {0, 1} if draw <= ONLY_FIRST else {0, 2} if draw <= ONLY_SECOND else {0, 1, 2, 3}
        candidates = [n for n in range(node) if labels[n] in allowed]
        weights = np.array([MEAN_PARENTS * depths[n] + 1 for n in candidates])
        count = min(wanted, len(candidates))
        parents = (
            rng.choice(candidates, count, replace=False, p=weights / weights.sum()).tolist()
            if count
            else []
        )
        edges.extend((parent, node) for parent in parents)
        labels.append(reduce(or_, (labels[p] for p in parents), 0))
        depths.append(max((depths[p] + 1 for p in parents), default=0))
    return edges, labels


def _depths(edges: Sequence[Edge], root: int) -> dict[int, int]:
    """Steps of the shortest way from ``root``; -1 for nodes that it does not reach."""
    nodes = {node for edge in edges for node in edge}
    depths = dict.fromkeys(range(max(nodes, default=0) + 1), -1)
    depths[root], layer = 0, [root]
    while layer:
        following = []
        for a, b in edges:
            if a in layer and depths[b] < 0:
                depths[b] = depths[a] + 1
                following.append(b)
        layer = following
    return depths


def read_planning(prompt: str) -> tuple[list[tuple[str, str]], str, tuple[str, str]]:
    """The facts, x, and the two concepts asked about."""
    facts, question = prompt.split("\n")
    edges = [(fact[0], fact[2]) for fact in facts.split()]
    return edges, question[0], (question[3], question[8])


def verify_planning(prompt: str, answer: Sequence[int]) -> bool:
    """Whether x reaches the concept that the answer names, and not the other one."""
    edges, x, named = read_planning(prompt)
    reached, before = {x}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {b for a, b in edges if a in reached}
    return named[answer[0]] in reached and named[1 - answer[0]] not in reached


def canonical_planning(prompt: str) -> str:
    """A name that does not change with concepts' names, the facts' order, or the options' order.

    Colour refinement (Weisfeiler and Leman): graphs that are the same always share it; different
    ones seldom do, and then only land in one split.
    """
    edges, x, named = read_planning(prompt)
    nodes = sorted({n for edge in edges for n in edge} | {x, *named})
    colours = {n: "x" if n == x else "option" if n in named else "" for n in nodes}
    for _ in range(WL_ROUNDS):
        colours = {n: _hashed(n, colours, edges) for n in nodes}
    return hashlib.blake2b("".join(sorted(colours.values())).encode(), digest_size=12).hexdigest()


def _hashed(node: str, colours: Mapping[str, str], edges: Sequence[tuple[str, str]]) -> str:
    above = sorted(colours[a] for a, b in edges if b == node)
    below = sorted(colours[b] for a, b in edges if a == node)
    text = "|".join([colours[node], ",".join(above), ",".join(below)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
