"""What happens in a worker process: the project is set up once, then nodes run with its hooks."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.kedro_ext.devices import cells_at_once
from hybrid_pipeline.kedro_ext.project_parameters import (
    ProjectState,
    current_state,
    load_own_plugins,
    store_state,
)
from hybrid_pipeline.training.turns import TURNS

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline.node import Node
    from pluggy import PluginManager


@dataclass(frozen=True)
class NodeCall:
    """One node and what a bare process needs to run it.

    Attributes:
        node: the Kedro node.
        catalog: the catalog of the run; its datasets are files.
        is_async: load and save with threads.
        run_id: the session's id.
        package_name: the project's package, ``None`` if none is configured.
        state: the driver's parameters and study.
        code_key: fingerprint of the driver's code; checked on other machines.
        num_slots: how many cells the run trains at the same time.
    """

    node: Node
    catalog: CatalogProtocol[Any, Any]
    is_async: bool
    run_id: str | None
    package_name: str | None
    state: ProjectState | None
    code_key: str | None
    num_slots: int = 1


_prepared: dict[tuple[str | None, str | None], PluginManager] = {}


def run_on_worker(call: NodeCall) -> str:
    """Load the inputs, run the node, save the outputs; hooks fire as in the driver.

    A worker with several threads runs one node at a time. Only while a cell trains do nodes change
    places, from update to update.

    Returns:
        The node's name.
    """
    with TURNS.taken():
        _run(call)
    return str(call.node.name)


def _run(call: NodeCall) -> None:
    from kedro.runner.task import Task

    hooks = _hooks_for(call)
    slots = cells_at_once.set(call.num_slots)
    try:
        Task(
            node=call.node,
            catalog=call.catalog,
            is_async=call.is_async,
            hook_manager=hooks,
            run_id=call.run_id,
        ).execute()
    finally:
        cells_at_once.reset(slots)


def _hooks_for(call: NodeCall) -> PluginManager:
    """The hooks of this run, whose project is set up by the first of the worker's threads."""
    if call.state != current_state():
        store_state(call.state)
    key = (call.package_name, call.run_id)
    if key not in _prepared:
        _prepared.clear()
        _prepared[key] = _prepare(call)
    return _prepared[key]


def _prepare(call: NodeCall) -> PluginManager:
    """Configure the project and build its hooks.

    Hook managers cannot be pickled. Hooks of installed plugins stay in the driver: they keep the
    state of the whole run and would overwrite one another's files.
    """
    from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
    from kedro.framework.project import configure_project, settings

    _check_machine(call)
    if call.state is not None:
        os.chdir(call.state.project_path)  # as the driver does
    if call.package_name:
        configure_project(call.package_name)
    if call.state is not None:
        load_own_plugins(call.state.parameters)
    _be_quiet()
    manager = _create_hook_manager()
    _register_hooks(manager, settings.HOOKS if call.package_name else ())
    return manager


def _check_machine(call: NodeCall) -> None:
    if call.code_key is None:
        return
    from hybrid_pipeline.storage import code_fingerprint

    if code_fingerprint("") != call.code_key:
        raise RuntimeError(
            f"worker on {socket.gethostname()} has other code than the driver; "
            f"install the same version there"
        )
    if call.state is not None and not call.state.project_path.is_dir():
        raise RuntimeError(
            f"worker on {socket.gethostname()} does not see {call.state.project_path}; "
            f"the project folder must be shared under the same path"
        )


def _be_quiet() -> None:
    for name in ("kedro", "hybrid_pipeline"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def dask_setup(worker: Any) -> None:  # noqa: ARG001  (the name and signature are Dask's)
    """Called by Dask when a worker process of the local cluster starts.

    Ctrl-C reaches every process of the terminal; only the driver answers it, and ends the workers.
    """
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_quiet()
