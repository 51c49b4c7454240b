"""Planning questions: reachability against networkx, hops, symmetries, the verifier."""

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from hybrid_pipeline.config import RenderingConfig
from hybrid_pipeline.rendering import text_grid
from hybrid_pipeline.rendering.text import wrap
from hybrid_pipeline.tasks.planning import (
    NAMES,
    Planning,
    PlanningTask,
    canonical_planning,
    read_planning,
    verify_planning,
)


def task(**changes):
    fields = {"num_train": 8, "num_validation": 2, "num_test": 2} | changes
    return PlanningTask(source="planning", **fields)


def drawn(count, **changes):
    return list(itertools.islice(Planning("p", task(**changes), Path()).examples(), count))


@pytest.fixture(scope="module")
def examples():
    return drawn(200)


def test_x_reaches_exactly_the_answered_concept_in_the_asked_hops(examples):
    for example in examples:
        edges, x, named = read_planning(example.prompt)
        graph = nx.DiGraph(edges)
        goal, other = named[example.answer[0]], named[1 - example.answer[0]]
        assert nx.is_directed_acyclic_graph(graph)
        assert nx.shortest_path_length(graph, x, goal) == 3
        assert not nx.has_path(graph, x, other)
        assert graph.out_degree(goal) == graph.out_degree(other) == 0
        assert graph.in_degree(other) > 0
        assert len(edges) == len(set(edges)) <= 18


def test_both_places_are_equally_often_right(examples):
    right = sum(example.answer[0] for example in examples)
    assert abs(right - 100) < 4 * np.sqrt(50)


def test_the_verifier_refuses_the_other_concept(examples):
    for example in examples:
        assert verify_planning(example.prompt, example.answer)
        assert not verify_planning(example.prompt, [1 - example.answer[0]])


def test_renamed_shuffled_and_swapped_questions_share_a_name(examples):
    rng = np.random.default_rng(0)
    for example in examples[:30]:
        edges, x, named = read_planning(example.prompt)
        rename = dict(zip(NAMES, rng.permutation(list(NAMES)), strict=True))
        facts = " ".join(f"{rename[a]}>{rename[b]}" for a, b in rng.permutation(edges))
        twin = f"{facts}\n{rename[x]}: {rename[named[1]]} or {rename[named[0]]}?"
        assert canonical_planning(twin) == canonical_planning(example.prompt)


def test_one_fact_more_or_another_question_is_another_name(examples):
    for example in examples[:30]:
        _, x, named = read_planning(example.prompt)
        facts, question = example.prompt.split("\n")
        fewer = " ".join(facts.split()[1:])
        assert canonical_planning(f"{fewer}\n{question}") != canonical_planning(example.prompt)
        assert canonical_planning(f"{facts}\n{named[0]}: {x} or {named[1]}?") != canonical_planning(
            example.prompt
        )


def test_default_questions_fit_the_default_image(examples):
    grid = text_grid(RenderingConfig(image_size=64, font_size_px=9))
    assert max(len(wrap(e.prompt, grid.columns)) for e in examples) <= grid.rows


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="num_hops 8"):
        drawn(1, num_nodes=6, num_hops=8)
