"""Workers for one run: a private local cluster, or those of a scheduler that is running."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.kedro_ext.devices import visible_gpus
from hybrid_pipeline.storage import FileLock
from hybrid_pipeline.storage.locks import is_in_use

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

CELLS_ON_GPU = 8
"""At most, that one worker trains at once on a GPU, unless the parameters say how many."""
CONNECT_TIMEOUT_S = 10
START_TIMEOUT_S = 120
CLOSE_TIMEOUT_S = 10
PRIVATE_PREFIX = "hybrid_pipeline_dask_"
LOCK = ".lock"  # held by the driver
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# A worker must be quiet from its first import on: what a nanny sets later comes after Dask's.
QUIET_WORKER = {
    "DASK_LOGGING__DISTRIBUTED": "error",
    "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore::SyntaxWarning"),
}
# The nanny sets MALLOC_TRIM_THRESHOLD_, so that glibc gives freed memory back at once; a training
# step that frees and takes the same tensors again then spends half its time in the kernel.
QUIET = {
    "distributed.nanny.pre-spawn-environ": {name: 1 for name in THREAD_VARIABLES} | QUIET_WORKER,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.limit": "1h",  # a training step may hold the interpreter
    # By default scheduler, nannies and workers wake 50 times a second to watch their own delay:
    # a twentieth of two cores, and the interpreter taken from the training each time.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": f"{CONNECT_TIMEOUT_S}s",
}


class RunnerError(RuntimeError):
    """The run cannot go on as asked; the message is one sentence for a person."""


@dataclass
class ClusterOptions:
    """Where the workers are and how patient the driver is; see ``DaskRunner``.

    Attributes:
        cells_per_worker: that a worker of the local cluster trains at once, each in a thread.
        cells_on_gpu: whether cells take a GPU.
        has_gpu_resource: whether workers offer the resource ``GPU``.
        num_gpus: of the local cluster.
    """

    scheduler: str | None = None
    workers: int = 1
    gpus: int | None = None
    retries: int = 5
    worker_timeout_s: float = 120.0
    dashboard: bool = False
    cells_per_worker: int = 1
    cells_on_gpu: bool = False
    has_gpu_resource: bool = field(default=False, init=False)
    num_gpus: int = field(default=0, init=False)


@contextmanager
def workers_for(options: ClusterOptions, *, needs_gpu: bool) -> Iterator[Client]:
    """A connected client; a local cluster and its temporary files end with the block.

    Args:
        options: ``has_gpu_resource`` is set here, whether workers offer the resource ``GPU``,
            and ``num_gpus``, those of a local cluster that the run uses.
        needs_gpu: whether a node of the run is tagged ``gpu``.

    Raises:
        RunnerError: when no worker can be had.
    """
    import dask
    import distributed

    # Kedro's logging configuration undoes what ``silence_logs`` does to Dask's handlers
    logging.getLogger(distributed.__name__).setLevel(logging.CRITICAL)
    with dask.config.set(QUIET):
        if options.scheduler is None:
            with _local_client(options, needs_gpu=needs_gpu) as client:
                yield client
        else:
            with _remote_client(options.scheduler, options.worker_timeout_s) as client:
                options.has_gpu_resource = needs_gpu
                _check_remote(client, needs_gpu=needs_gpu)
                yield client


@contextmanager
def _local_client(options: ClusterOptions, *, needs_gpu: bool) -> Iterator[Client]:
    from distributed import Client

    num_gpus = visible_gpus() if options.gpus is None else options.gpus
    options.has_gpu_resource = needs_gpu and num_gpus > 0
    options.num_gpus = num_gpus if needs_gpu else 0
    private = _private_folder()
    lock = FileLock(private / LOCK).acquire()
    try:
        cluster = _local_cluster(options, private)
        try:
            with Client(cluster, timeout=CONNECT_TIMEOUT_S) as client:
                _wait_for_worker(client)
                yield client
        finally:
            with contextlib.suppress(TimeoutError):
                cluster.close(timeout=CLOSE_TIMEOUT_S)
    finally:
        lock.release()
        shutil.rmtree(private, ignore_errors=True)


def _private_folder() -> Path:
    """A new folder for the workers; those of drivers that were killed are removed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PRIVATE_PREFIX}*"):
        if is_in_use(folder / LOCK) is False:
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX))


