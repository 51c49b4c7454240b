"""The task sources by name, and the tasks of a study: open to a package of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args

from pydantic import Field, RootModel, model_validator

from hybrid_pipeline.config import TaskConfig, without_removed
from hybrid_pipeline.tasks.source import TaskSource
from hybrid_pipeline.tasks.table import TaskTable

RESERVED_NAMES = ("mean",)  # rows of effects.csv

Factory = TypeVar("Factory", bound=Callable[..., TaskSource[Any]])
_SOURCES: dict[str, tuple[type[TaskConfig], Callable[..., TaskSource[Any]]]] = {}


class TasksConfig(RootModel[dict[str, TaskConfig]]):
    """Task name -> task. Names become folder and metric names; ``null`` removes a task."""

    model_config = {"frozen": True}

    @model_validator(mode="before")
    @classmethod
    def _null_removes(cls, value: Any) -> Any:
        return without_removed(value)

    @model_validator(mode="after")
    def _names_are_identifiers(self) -> TasksConfig:
        if not self.root:
            raise ValueError("at least one task is needed")
        for name in self.root:
            if name in RESERVED_NAMES:
                raise ValueError(f"task name {name!r} is kept for the mean over tasks")
            if not name.isidentifier():
                raise ValueError(
                    f"task name {name!r} must be letters, digits and '_', not starting with a digit"
                )
        return self


def register_source(config: type[TaskConfig]) -> Callable[[Factory], Factory]:
    """Make a source known under the name that its configuration's field ``source`` has.

    A decorator of a class, or of a function ``(name, task, base_dir)`` that returns a source.

    Args:
        config: the parameters of a task of this source; ``source: Literal["its_name"]``.

    Raises:
        TypeError: if the class lacks a member, such as ``canonical``, or the configuration has no
            ``source``.
        ValueError: if another source has the name.
    """
    field = config.model_fields.get("source")
    names = get_args(field.annotation) if field is not None else ()
    if len(names) != 1:
        raise TypeError(f'{config.__name__} needs a field source: Literal["name"] with one name')

    def register(factory: Factory) -> Factory:
        missing = sorted(getattr(factory, "__abstractmethods__", ()))
        if inspect.isabstract(factory):
            raise TypeError(f"task source {names[0]!r} lacks {', '.join(missing)}")
        known = _SOURCES.get(names[0])
        if known is not None and _place(known[1]) != _place(factory):
            raise ValueError(
                f"task source {names[0]!r} is registered twice: by {_place(known[1])} and by "
                f"{_place(factory)}; rename one"
            )
        _SOURCES[names[0]] = (config, factory)
        _rebuild()
        return factory

    return register


def source_of(name: str, task: TaskConfig, base_dir: Path) -> TaskSource[Any]:
    """The source that a task's configuration names."""
    _, factory = _SOURCES[task.source]  # type: ignore[attr-defined]  # each has it
    return factory(name, task, base_dir)


def source_of_table(table: TaskTable, base_dir: Path) -> TaskSource[Any]:
    """The source that made a table.

    Raises:
        ValueError: if the table records none.
    """
    if not table.parameters:
        raise ValueError(f"the table of task {table.name!r} does not record what made it")
    tasks = TasksConfig.model_validate({table.name: dict(table.parameters)})
    return source_of(table.name, tasks.root[table.name], base_dir)


def _place(factory: Callable[..., Any]) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"


def _rebuild() -> None:
    """Let :class:`TasksConfig` read exactly the registered kinds, told apart by ``source``."""
    configs = tuple(_SOURCES[name][0] for name in sorted(_SOURCES))
    kinds: Any = configs[0]
    if len(configs) > 1:
        kinds = Annotated[Union[configs], Field(discriminator="source")]  # noqa: UP007  # a tuple
    TasksConfig.model_fields["root"].annotation = dict[str, kinds]
    TasksConfig.model_rebuild(force=True)
