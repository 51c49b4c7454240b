"""Tasks posed as text with one answer: reasoning_gym, ProsQA-style planning, the user's table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import reasoning_gym

from hybrid_pipeline.config import ConfigError, PlanningTask, ReasoningGymTask, TableTask
from hybrid_pipeline.seeding import rng_for, seed_for
from hybrid_pipeline.tasks.example import Example, Source

CHUNK = 256
ANSWERS = {"syllogism": ("No", "Yes")}
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def normalised(text: str) -> str:
    """Lower case with single blanks: what a repeated prompt has in common."""
    return " ".join(text.lower().split())


def generator_source(task: ReasoningGymTask) -> Source:
    """Prompts of a reasoning_gym generator whose answers are a few fixed words."""
    classes = ANSWERS[task.generator]

    def examples() -> Iterator[Example]:
        seed = seed_for(f"reasoning_gym/{task.generator}", task.data_seed) % 2**31
        start = 0
        while True:
            data = reasoning_gym.create_dataset(
                task.generator, seed=seed + start, size=CHUNK, **task.options
            )
            for i in range(CHUNK):
                prompt, answer = str(data[i]["question"]), str(data[i]["answer"])
                yield Example(prompt, normalised(prompt), (classes.index(answer),), (True,))
            start += CHUNK

    return Source(examples, classes, None, None)


def planning_source(task: PlanningTask) -> Source:
    """Questions over a random graph of concepts, as ProsQA poses them.

    Source: Hao et al., "Training Large Language Models to Reason in a Continuous Latent Space"
    (COCONUT), arXiv:2412.06769, section 4 and appendix on ProsQA: a directed acyclic graph of
    "Every a is a b" and the question "Is x a g or a h?", where x reaches exactly one of them.
    Concepts here are made-up words of two letters, so that a graph fits into an image. Class 0 is
    the concept named first.
    """

    def examples() -> Iterator[Example]:
        index = 0
        while True:
            yield _planning_example(task, rng_for("planning", task.data_seed, index))
            index += 1

    return Source(examples, ("first", "second"), None, verify_planning)


def _planning_example(task: PlanningTask, rng: np.random.Generator) -> Example:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(task.num_nodes))
    for node in range(1, task.num_nodes):  # two components: even and odd concepts never meet
        earlier = [n for n in range(node) if n % 2 == node % 2]
        for parent in rng.permutation(earlier)[: int(rng.integers(1, 3))] if earlier else []:
            graph.add_edge(int(parent), node)
    depths = nx.single_source_shortest_path_length(graph, 0)
    reached = [n for n, d in depths.items() if d >= min(task.num_hops, max(depths.values()))]
    goal = int(rng.choice(reached))
    other = int(rng.choice([n for n in graph if n % 2 == 1 and graph.in_degree(n)]))
    words = [str(w) for w in rng.choice(SYLLABLES, task.num_nodes, replace=False)]
    edges = [list(graph.edges)[i] for i in rng.permutation(graph.number_of_edges())]
    facts = " ".join(f"Every {words[a]} is a {words[b]}." for a, b in edges)
    second = bool(rng.integers(2))
    named = (other, goal) if second else (goal, other)
    question = f"Is {words[0]} a {words[named[0]]} or a {words[named[1]]}?"
    for node in graph:
        graph.nodes[node]["role"] = {0: "x", goal: "goal", other: "other"}.get(node, "")
    name = str(nx.weisfeiler_lehman_graph_hash(graph, node_attr="role", iterations=4))
    return Example(f"{facts} {question}", name, (int(second),), (True,))


def verify_planning(posed: str, answer: Sequence[int]) -> bool:
    """Whether x reaches the concept that the answer names, and not the other one."""
    graph = nx.DiGraph()
    *facts, question = posed.replace("?", "").split(". ")
    for fact in facts:
        words = fact.replace(".", "").split()
        graph.add_edge(words[1], words[-1])
    words = question.split()
    named = (words[3], words[6])
    reached = nx.descendants(graph, words[1])
    return named[answer[0]] in reached and named[1 - answer[0]] not in reached


def table_source(task: TableTask, base_dir: Path) -> Source:
    """The user's own CSV or Parquet.

    Raises:
        ConfigError: for a missing file or column, an unknown format, or a single label.
    """
    path = base_dir / task.path
    frame = _read(path, task.path)
    for key in ("text_column", "label_column"):
        name = getattr(task, key)
        if name not in frame:
            raise ConfigError(
                f"{key} = {name!r} is refused: {task.path} has the columns "
                f"{', '.join(map(str, frame.columns))}."
            )
    frame = frame[[task.text_column, task.label_column]].dropna().astype(str)
    classes = tuple(sorted(frame[task.label_column].unique()))
    if len(classes) < 2:
        raise ConfigError(f"label_column = {task.label_column!r} is refused: it has one label.")
    labels = {name: index for index, name in enumerate(classes)}

    def examples() -> Iterator[Example]:
        for text, label in frame.itertuples(index=False):
            yield Example(text, normalised(text), (labels[label],), (True,))

    return Source(examples, classes, None, None)


def _read(path: Path, name: str) -> pd.DataFrame:
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise ConfigError(f"path = {name!r} is refused: expected a .csv or .parquet file.")
    if not path.is_file():
        raise ConfigError(f"path = {name!r} is refused: there is no such file.")
    frame: pd.DataFrame = readers[path.suffix](path)
    return frame
