"""Five hundred mutations each of the configuration and of ``--params``, from one seed.

What is refused is one sentence that names a key; what is accepted can be built.
"""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hybrid_pipeline import cli
from hybrid_pipeline.arms import chain
from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.project_parameters import (
    PARAMETER_GROUPS,
    validate_parameters,
    without_removed_tasks,
)
from hybrid_pipeline.kedro_ext.resources import check_memory
from hybrid_pipeline.models.hybrid import InputShape, build_model
from hybrid_pipeline.models.needs import Sizes, check_arm
from hybrid_pipeline.tasks import source_of
from hybrid_pipeline.training.optim import build_optimizer
from project_conf import parameters_of

NUM_MUTATIONS = 500
DEFAULTED = ("model", "rendering", "halting")  # a group may be missing; training has no default
SMALL_BYTES = 2**27  # models up to this estimate are built
VALUES: list[Any] = [
    math.inf, -math.inf, math.nan, 1e308, -1e308, 1e-308, 5e-324, 0, -1, 1, 2, 3, 7, 64, 65, 1000,
    10**6, 10**9, 10**12, 10**30, -(10**30), 0.5, 2.5, -0.0, 1e-9, True, False, None, "", " ",
    "text", "true", "1e-3", "64", "~nobody-here/x", "a\0b", "é" * 300, "../..", "[1]", [], [1],
    [True], [[]], ["x"], {}, {"a": 1}, {1: 2}, {"source": "maze"},
]  # fmt: skip
WORDS = [
    ".inf", "-.inf", ".nan", "1e308", "1e999", "0x10", "1_000", "0b1", "null", "~", "true", "yes",
    "!!python/none", "!!python/object/apply:os.getcwd []", "!!binary aGk=", "!!float 1", "!x 1",
    "[", "{", "[1,2", "{a: 1}", "*x", "&x 1", "'", '"', "${foo}", "${globals:data_root}", "${",
    "2001-01-01", "1:30", "- 1", "? 1", "|", ">", "%", "@", "`", "\t", "\\", "9" * 40, "-1", "0",
]  # fmt: skip


@cache
def base() -> dict[str, Any]:
    return without_removed_tasks(parameters_of("base"))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))


def mutate(parameters: dict[str, Any], rng: random.Random) -> tuple[Any, ...]:
    """Change, remove, rename or add one entry."""
    group = rng.choice([name for name in PARAMETER_GROUPS if parameters.get(name)])
    path = rng.choice(list(leaves(parameters[group], (group,))))
    inner = parameters
    for key in path[:-1]:
        inner = inner[key]
    kind = rng.random()
    if kind < 0.85:
        inner[path[-1]] = rng.choice(VALUES)
    elif kind < 0.9:
        del inner[path[-1]]
    elif kind < 0.95:
        inner[f"{path[-1]}x"] = inner.pop(path[-1])
    else:
        inner[rng.choice(["unknown", "", "a.b", "a b", 1])] = rng.choice(VALUES)
    return path


def accepted(parameters: dict[str, Any]) -> bool:
    """Whether the parameters pass; every refusal is a sentence with a key of the parameters."""
    try:
        groups = validate_parameters(without_removed_tasks(parameters))
        if groups["training"] == {}:
            return False
        groups |= {n: PARAMETER_GROUPS[n]() for n in DEFAULTED if groups[n] == {}}
        sources = {
            n: source_of(n, t, Path())
            for n, t in groups["tasks"].root.items()
            if t.source != "table"
        }
        slots = [math.prod(s.grid_shape or (1,)) for s in sources.values()]
        for arm in chain():
            check_arm(arm, groups["model"], 96)  # channels of the bundled tower
        learner = (groups["model"], groups["training"], groups["halting"])
        side = groups["rendering"].image_size
        check_memory(chain(), Sizes(*learner, max(slots, default=1), side))
    except ConfigError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert re.search(r"'[^']*'|unknown parameter \S|lower (\w+\.)+\w+", sentence), sentence
        return False
    build(groups, sources)
    return True


def build(groups: dict[str, Any], sources: dict[str, Any]) -> None:
    """What a cell builds first: the models of the simplest, the fullest and the deepest arm."""
    model = groups["model"]
    size = 20 * (
        model.vit.depth * (4 + 2 * model.vit.mlp_ratio) * model.vit.embed_dim**2
        + 20 * model.core.num_layers * (4 + 2 * model.core.expansion) * model.core.dim**2
        + model.n2n.depth * (4 + 2 * model.n2n.mlp_ratio) * 96**2
    )
    if size > SMALL_BYTES or model.core.hidden_multiple > 4096 or not sources:
        return
    source = next(iter(sources.values()))
    slots = math.prod(source.grid_shape or (1,))
    size_px = groups["rendering"].image_size
    shape = InputShape(size_px, slots, len(source.classes), source.grid_shape, 64, 96)
    for arm in (chain()[0], chain()[-1]):
        built = build_model(arm, model, shape, seed=groups["training"].seed)
    build_optimizer(built, groups["training"])


def test_mutated_configurations() -> None:
    rng = random.Random(20261126)
    passed = 0
    for _ in range(NUM_MUTATIONS):
        parameters = copy.deepcopy(base())
        path = mutate(parameters, rng)
        try:
            passed += accepted(parameters)
        except Exception as error:  # noqa: BLE001  (of any kind: that is the question)
            inner: Any = parameters
            for key in path:
                inner = inner.get(key) if isinstance(inner, dict) else None
            pytest.fail(f"{path} = {inner!r}: {type(error).__name__}: {error}")
    assert 0.02 * NUM_MUTATIONS < passed < 0.5 * NUM_MUTATIONS


def test_mutated_params() -> None:
    rng = random.Random(11)
    option = next(o for o in cli.run.params if o.name == "params")
    context = click.Context(cli.run)
    short = {name: group for name, group in base().items() if name != "claims"}
    names = list(leaves(short))
    passed = 0
    for _ in range(NUM_MUTATIONS):
        name = ".".join(map(str, rng.choice(names)))
        name = rng.choice([name] * 8 + [name + ".", "." + name, name.upper(), name + "[0", ""])
        text = f"{name}{rng.choice(['='] * 9 + ['', '==', '=,'])}{rng.choice(WORDS)}"
        try:
            given = option.process_value(context, text)
            parameters: Any = OmegaConf.to_container(
                OmegaConf.unsafe_merge(OmegaConf.create(short), given), resolve=True
            )
            passed += accepted(parameters)
        except (click.ClickException, OmegaConfBaseException):
            continue  # the second is named by the loader, with its key
        except TypeError as error:
            if "incompatible container" not in str(error):  # named by the loader as well
                raise
        except Exception as error:  # noqa: BLE001  (of any kind: that is the question)
            pytest.fail(f"{text!r}: {type(error).__name__}: {error}")
    assert 0.02 * NUM_MUTATIONS < passed < 0.5 * NUM_MUTATIONS
