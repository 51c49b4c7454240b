"""Kedro's configuration with three rules more: home folders, UTF-8, and plain YAML.

A value that begins with ``~`` is in a home folder, as in a shell, in every file and in
``--params``. A file that cannot be read is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError
from yaml.constructor import ConstructorError

from hybrid_pipeline.config import ConfigError, at_home

SUFFIXES = {".yml", ".yaml", ".json"}


class ProjectConfigLoader(OmegaConfigLoader):
    """``OmegaConfigLoader`` whose refusals name the file."""

    def __getitem__(self, key: str) -> Any:
        """The configuration of one kind, merged over environments.

        Raises:
            ConfigError: one sentence with the file that cannot be read, or with the key.
        """
        try:
            found = super().__getitem__(key)
        except (UnicodeDecodeError, YAMLError) as error:
            raise self._unreadable(error) from error
        except OmegaConfBaseException as error:
            if own := _own_refusal(error):
                raise own from error
            at = f" at {error.full_key!r}" if error.full_key else ""
            raise ConfigError(
                f"the configuration {key!r} is refused{at}: {_line(error)}."
            ) from error
        except TypeError as error:  # OmegaConf: a mapping over a list, or the reverse
            given = ", ".join(_leaves(self.runtime_params or {})) or "an environment's file"
            raise ConfigError(
                f"the configuration {key!r} is refused: a value of another kind stands in base "
                f"({_line(error)}); look at {given}."
            ) from error
        return _with_home(found)

    def _unreadable(self, error: Exception) -> ConfigError:
        for path in self._files():
            reason = why_unreadable(path)
            if reason:
                return ConfigError(f"{path} {reason}.")
        return ConfigError(f"a configuration file is no YAML: {_line(error)}.")

    def _files(self) -> list[Path]:
        folders = [self.base_env, self.env or self.default_run_env]
        found = (p for f in folders for p in sorted(Path(self.conf_source, f).rglob("*")))
        return [path for path in found if path.suffix in SUFFIXES and path.is_file()]


def _own_refusal(error: BaseException | None) -> ConfigError | None:
    """The sentence of a resolver of this project, which OmegaConf wraps."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    return error


def why_unreadable(path: Path) -> str:
    """What is wrong with a YAML file, as the rest of a sentence; empty if it can be read."""
    from omegaconf import OmegaConf

    try:
        OmegaConf.load(path)
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start}): save it as UTF-8, without another encoding"
    except YAMLError as error:
        if "#x0000" in str(error):
            return "is not UTF-8 (it holds zero bytes, as UTF-16 does): save it as UTF-8"
        return f"is refused: {yaml_refusal(error)}"
    except (OSError, OmegaConfBaseException) as error:
        return f"cannot be read: {_line(error)}"
    return ""


def yaml_refusal(error: Exception) -> str:
    """A YAML error as a clause that says where and what."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    problem = getattr(error, "problem", None) or _line(error)
    if isinstance(error, ConstructorError) and "tag" in problem:
        tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!") if "'" in problem else "?"
        return f"{where}the tag {tag!r} is not allowed; write plain values such as null, 1 or text"
    return f"{where}{problem}"


def _with_home(value: Any) -> Any:
    """The same configuration with ``~`` at the start of texts replaced."""
    if isinstance(value, dict):
        return {key: _with_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_home(item) for item in value]
    if isinstance(value, str) and value.startswith("~"):
        try:
            return at_home(value)
        except ValueError:  # no such user: refused by the parameter, if it is a path
            return value
    return value


def _leaves(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
