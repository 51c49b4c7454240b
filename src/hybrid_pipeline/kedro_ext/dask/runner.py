"""A Kedro runner on Dask workers: one process per core or GPU, here or on other machines.

Kedro's ``ParallelRunner`` runs without the project's hooks under ``spawn`` and dies with a killed
worker. Futures, waiting, GPU resources and retries after a killed worker are distributed's. Only
the order is kept here: a node is handed out when a worker is free, seed blocks first (tags
``block.<k>`` and ``order.<j>``). The scheduler's own priorities cannot do that, because it assigns
a ready task to a worker before one is free (docs/decisions/0003-dask-runner.md). How workers come
and go is in ``cluster``, what happens on them in ``worker``.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from kedro.io import MemoryDataset
from kedro.runner import AbstractRunner

from hybrid_pipeline.cores import num_cores
from hybrid_pipeline.kedro_ext.dask.cluster import (
    ClusterOptions,
    RunnerError,
    cells_per_worker,
    gpu_share,
    num_slots,
    workers_for,
)
from hybrid_pipeline.kedro_ext.devices import GPU_TAG, visible_gpus
from hybrid_pipeline.kedro_ext.progress import CELL_TAG

if TYPE_CHECKING:
    from distributed import Client, Future
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node
    from pluggy import PluginManager

POLL_S = 2.0  # between looks at workers that came or went
ANSWER_TIMEOUT_S = 60.0  # of a scheduler that is there
SCHEDULER_GONE = (
    "the scheduler is gone; finished nodes are kept; run the same command again to resume."
)


class NodeFailedError(RuntimeError):
    """A node raised; the message is one sentence that names it, the cause is its exception."""


class DaskRunner(AbstractRunner):
    """Runs nodes on Dask workers, with the project's hooks around each.

    Args:
        scheduler: address of a running scheduler such as ``tcp://host:8786``; without one, a
            private local cluster is started and ended with the run.
        workers: processes of the local cluster; by default one for each core that this process
            may use.
        gpus: GPUs of the local cluster; by default those that are visible. A node tagged ``gpu``
            gets one of its own, except that several cells share one (``training.cells_at_once``).
        retries: how often a node whose worker died is handed out again.
        worker_timeout_s: seconds without any worker after which the run gives up.
        dashboard: serve Dask's dashboard on port 8787 (local cluster).
        is_async: load and save datasets with threads.
    """

    def __init__(
        self,
        scheduler: str | None = None,
        workers: int | None = None,
        gpus: int | None = None,
        retries: int = 5,
        worker_timeout_s: float = 120.0,
        dashboard: bool = False,
        is_async: bool = False,
    ) -> None:
        super().__init__(is_async=is_async)
        self._options = ClusterOptions(
            scheduler=scheduler,
            workers=self._validate_max_workers(num_cores() if workers is None else workers),
            gpus=gpus,
            retries=retries,
            worker_timeout_s=worker_timeout_s,
            dashboard=dashboard,
        )

    def __str__(self) -> str:
        """The name, and the scheduler's address if there is one."""
        return f"DaskRunner({self._options.scheduler or ''})"

    def _get_executor(self, max_workers: int) -> None:
        """Not used: ``_run`` hands out nodes itself, in order of priority."""

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: PluginManager | None = None,  # noqa: ARG002  (workers build their own)
        run_id: str | None = None,
    ) -> None:
        refuse_memory_outputs(pipeline, catalog)
        if not pipeline.nodes:
            return
        needs_gpu = any(GPU_TAG in node.tags for node in pipeline.nodes)
        self._options.cells_on_gpu = any({CELL_TAG, GPU_TAG} <= n.tags for n in pipeline.nodes)
        self._options.cells_per_worker = _cells_per_worker(self._options)
        with workers_for(self._options, needs_gpu=needs_gpu) as client:
            submit = _submitter(client, catalog, self._is_async, run_id, self._options)
            _Handout(client, pipeline, submit, self._options.worker_timeout_s, self._done).drive()

    def _done(self, node: Node, num_done: int, num_nodes: int) -> None:
        self._logger.info("Completed node: %s (%d of %d)", node.name, num_done, num_nodes)


