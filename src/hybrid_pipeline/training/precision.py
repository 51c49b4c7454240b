"""Device and numeric precision: fp32 everywhere, fp16 or bf16 autocast where asked."""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch

from hybrid_pipeline.config import TrainingConfig

NOT_DETERMINISTIC = r".*(does not have a deterministic implementation|CUBLAS_WORKSPACE_CONFIG)"
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(wanted: str, parameter: str = "training.device") -> torch.device:
    """The device that ``cpu``, ``cuda`` or ``auto`` means on this machine.

    Args:
        wanted: the parameter's value.
        parameter: its name, for the message.

    Raises:
        ValueError: where ``cuda`` is asked for and cannot be used.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"parameter {parameter!r} = 'cuda' is refused: torch sees no usable CUDA device "
            "(no GPU, or a driver older than this build of torch needs); allowed here: cpu, auto"
        )
    use_cuda = wanted != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")


def autocast(config: TrainingConfig, device: torch.device) -> AbstractContextManager[object]:
    """Autocast for the forward pass; nothing under fp32."""
    dtype = _DTYPES.get(config.precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def make_deterministic(config: TrainingConfig) -> None:
    """Fix the number of threads and refuse nondeterministic kernels.

    Deterministic mode also fills every new tensor, so that a kernel which reads what it has not
    written would at least repeat itself. Nothing here does, the results are the same bits without,
    and filling costs up to a tenth of an update: it is off.

    On a GPU some kernels have no deterministic form. They are used, and torch's warning at every
    use is switched off, because the run has said so once (``kedro_ext.devices``). cuBLAS has one;
    it asks for a variable in the environment before its first use.
    """
    torch.set_num_threads(config.num_threads)
    torch.use_deterministic_algorithms(True, warn_only=config.device != "cpu")
    if config.device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        warnings.filterwarnings("ignore", NOT_DETERMINISTIC, UserWarning)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what this thread has queued."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def free_bytes(device: torch.device) -> int:
    """Bytes of a CUDA device that this process can still take, within its limit if it has one."""
    free, total = torch.cuda.mem_get_info(device)
    limit = int(total * torch.cuda.get_per_process_memory_fraction(device))
    return min(free, limit - torch.cuda.memory_reserved(device))


def taken_bytes(device: torch.device) -> int:
    """Bytes of a CUDA device that this process holds; 0 for a CPU."""
    return torch.cuda.memory_reserved(device) if device.type == "cuda" else 0
