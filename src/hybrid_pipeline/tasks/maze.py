"""Mazes: a random spanning tree with extra openings and one shortest path from S to G.

Maze-Hard of TRM in small (Jolicoeur-Martineau, 2025, section 5): the answer marks the squares of
the shortest path, S and G included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hybrid_pipeline.config import GeneratedTask, RenderingConfig
from hybrid_pipeline.rendering import UInt8, render_grids
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.tasks.registry import register_source
from hybrid_pipeline.tasks.source import Example, GeneratedSource, grid_prompt

Edge = tuple[int, int]
ON_PATH = 1
MAX_TRIES = 10_000


class MazeTask(GeneratedTask):
    """A random spanning tree with extra openings and a unique shortest path from S to G."""

    source: Literal["maze"]
    size: int = Field(default=4, ge=3, le=32, description="squares per side")
    extra_openings: int = Field(
        default=2, ge=0, le=961, description="walls opened after the spanning tree"
    )
    min_path_steps: int = Field(default=4, ge=1, le=1_023, description="of the shortest path")

    @model_validator(mode="after")
    def _possible_in_this_size(self) -> MazeTask:
        for name, limit in (
            ("extra_openings", (self.size - 1) ** 2),
            ("min_path_steps", self.size**2 - 1),
        ):
            if getattr(self, name) > limit:
                raise ValueError(
                    f"{name} {getattr(self, name)} must be at most {limit} in a maze of size "
                    f"{self.size}"
                )
        return self


@register_source(MazeTask)
class Maze(GeneratedSource[MazeTask]):
    """Mazes of ``size`` x ``size`` squares; every square is scored: on the path or off it."""

    classes = ("off", "on")

    @property
    def grid_shape(self) -> tuple[int, int]:
        """A slot per square."""
        return self.task.size, self.task.size

    def examples(self) -> Iterator[Example]:
        """One maze per index, each from a generator of its own."""
        index = 0
        while True:
            yield _example(self.task, rng_for("maze", self.task.data_seed, self.task.size, index))
            index += 1

    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """Exact: equal for, and only for, symmetric twins."""
        return [canonical_maze(*read_maze(text)) for text in prompts]

    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """Whether the marked squares are exactly those of the one shortest path, searched anew."""
        return verify_maze(prompt, answer)

    def paint(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> UInt8:
        """Walls, S and G."""
        return render_grids(prompts, rendering, names)


def _example(task: MazeTask, rng: np.random.Generator) -> Example:
    side = task.size
    for _ in range(MAX_TRIES):
        edges = _open_edges(side, task.extra_openings, rng)
        start, goal = (int(c) for c in rng.choice(side * side, 2, replace=False))
        path = shortest_path(edges, start, goal)
        if path is not None and len(path) - 1 >= task.min_path_steps:
            break
    else:
        raise ValueError(
            f"no maze of {side} x {side} squares with extra_openings {task.extra_openings} and a "
            f"unique shortest path of min_path_steps {task.min_path_steps} in {MAX_TRIES} tries; "
            "lower one"
        )
    answer = tuple(int(square in path) for square in range(side * side))
    return Example(
        prompt=_prompt(side, edges, start, goal),
        answer=answer,
        scored=(True,) * (side * side),
    )


@cache
def _all_edges(side: int) -> tuple[Edge, ...]:
    """Neighbouring squares, to the right and down, as (smaller, larger)."""
    right = [(r * side + c, r * side + c + 1) for r in range(side) for c in range(side - 1)]
    down = [(r * side + c, (r + 1) * side + c) for r in range(side - 1) for c in range(side)]
    return tuple(right + down)


def _open_edges(side: int, extra: int, rng: np.random.Generator) -> set[Edge]:
    """Kruskal's algorithm over shuffled edges, then ``extra`` of the closed ones."""
    every = _all_edges(side)
    parent = list(range(side * side))

    def root(square: int) -> int:
        while parent[square] != square:
            parent[square] = parent[parent[square]]
            square = parent[square]
        return square

    chosen, closed = set[Edge](), list[Edge]()
    for index in rng.permutation(len(every)):
        a, b = every[int(index)]
        if root(a) == root(b):
            closed.append((a, b))
        else:
            parent[root(a)] = root(b)
            chosen.add((a, b))
    return chosen | set(closed[:extra])


def shortest_path(edges: set[Edge], start: int, goal: int) -> list[int] | None:
    """The squares of the shortest path, or None where there is none or more than one."""
    neighbours: dict[int, list[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    distance, ways, before = {start: 0}, {start: 1}, dict[int, int]()
    layer = [start]
    while layer and goal not in distance:
        following: list[int] = []
        for square in layer:
            for other in neighbours.get(square, []):
                if other not in distance:
                    distance[other], ways[other], before[other] = distance[square] + 1, 0, square
                    following.append(other)
                if distance[other] == distance[square] + 1:
                    ways[other] += ways[square]
        layer = following
    if ways.get(goal) != 1:
        return None
    path = [goal]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]


def _prompt(side: int, edges: set[Edge], start: int, goal: int) -> str:
    is_open = [int(edge in edges) for edge in _all_edges(side)]
    num_right = side * (side - 1)
    right = np.reshape(is_open[:num_right], (side, side - 1)).tolist()
    down = np.reshape(is_open[num_right:], (side - 1, side)).tolist()
    return grid_prompt("maze", {"right": right, "down": down, "start": start, "goal": goal})


def read_maze(prompt: str) -> tuple[int, set[Edge], int, int]:
    """Side, open edges, start and goal of a maze's prompt."""
    maze = json.loads(prompt)["maze"]
    side = len(maze["right"])
    is_open = [*np.ravel(maze["right"]), *np.ravel(maze["down"])]
    edges = {edge for edge, on in zip(_all_edges(side), is_open, strict=True) if on}
    return side, edges, int(maze["start"]), int(maze["goal"])


def verify_maze(prompt: str, answer: Sequence[int]) -> bool:
    """Whether the marked squares are exactly those of the one shortest path."""
    _, edges, start, goal = read_maze(prompt)
    path = shortest_path(edges, start, goal)
    return path is not None and {i for i, on in enumerate(answer) if on == ON_PATH} == set(path)


def canonical_maze(side: int, edges: set[Edge], start: int, goal: int) -> str:
    """Smallest name over the 8 symmetries of the square and over swapping S and G."""
    names = []
    for order in _square_symmetries(side):
        moved = {(min(order[a], order[b]), max(order[a], order[b])) for a, b in edges}
        walls = "".join("1" if edge in moved else "0" for edge in _all_edges(side))
        ends = (order[start], order[goal])
        names.append(f"{walls}:{min(ends)}:{max(ends)}")
    return min(names)


@cache
def _square_symmetries(side: int) -> tuple[tuple[int, ...], ...]:
    squares = np.arange(side * side).reshape(side, side)
    turned = [np.rot90(squares, k) for k in range(4)]
    return tuple(tuple(g.ravel().tolist()) for grid in turned for g in (grid, grid.T))
