"""The base of every configuration model and the sentence that a refused value gets."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictConfig(BaseModel):
    """A frozen configuration that refuses unknown keys.

    Nothing changes after construction: what the tracker shows is what ran.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=()
    )


class ConfigError(ValueError):
    """A configuration was refused; the message is one sentence for a person."""


def explain(error: ValidationError, prefix: str, model: type[BaseModel] | None = None) -> str:
    """Say in one line what was refused: the key, the value and what is allowed.

    Args:
        error: what Pydantic raised.
        prefix: the parameter the model was read from, such as ``training``.
        model: the refused model; its field names serve the "did you mean" of a mistyped key.
    """
    return "; ".join(_explain_one(dict(e), prefix, model) for e in error.errors()) + "."


def _explain_one(entry: dict[str, Any], prefix: str, model: type[BaseModel] | None) -> str:
    key = ".".join([prefix, *(str(part) for part in entry["loc"])])
    if entry["type"] == "extra_forbidden":
        return f"unknown parameter {key!r}{_suggestion(entry['loc'], model)}"
    if entry["type"] == "missing":
        return f"missing parameter {key!r}"
    message = entry["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = entry["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" = {value!r}"
    return f"parameter {key!r}{shown} is refused: {message}"


def _suggestion(loc: tuple[Any, ...], model: type[BaseModel] | None) -> str:
    fields = _fields_at(model, loc[:-1])
    if not fields:
        return ""
    close = difflib.get_close_matches(str(loc[-1]), fields, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (allowed here: {', '.join(sorted(fields))})"


def _fields_at(model: type[BaseModel] | None, loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        if model is None or part not in model.model_fields:
            return []
        annotation: Any = model.model_fields[part].annotation
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation if is_model else None
    return list(model.model_fields) if model is not None else []
