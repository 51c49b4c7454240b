"""The folder of a study's documents: the environment's name and a key of what was studied.

A study of another environment, other parameters or another design gets a folder of its own, so
smoke leaves the default study's report as it is. So does a report made from another study's kept
files.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.utils import find_kedro_project

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.project_parameters import (
    PARAMETER_GROUPS,
    current_parameters,
    current_state,
)
from hybrid_pipeline.storage import content_key

# What is measured, and how: a change of any of these is another study.
GROUPS = (
    "tasks", "rendering", "clip", "model", "training", "halting", "ablation", "evaluation",
)  # fmt: skip
OF_ONE_CELL = {"arm", "seed"}  # read by ``hybrid_training`` only
KEY_CHARACTERS = 8


def study_name(env: str | None, parameters: Mapping[str, Any]) -> str:
    """The name of a study's folder, such as ``base-1a2b3c4d``.

    A report made from kept files carries the name of their folder too, such as
    ``reference-controls-1a2b3c4d``: the parameters are not those that the kept study had.

    Args:
        env: the configuration environment; ``None`` and ``local`` are the default one.
        parameters: merged and valid parameters.
    """
    groups: dict[str, Any] = {name: _canonical(name, parameters.get(name) or {}) for name in GROUPS}
    for name in OF_ONE_CELL:
        groups["training"].pop(name, None)
    label = "base" if env in (None, "local") else str(env)
    if reference := _reference(parameters):
        groups["reference"] = Path(reference).as_posix()
        label = f"{label}-{Path(reference).name}"
    return f"{label}-{content_key(groups)[:KEY_CHARACTERS]}"


def _canonical(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    """The group with its defaults, so that stating a default changes nothing."""
    dumped: dict[str, Any] = PARAMETER_GROUPS[name].model_validate(group).model_dump(mode="json")
    return dumped


def current_study() -> str:
    """The name of this run's study; the catalog's resolver ``study``."""
    state = current_state()
    env = state.env if state is not None else os.environ.get("KEDRO_ENV")
    return study_name(env, current_parameters())


def reference_folder() -> str:
    """The folder of a finished study's kept files; the catalog's resolver ``reference``."""
    return _reference(current_parameters())


def _reference(parameters: Mapping[str, Any]) -> str:
    return str((parameters.get("storage") or {}).get("reference") or "")


def kept(name: str, folder: str) -> Any:
    """A value of a finished study's card; the parameters' resolver ``kept``.

    Args:
        name: the value's.
        folder: of the study's kept files, from the project's root if it is relative.

    Raises:
        ConfigError: if the folder holds no finished study, or its card has no such value.
    """
    card = (find_kedro_project(Path.cwd()) or Path()) / folder / "card.json"
    try:
        return json.loads(card.read_text("utf-8"))[name]
    except OSError as error:
        raise ConfigError(f"there is no kept study in {folder}: it has no card.json.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{card} does not say its study's {name}.") from error


def study_command() -> str:
    """The command that runs this study again: environment and ``--params`` as they were given."""
    state = current_state()
    words = ["kedro run --pipeline ablation"]
    if state is None:
        return words[0]
    if state.env not in (None, "base", "local"):
        words.append(f"--env {state.env}")
    given = ",".join(f"{name}={_plain(value)}" for name, value in _dotted(state.overrides))
    return " ".join([*words, *([f"--params {shlex.quote(given)}"] if given else [])])


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
