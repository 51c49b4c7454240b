"""Mazes: paths against networkx, symmetries, the verifier."""

import itertools
import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from hybrid_pipeline.tasks.maze import Maze, MazeTask, canonical_maze, read_maze, verify_maze


def task(**changes):
    fields = {"num_train": 8, "num_validation": 2, "num_test": 2} | changes
    return MazeTask(source="maze", **fields)


def drawn(count, **changes):
    return list(itertools.islice(Maze("m", task(**changes), Path()).examples(), count))


@pytest.mark.parametrize(("size", "extra", "steps"), [(4, 2, 4), (3, 0, 2), (8, 6, 10)])
def test_the_answer_is_the_one_shortest_path(size, extra, steps):
    for example in drawn(40, size=size, extra_openings=extra, min_path_steps=steps):
        side, edges, start, goal = read_maze(example.prompt)
        graph = nx.Graph(sorted(edges))
        assert side == size
        assert graph.number_of_nodes() == size**2
        assert nx.is_connected(graph)
        assert graph.number_of_edges() == size**2 - 1 + extra
        paths = list(nx.all_shortest_paths(graph, start, goal))
        assert len(paths) == 1
        assert len(paths[0]) - 1 >= steps
        assert set(np.flatnonzero(example.answer)) == set(paths[0])
        assert all(example.scored)


def test_the_verifier_refuses_every_single_wrong_square():
    for example in drawn(10):
        assert verify_maze(example.prompt, example.answer)
        for square in range(16):
            wrong = list(example.answer)
            wrong[square] = 1 - wrong[square]
            assert not verify_maze(example.prompt, wrong)


def test_the_verifier_refuses_a_maze_with_two_shortest_paths():
    maze = {"right": [[1], [1]], "down": [[1, 1]], "start": 0, "goal": 3}
    assert not verify_maze(json.dumps({"maze": maze}), [1, 1, 0, 1])


def turned(prompt):
    """The maze turned left by a quarter, from its drawing as squares and ways."""
    side, edges, start, goal = read_maze(prompt)
    order = np.rot90(np.arange(side**2).reshape(side, side)).ravel()
    place = {int(old): new for new, old in enumerate(order)}
    moved = {tuple(sorted((place[a], place[b]))) for a, b in edges}
    return side, moved, place[start], place[goal]


def mirrored(side, edges, start, goal):
    def place(square):
        return square // side * side + side - 1 - square % side

    return side, {tuple(sorted((place(a), place(b)))) for a, b in edges}, place(start), place(goal)


def test_turns_mirrors_and_swapped_ends_share_a_name():
    for example in drawn(20):
        side, edges, start, goal = read_maze(example.prompt)
        name = canonical_maze(side, edges, start, goal)
        assert Maze("m", task(), Path()).canonical([example.prompt]) == [name]
        assert canonical_maze(side, edges, goal, start) == name
        assert canonical_maze(*turned(example.prompt)) == name
        assert canonical_maze(*mirrored(side, edges, start, goal)) == name
        assert canonical_maze(*mirrored(*turned(example.prompt))) == name


def test_other_mazes_have_other_names():
    examples = drawn(60)
    assert (
        len({canonical_maze(*read_maze(e.prompt)) for e in examples})
        == len({e.prompt for e in examples})
        == 60
    )
    side, edges, start, goal = read_maze(examples[0].prompt)
    fewer = set(sorted(edges)[1:])
    assert canonical_maze(side, fewer, start, goal) != canonical_maze(
        *read_maze(examples[0].prompt)
    )


def test_an_impossible_path_length_is_refused():
    with pytest.raises(ValueError, match="min_path_steps 15"):
        drawn(1, extra_openings=9, min_path_steps=15)


@pytest.mark.parametrize(("field", "value"), [("min_path_steps", 16), ("extra_openings", 10)])
def test_what_cannot_be_in_this_size_is_refused_by_the_parameters(field, value):
    with pytest.raises(ValueError, match=f"{field} {value} must be at most"):
        task(**{field: value})
