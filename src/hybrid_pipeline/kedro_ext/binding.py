"""Node functions with some arguments fixed: an arm, a seed, the name of a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any


def bind(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """``function`` with its first arguments fixed (``args``), as Kedro and Kedro-Viz read it.

    Kedro validates a parameter against the annotation of the argument that it feeds; a ``partial``
    has no annotations that it can resolve, and the parameter would arrive as a plain dictionary.
    Kedro-Viz opens the code of functions only, and looks for it in the file of the code object.
    """

    def bound(*rest: Any, **named: Any) -> Any:
        return function(*arguments, *rest, **named)

    update_wrapper(bound, function)
    signature = inspect.signature(function)
    free = list(signature.parameters.values())[len(arguments) :]
    bound.__signature__ = signature.replace(parameters=free)  # type: ignore[attr-defined]
    bound.args = arguments  # type: ignore[attr-defined]
    code = function.__code__
    bound.__code__ = bound.__code__.replace(
        co_filename=code.co_filename, co_firstlineno=code.co_firstlineno
    )
    return bound
