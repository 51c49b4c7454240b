"""Write ``docs/reference/parameters.md`` from the Pydantic models and ``conf/``.

Run it after a change of a parameter: ``python docs/reference/make_parameters.py``. With ``--check``
nothing is written and the exit status says whether the page is current.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from hybrid_pipeline.kedro_ext.project_parameters import PARAMETER_GROUPS
from hybrid_pipeline.storage import write_text_atomically

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/parameters.md"
ENVIRONMENTS = ("smoke", "gpu", "t4_session", "t4")
ELSEWHERE = {
    "plugins": "Modules of your own, a list: [add a component](../how-to/add-a-component.md), "
    "[add a task source](../how-to/add-a-task-source.md), "
    "[add a tower source](../how-to/add-a-tower-source.md), [add a rule]"
    "(../how-to/review-hyperparameters.md#add-a-rule-of-your-own).",
    "claims": "What was claimed, as data. Its form: [scores.md](scores.md).",
}
HEAD = """# Parameters

Made by `python docs/reference/make_parameters.py`; do not edit. A mistyped key, an impossible
value or a missing file is refused before any work, in one sentence. *base* is the value in
`conf/base`; in brackets, the model's own default if no file sets the key. Another environment's
value stands behind its name.

Change one with `--params group.key=value`, in `conf/local/`, or in an environment of your own:
[conf/README.md](../../conf/README.md).
"""


def main() -> int:
    """Write the page, or compare it; returns 1 where it is out of date."""
    parser = argparse.ArgumentParser(description="Write docs/reference/parameters.md.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = page()
    if not parser.parse_args().check:
        write_text_atomically(PAGE, text)
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    sys.stderr.write("docs/reference/parameters.md is out of date: make_parameters.py writes it.\n")
    return 1


def page() -> str:
    """The whole page."""
    values = {env: load_parameters(env) for env in ("base", *ENVIRONMENTS)}
    parts = [HEAD]
    for group, source in PARAMETER_GROUPS.items():
        model = source if isinstance(source, type) else source()
        parts.append(f"## {group}\n")
        if group in ELSEWHERE:
            parts.append(_wrapped(ELSEWHERE[group]))
            continue
        of_group = {env: values[env].get(group) or {} for env in values}
        write = _tasks if issubclass(model, RootModel) else _group
        parts += write(model, of_group)
    return "\n".join(parts)


def load_parameters(env: str) -> dict[str, Any]:
    """All parameters of one environment, as its files have them, globals put in."""
    constants = yaml.safe_load((ROOT / "conf/base/globals.yml").read_text("utf-8"))
    merged: dict[str, Any] = {}
    for path in sorted((ROOT / "conf" / env / "parameters").rglob("*.yml")):
        text = path.read_text("utf-8")
        for name, value in constants.items():
            text = text.replace(f"${{globals:{name}}}", str(value))
        merged |= yaml.safe_load(text) or {}
    return merged


def _group(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    yield _wrapped(_first_paragraph(model))
    rows = list(_rows(model, values, ""))
    yield _table(("key", "allowed", "base", "meaning"), rows)


def _rows(model: type[BaseModel], values: Mapping[str, Any], prefix: str) -> Iterator[list[str]]:
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        inside = {env: _get(v, name) for env, v in values.items()}
        if inner is not None:
            yield from _rows(inner, inside, f"{prefix}{name}.")
            continue
        yield [
            f"`{prefix}{name}`",
            _allowed(field),
            _value(field, inside),
            (field.description or "").replace("|", "\\|"),
        ]


def _get(values: Any, name: str) -> Any:
    return values.get(name, _ABSENT) if isinstance(values, Mapping) else _ABSENT


_ABSENT = object()


def _model_of(annotation: Any) -> type[BaseModel] | None:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _value(field: FieldInfo, values: Mapping[str, Any]) -> str:
    base = values.get("base", _ABSENT)
    if base is _ABSENT:
        default = (
            "required"
            if field.is_required()
            else _plain(field.get_default(call_default_factory=True))
        )
        shown = f"({default})" if default else ""
    else:
        shown = _plain(base)
    others = [
        f"{env}: {_plain(values[env])}"
        for env in ENVIRONMENTS
        if values.get(env, _ABSENT) is not _ABSENT and values[env] != base
    ]
    return "; ".join([part for part in (shown, *others) if part])


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if isinstance(value, Mapping):
        return f"{len(value)} keys" if value else "{}"
    return str(value)


def _allowed(field: FieldInfo) -> str:
    text = _type(field.annotation)
    bounds = [f"{sign} {_plain(limit)}" for sign, limit in _bounds(field.metadata)]
    if bounds:
        first, *rest = text.split(", null")
        text = ", null".join([f"{first} {', '.join(bounds)}", *rest])
    return text


def _bounds(metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    for sign, name in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        for constraint in metadata:
            if getattr(constraint, name, None) is not None:
                yield sign, getattr(constraint, name)


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return ", ".join(f"`{_plain(value)}`" for value in inside)
    if origin in (Union, UnionType):
        named = [_type(part) for part in inside if part is not NoneType]
        return ", ".join([*dict.fromkeys(named), *(["null"] if NoneType in inside else [])])
    if origin in (list, tuple):
        kinds = list(dict.fromkeys(_type(part) for part in inside if part is not Ellipsis))
        return f"list of {' or '.join(kinds)}"
    if origin is dict:
        value = _model_of(inside[1])
        return f"mapping to {{{', '.join(value.model_fields)}}}" if value else "mapping"
    names = {bool: "true or false", int: "integer", float: "number", str: "text"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _tasks(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    in_base = " and ".join(f"`{task}`" for task in values["base"])
    yield _wrapped(
        "Task name -> task. A task's keys depend on its `source`; "
        f"[tasks](../explanation/tasks.md) says what each poses. Base has {in_base}."
    )
    union = get_args(model.model_fields["root"].annotation)[1]
    for member in get_args(get_args(union)[0] if get_origin(union) is Annotated else union):
        source = get_args(member.model_fields["source"].annotation)[0]
        yield f"### source: {source}\n\n{_wrapped(_first_paragraph(member))}"
        of_source = {
            env: next((t for t in tasks.values() if t.get("source") == source), {})
            for env, tasks in values.items()
        }
        yield _table(("key", "allowed", "base", "meaning"), list(_rows(member, of_source, "")))


def _first_paragraph(model: type[BaseModel]) -> str:
    text = (model.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split()).replace("``", "`")


def _wrapped(text: str) -> str:
    """A paragraph at the width of the pages."""
    lines = textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