def _wait_for_worker(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=START_TIMEOUT_S)
    except TimeoutError as error:
        raise RunnerError(
            f"no local worker process started within {START_TIMEOUT_S} s; "
            f"use --runner SequentialRunner."
        ) from error


def _local_cluster(options: ClusterOptions, private: Path) -> SpecCluster:
    from distributed import Nanny, Scheduler, SpecCluster

    scheduler = {
        "host": "127.0.0.1",
        "port": 0,
        "dashboard": options.dashboard,
        "dashboard_address": f"127.0.0.1:{8787 if options.dashboard else 0}",
        "allowed_failures": options.retries,
    }
    specs = {
        i: {"cls": Nanny, "options": _worker_options(i, private, options)}
        for i in range(max(options.workers, options.num_gpus))
    }
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": scheduler},
        workers=specs,
        silence_logs=logging.CRITICAL,
        shutdown_on_close=True,
    )


def _worker_options(index: int, private: Path, options: ClusterOptions) -> dict[str, Any]:
    env = dict.fromkeys(THREAD_VARIABLES, "1")
    has_gpu = index < options.num_gpus
    if options.num_gpus:
        env["CUDA_VISIBLE_DEVICES"] = _device(index) if has_gpu else ""
    trains = has_gpu or not (options.cells_on_gpu and options.num_gpus)
    num_threads = options.cells_per_worker if trains else 1
    return {
        "host": "127.0.0.1",
        "nthreads": num_threads,
        "memory_limit": 0,  # no spilling, no pausing: results are files
        "local_directory": str(private),
        "env": env,
        "resources": {"GPU": num_threads} if has_gpu else {},
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "preload": ["hybrid_pipeline.kedro_ext.dask.worker"],
        "silence_logs": logging.CRITICAL,
    }


def _device(index: int) -> str:
    listed = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    return listed[index] if index < len(listed) else str(index)


@contextmanager
def _remote_client(address: str, worker_timeout_s: float) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise RunnerError(
            f"no Dask scheduler answers at {address!r}; start one with 'dask scheduler' and give "
            f"its address as --runner-params scheduler=tcp://host:8786."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=worker_timeout_s)
        except TimeoutError as error:
            raise RunnerError(
                f"the scheduler at {address!r} had no worker for {worker_timeout_s:.0f} s; start "
                f"some with 'dask worker {address} --nthreads 1'."
            ) from error
        yield client


def _check_remote(client: Client, *, needs_gpu: bool) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if needs_gpu and not any(worker["resources"].get("GPU") for worker in workers):
        raise RunnerError(
            "nodes are tagged 'gpu' but no worker offers one; start a worker per GPU with "
            "--resources GPU=1."
        )


def cells_per_worker(wanted: int | None, *, on_gpu: bool) -> int:
    """How many cells a worker trains at once: as the parameter says, else by its device.

    On a GPU this is a bound: ``training.room`` lets in as many as its memory holds.
    """
    return wanted or (CELLS_ON_GPU if on_gpu else 1)


def gpu_share(options: ClusterOptions, *, is_cell: bool) -> dict[str, int]:
    """What a node takes of a worker's resource ``GPU``: a cell one thread's, others all of it."""
    alone = options.scheduler is None and not is_cell
    return {"GPU": options.cells_per_worker if alone else 1}


def num_slots(client: Client, options: ClusterOptions, *, on_gpu: bool) -> int:
    """How many cells run at the same time.

    A local cluster counts as a whole from its start, so that a rerun which finds every cell done
    decides the same; of a scheduler's workers those count that are there now.

    Args:
        client: of the cluster.
        options: after ``workers_for``.
        on_gpu: whether a cell takes a GPU.
    """
    on_gpu = on_gpu and options.has_gpu_resource
    if options.scheduler is None:
        training = options.num_gpus if on_gpu else max(options.workers, options.num_gpus)
        return training * options.cells_per_worker
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    counts = (w["resources"].get("GPU", 0) if on_gpu else w["nthreads"] for w in workers)
    return max(1, int(sum(counts)))
