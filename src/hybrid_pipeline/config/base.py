"""The base of every configuration model and the sentence that a refused value gets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, LiteralString, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

TAG = "source"  # the field that tells the kinds of a task apart
MAX_SEED = 2**32 - 1


class StrictConfig(BaseModel):
    """A frozen configuration that refuses unknown keys.

    Nothing changes after construction: what the tracker shows is what ran.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=()
    )


class BoundedConfig(StrictConfig):
    """Parameters of a run: a number is a finite number within bounds, and nothing else is one.

    YAML's ``true`` and texts are not counted as numbers.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        refused = [
            InitErrorDetails(type=PydanticCustomError("number", reason), loc=(name,), input=found)
            for name, found in value.items()
            if name in cls.model_fields
            and (reason := _why_no_number(found, cls.model_fields[name].annotation))
        ]
        if refused:
            raise ValidationError.from_exception_data(cls.__name__, refused)
        return value


def _why_no_number(value: Any, annotation: Any) -> LiteralString | None:
    """Why Pydantic must not turn this value into what the field wants; it would read 1 as true."""
    kinds = {type(item) for item in (value if isinstance(value, list | tuple) else (value,))}
    if not kinds & {bool, str, int, float}:
        return None
    wanted = _scalars_of(annotation)
    if wanted & {int, float} and bool in kinds - wanted:
        return "a number is needed, not true or false"
    if wanted & {int, float} and str in kinds - wanted:
        return "a number is needed, not a text"
    if bool in wanted and not wanted & {int, float} and kinds - wanted - {list, dict}:
        return "true or false is needed"
    return None


def _scalars_of(annotation: Any) -> set[Any]:
    """The plain types that a field or an item of it may have; a ``Literal`` counts as text."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)} | {str}
    arguments = get_args(annotation)
    return {t for a in arguments for t in _scalars_of(a)} if arguments else {annotation}


def at_home(text: str) -> str:
    """A path with ``~`` or ``~user`` at its start replaced by the home folder, as in a shell.

    Raises:
        ValueError: when there is no such user, or the text can be no path.
    """
    if "\0" in text:
        raise ValueError("a path holds no zero character")
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise ValueError(
            f"there is no home folder {Path(text).parts[0]!r}; a file of that name is './{text}'"
        ) from None


PathText = Annotated[str, Field(min_length=1), AfterValidator(at_home)]
"""A path from the project's root, or an absolute one, or one from a home folder."""


class ConfigError(ValueError):
    """A configuration was refused; the message is one sentence for a person."""


def explain(error: ValidationError, prefix: str, model: type[BaseModel] | None = None) -> str:
    """Say in one line what was refused: the key, the value and what is allowed.

    Args:
        error: what Pydantic raised.
        prefix: the parameter the model was read from, such as ``training``.
        model: the refused model; its field names serve the "did you mean" of a mistyped key.
    """
    entries: list[dict[str, Any]] = [dict(entry) for entry in error.errors()]
    in_lists = {entry["loc"][:-2] for entry in entries if _is_item(entry)}
    if in_lists:  # an item of a list was refused: that a list is no boolean says nothing more
        entries = [e for e in entries if not (e["loc"][:-1] in in_lists and "bool" in e["type"])]
    said = [_explain_one(entry, prefix, model) for entry in entries]
    return "; ".join(_merged(said)) + "."


def _is_item(entry: dict[str, Any]) -> bool:
    return bool(entry["loc"]) and isinstance(entry["loc"][-1], int)


def _merged(said: list[tuple[str, str]]) -> list[str]:
    """One clause a key: the alternatives of a union are refused one by one."""
    clauses: dict[str, list[str]] = {}
    for subject, reason in said:
        clauses.setdefault(subject, []).append(reason)
    return [
        subject + (" is refused: " + ", or ".join(filter(None, reasons)) if any(reasons) else "")
        for subject, reasons in clauses.items()
    ]


def _explain_one(
    entry: dict[str, Any], prefix: str, model: type[BaseModel] | None
) -> tuple[str, str]:
    """What is refused, and why where that does not follow from it."""
    path, fields, annotation = _walk(model, entry["loc"])
    key, context = ".".join([prefix, *path]), entry.get("ctx", {})
    if entry["type"] == "extra_forbidden":
        return f"unknown parameter {key!r}{suggestion(path[-1], fields)}", ""
    if entry["type"] == "missing":
        return f"missing parameter {key!r}", ""
    if entry["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tags = _tags(annotation)
        allowed = f"(allowed: {', '.join(tags)})"
        if "tag" not in context:
            return f"missing parameter '{key}.{TAG}' {allowed}", ""
        subject = f"parameter '{key}.{TAG}' = {context['tag']!r}"
        return subject, " ".join([*_did_you_mean(context["tag"], tags), allowed])
    if entry["type"] == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        return f"parameter {key!r} = {entry['input']!r}", _meant(entry["input"], names)
    message = entry["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    value = entry["input"]
    shown = "" if isinstance(value, dict | BaseModel) else f" = {value!r}"
    return f"parameter {key!r}{shown}", message


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """What may have been meant by a mistyped name, and all names that are allowed."""
    names = sorted(allowed)
    if not names:
        return ""
    hint = "".join(f"; {question}" for question in _did_you_mean(name, names))
    return f"{hint} (allowed here: {', '.join(names)})"


def _meant(value: Any, allowed: Sequence[str]) -> str:
    hint, names = _did_you_mean(str(value), allowed), ", ".join(allowed)
    return f"{hint[0]} (allowed here: {names})" if hint else f"allowed here are {names}"


def _did_you_mean(name: str, names: Sequence[str]) -> list[str]:
    return [f"did you mean {close!r}?" for close in difflib.get_close_matches(name, names, n=1)]


def _walk(model: type[BaseModel] | None, loc: tuple[Any, ...]) -> tuple[list[str], list[str], Any]:
    """The key as a person wrote it, without Pydantic's names for a union's alternatives.

    Returns:
        The parts of the key, the fields that are allowed where its last part stands, and the type
        of what stands there.
    """
    path: list[str] = []
    fields: list[str] = []
    annotation: Any = model
    for part in loc:
        annotation = _bare(annotation)
        if get_origin(annotation) in (Union, UnionType):
            annotation = _alternative(annotation, part)
            continue
        path.append(str(part))
        fields = list(annotation.model_fields) if _is_model(annotation) else []
        annotation = _inner(annotation, part)
    return path, fields, _bare(annotation)


def _bare(annotation: Any) -> Any:
    """Without ``Annotated``, a root model and ``| None``: none of them is a part of a key."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif _is_model(annotation) and issubclass(annotation, RootModel):
            annotation = annotation.model_fields["root"].annotation
        elif get_origin(annotation) in (Union, UnionType):
            kept = [a for a in get_args(annotation) if a is not NoneType]
            if len(kept) > 1:
                return annotation
            annotation = kept[0]
        else:
            return annotation


def _inner(annotation: Any, part: Any) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return None if field is None else field.annotation
    arguments = get_args(annotation)
    return arguments[-1] if arguments and get_origin(annotation) is dict else None


def _alternative(union: Any, tag: Any) -> Any:
    return next((a for a in get_args(union) if tag in _tags(a)), None)


def _tags(annotation: Any) -> list[str]:
    """The values of ``source`` that name an alternative, or all alternatives of a union."""
    if not _is_model(annotation):
        return [tag for a in get_args(annotation) if _is_model(a) for tag in _tags(a)]
    field = annotation.model_fields.get(TAG)
    return [] if field is None else [str(tag) for tag in get_args(field.annotation)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
