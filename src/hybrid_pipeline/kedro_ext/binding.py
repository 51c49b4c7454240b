"""Node functions with some arguments fixed: an arm, a seed, the name of a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def bind(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """``function`` with its first arguments fixed, still named and typed as Kedro reads it.

    Kedro validates a parameter against the annotation of the argument it feeds; a bare ``partial``
    has no annotations it can resolve, and the parameter would arrive as a plain dictionary.
    """
    bound = partial(function, *arguments)
    signature = inspect.signature(bound)
    update_wrapper(bound, function)
    bound.__signature__ = signature  # type: ignore[attr-defined]
    return bound
