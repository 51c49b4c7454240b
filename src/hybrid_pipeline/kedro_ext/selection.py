"""What a command line asks for against what exists: one sentence with the nearest name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.utils import load_obj

from hybrid_pipeline.config import ConfigError

MAX_NAMES = 12
RUNNERS = ("SequentialRunner", "ThreadRunner", "DaskRunner")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One sentence: what does not exist, the nearest names, what exists.

    Args:
        what: kind and option, such as ``environment (--env)``.
        name: as it was typed.
        known: all names that exist.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3) or [n for n in names if name and name in n]
    hint = f"; did you mean {' or '.join(map(repr, near[:3]))}?" if near else ""
    shown = ", ".join(names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        shown = f"{len(names)} in all" if near else f"{shown} and {len(names) - MAX_NAMES} more"
    return f"there is no {what} named {name!r}{hint} (there are: {shown})."


def check_environment(env: str | None, conf: Path) -> None:
    """Refuse an environment that has no folder in ``conf``.

    Raises:
        ConfigError: with the environments that there are.
    """
    if not env or not conf.is_dir() or (conf / env).is_dir():
        return
    folders = [path.name for path in conf.iterdir() if path.is_dir() and path.name[0] != "."]
    raise ConfigError(unknown("environment (--env)", env, folders))


def check_runner(name: str | None) -> None:
    """Refuse a runner that does not exist or cannot run this project.

    Raises:
        ConfigError: with the runners that can.
    """
    short = (name or RUNNERS[0]).removeprefix("kedro.runner.")
    if short == "ParallelRunner":
        raise ConfigError(
            "ParallelRunner is refused: its processes run without the project's hooks, so nothing "
            "would be tracked or shown; DaskRunner uses all cores and survives a killed process."
        )
    if "." not in short and short not in RUNNERS:
        raise ConfigError(unknown("runner (--runner)", short, RUNNERS))
    if "." in short:
        try:
            load_obj(short)
        except (ImportError, AttributeError, ValueError) as error:
            sentence = unknown("runner (--runner)", short, RUNNERS)
            raise ConfigError(f"{sentence} Importing it said: {error}.") from None


def check_runner_params(runner: type, params: Mapping[str, Any]) -> None:
    """Refuse ``--runner-params`` that the runner does not take.

    Raises:
        ConfigError: with the names that it takes.
    """
    taken = [name for name in inspect.signature(runner).parameters]
    for name in params:
        if name not in taken:
            raise ConfigError(unknown(f"parameter of {runner.__name__}", name, taken))


def explain_selection(
    options: Mapping[str, Any], pipelines: Mapping[str, Any], registered: Collection[str]
) -> str | None:
    """Why a selection of nodes is refused or empty; ``None`` if nothing in it is unknown.

    Args:
        options: of ``kedro run``: ``pipelines``, ``tags``, ``node_names``, ``namespaces`` ...
        pipelines: those that were asked for, by name.
        registered: names of all pipelines.
    """
    for name in options.get("pipelines") or ():
        if name not in registered:
            return unknown("pipeline (--pipeline)", name, registered)
    for option, flag, known in _selectors(list(pipelines.values())):
        for name in options.get(option) or ():
            if name not in known:
                what = flag.rstrip("s").split("-")[-1]
                return unknown(f"{what} (--{flag}) in this pipeline", name, known)
    given = [f"--{flag}" for option, flag, _ in _selectors([]) if options.get(option)]
    return f"no node of the pipeline meets {' and '.join(given)} together." if given else None


def _selectors(pipelines: Sequence[Any]) -> list[tuple[str, str, set[str]]]:
    """Option, flag and the names that it may hold."""
    nodes = [node for pipeline in pipelines for node in pipeline.nodes]
    names = {node.name for node in nodes}
    tags = {tag for node in nodes for tag in node.tags}
    spaces = {prefix for node in nodes for prefix in _prefixes(node.namespace)}
    datasets = {name for pipeline in pipelines for name in pipeline.datasets()}
    return [
        ("tags", "tags", tags),
        ("node_names", "nodes", names),
        ("from_nodes", "from-nodes", names),
        ("to_nodes", "to-nodes", names),
        ("namespaces", "namespaces", spaces),
        ("from_inputs", "from-inputs", datasets),
        ("to_outputs", "to-outputs", datasets),
    ]


def _prefixes(namespace: str | None) -> list[str]:
    parts = (namespace or "").split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))] if namespace else []