def refuse_memory_outputs(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
    """Node outputs must be files: worker processes share no memory.

    Raises:
        RunnerError: naming the datasets.
    """
    in_memory = sorted(
        name
        for name in pipeline.all_outputs()
        if name not in catalog or isinstance(catalog.get(name), MemoryDataset)
    )
    if in_memory:
        raise RunnerError(
            f"DaskRunner cannot pass {', '.join(map(repr, in_memory))} between processes; give "
            f"each a file in the catalog or use --runner SequentialRunner."
        )


def priority(node: Node, position: int) -> tuple[int, int, int]:
    """Sort key of a ready node: shared work first, then seed block, place in the block, position.

    Args:
        node: tagged ``block.<k>`` and ``order.<j>``, or not at all.
        position: its place in the topological order.
    """
    return _tag_number(node, "block"), _tag_number(node, "order"), position


def _tag_number(node: Node, prefix: str) -> int:
    numbers = [re.fullmatch(rf"{prefix}\.(\d+)", tag) for tag in node.tags]
    return min((int(found[1]) for found in numbers if found), default=-1)


def _cells_per_worker(options: ClusterOptions) -> int:
    from hybrid_pipeline.kedro_ext.project_parameters import current_state

    state = current_state()
    training = {} if state is None else state.parameters.get("training") or {}
    gpus = visible_gpus() if options.gpus is None else options.gpus
    on_gpu = options.cells_on_gpu and gpus > 0
    return cells_per_worker(training.get("cells_at_once"), on_gpu=on_gpu)


def _submitter(
    client: Client,
    catalog: CatalogProtocol[Any, Any],
    is_async: bool,
    run_id: str | None,
    options: ClusterOptions,
) -> Callable[[Node], Future[Any]]:
    from kedro.framework import project

    from hybrid_pipeline.kedro_ext.dask.worker import NodeCall, run_on_worker
    from hybrid_pipeline.kedro_ext.project_parameters import current_state
    from hybrid_pipeline.storage import code_fingerprint

    state = current_state()
    code_key = code_fingerprint("") if options.scheduler else None

    def submit(node: Node) -> Future[Any]:
        slots = num_slots(client, options, on_gpu=options.cells_on_gpu)
        package = project.PACKAGE_NAME
        call = NodeCall(node, catalog, is_async, run_id, package, state, code_key, slots)
        takes_gpu = options.has_gpu_resource and GPU_TAG in node.tags
        resources = gpu_share(options, is_cell=CELL_TAG in node.tags) if takes_gpu else None
        key = f"{node.name}-{run_id}-{time.monotonic_ns()}"
        return client.submit(run_on_worker, call, key=key, pure=False, resources=resources)

    return submit


class _Handout:
    """Hands ready nodes to free workers until all are done or one has failed."""

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        submit: Callable[[Node], Future[Any]],
        worker_timeout_s: float,
        on_done: Callable[[Node, int, int], None],
    ) -> None:
        self._client = client
        self._submit = submit
        self._worker_timeout_s = worker_timeout_s
        self._on_done = on_done
        self._needs = pipeline.node_dependencies
        self._rank = {node: priority(node, i) for i, node in enumerate(pipeline.nodes)}
        self._todo: set[Node] = set(pipeline.nodes)
        self._done: set[Node] = set()
        self._running: dict[Future[Any], Node] = {}
        self._failures: list[tuple[Node, BaseException]] = []
        self._last_worker_seen_s = time.monotonic()

    def drive(self) -> None:
        """Run everything.

        Raises:
            NodeFailedError: after the nodes that were running have ended.
            RunnerError: when the workers or the scheduler are gone.
        """
        while self._todo or self._running:
            if not self._failures:
                self._hand_out()
            if not self._running:
                break
            for future in self._wait():
                self._take(future)
        if self._failures:
            raise _node_failed(self._failures)

    def _hand_out(self) -> None:
        ready = [node for node in self._todo if self._needs[node] <= self._done]
        free = self._capacity() - len(self._running)
        for node in sorted(ready, key=self._rank.__getitem__)[: max(free, 0)]:
            self._todo.discard(node)
            self._running[self._submit(node)] = node

    def _capacity(self) -> int:
        return max(1, self._num_threads())

    def _num_threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except OSError:  # no scheduler
            return 0

    def _wait(self) -> Iterable[Future[Any]]:
        from distributed import wait

        try:
            wait(list(self._running), timeout=POLL_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            self._check_workers()
        except CancelledError as error:  # Dask gives the futures of a lost scheduler up
            raise RunnerError(SCHEDULER_GONE) from error
        return [future for future in self._running if future.status != "pending"]

    def _check_workers(self) -> None:
        now = time.monotonic()
        if self._client.status == "running" and self._num_threads():
            self._last_worker_seen_s = now
        elif now - self._last_worker_seen_s > self._worker_timeout_s:
            raise RunnerError(
                f"no worker answered for {self._worker_timeout_s:.0f} s; "
                f"finished nodes are kept; run the same command again to resume."
            )

    def _take(self, future: Future[Any]) -> None:
        node = self._running.pop(future)
        if future.status == "finished":
            self._done.add(node)
            self._on_done(node, len(self._done), len(self._rank))
        elif future.status == "error":
            error = future.exception(timeout=ANSWER_TIMEOUT_S)
            traceback = future.traceback(timeout=ANSWER_TIMEOUT_S)
            self._failures.append((node, error.with_traceback(traceback)))
        else:
            raise RunnerError(SCHEDULER_GONE)


def _node_failed(failures: list[tuple[Node, BaseException]]) -> NodeFailedError:
    sentences = [f"node {node.name!r} failed: {_reason(error)}" for node, error in failures]
    raised = NodeFailedError("; ".join(sentences))
    raised.__cause__ = failures[0][1]
    return raised


def _reason(error: BaseException) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "each worker that ran it was killed, as happens when memory runs out"
    message = " ".join(str(error).split()) or "no message"
    return message if isinstance(error, ValueError) else f"{type(error).__name__}: {message}"
