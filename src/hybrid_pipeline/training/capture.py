"""A function of tensors, run as it is on a CPU and replayed as one CUDA graph on a GPU.

A whole update is thousands of tiny kernels, and launching them from Python takes ten times as long
as running them. A CUDA graph launches all of them at once. It replays the same kernels on the same
memory, so all that changes from call to call must be a value in a tensor (PyTorch documentation,
"CUDA Graphs").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

WARM_UPS = 3
T = TypeVar("T")


class Captured(Generic[T]):
    """Calls a function of tensors: on a CPU as it is, on a CUDA device from a graph.

    How to call it::

        captured = Captured(function, state, device)  # nothing runs yet
        outputs = captured(inputs)                     # as often as wanted
        captured.close()                               # gives the graph's memory back

    On a CUDA device the first call with inputs of certain shapes runs the function ``WARM_UPS``
    times on this stream, undoes what that changed, and captures it. Every call copies its inputs
    to where the graph reads them and replays. Inputs of other shapes get a graph of their own; all
    share one private memory pool. A replay only queues work: reading an output waits for it.

    What the function must keep to: it reads no value back to the host (``.item()``, ``.cpu()``,
    a mask as an index), gives the same calls and shapes every time, sets gradients to ``None``
    before it makes them, and draws from no generator but the device's default one, which the
    graph registers. Changed tensors must be in ``state``, be changed in place, and start from zero
    if the first call makes them, as the averages of Adam do.

    Args:
        function: from inputs to tensors by name. Inputs are a tensor or a frozen dataclass of
            tensors, dataclasses and constants.
        state: every tensor that the function changes, or will have made when it has run.
        device: that the function runs on; inputs are brought there.
        enabled: False runs the function as it is on a CUDA device too.
    """

    def __init__(
        self,
        function: Callable[[T], Mapping[str, Tensor]],
        state: Callable[[], Iterable[Tensor]],
        device: torch.device,
        *,
        enabled: bool = True,
    ) -> None:
        self.function, self.state, self.device = function, state, device
        self.is_on = enabled and device.type == "cuda"
        self._graphs: dict[Any, _Graph[T]] = {}
        self._pool: Any = None

    def __call__(self, inputs: T) -> Mapping[str, Tensor]:
        """The function's outputs, valid until the next call."""
        if not self.is_on:
            return self.function(map_tensors(self._to_device, inputs))
        form = tuple((t.shape, t.dtype) for t in tensors_in(inputs))
        graph = self._graphs.get(form)
        if graph is None:
            graph = self._graphs[form] = self._capture(inputs)
        for kept, given in zip(tensors_in(graph.inputs), tensors_in(inputs), strict=True):
            kept.copy_(self._pinned(given), non_blocking=True)
        graph.replay()
        return graph.outputs

    def close(self) -> None:
        """Forget the graphs, once the device has finished with them."""
        if self._graphs and self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        self._graphs.clear()
        self._pool = None

    def _to_device(self, value: Tensor) -> Tensor:
        return value.to(self.device, non_blocking=True)

    def _pinned(self, value: Tensor) -> Tensor:
        """Page-locked, if it comes from the host: only then does its copy not wait for a GPU."""
        comes = self.device.type == "cuda" and value.device.type == "cpu" and value.numel() > 0
        return value.pin_memory() if comes else value

    def _capture(self, inputs: T) -> _Graph[T]:
        kept = map_tensors(lambda t: t.to(self.device, copy=True), inputs)
        warm_up(lambda: self.function(kept), self.state)
        return self._record(kept)

    def _record(self, kept: T) -> _Graph[T]:
        stream = torch.cuda.current_stream(self.device)
        if stream == torch.cuda.default_stream(self.device):
            raise RuntimeError("a CUDA graph is captured on a stream of its own: use own_stream")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
        ):
            outputs = self.function(kept)
        self._pool = graph.pool()
        return _Graph(kept, outputs, graph.replay)


@dataclass(frozen=True)
class _Graph(Generic[T]):
    """A captured graph with the inputs that it reads and the outputs that it writes."""

    inputs: T
    outputs: Mapping[str, Tensor]
    replay: Callable[[], None]


@torch.no_grad()
def warm_up(run: Callable[[], object], state: Callable[[], Iterable[Tensor]]) -> None:
    """Run something a few times, then put its state back as if it had never run.

    Libraries choose kernels and take memory on the first calls, which a graph must not see.

    Args:
        run: what is run.
        state: the tensors that it changes; those that it makes are set to zero.
    """
    before = [(tensor, tensor.clone()) for tensor in state()]
    with torch.enable_grad():
        for _ in range(WARM_UPS):
            run()
    known = {tensor.data_ptr() for tensor, _ in before}
    for tensor, kept in before:
        tensor.copy_(kept)
    for tensor in state():
        if tensor.data_ptr() not in known:
            tensor.zero_()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of a dataclass, of those inside it, of mappings and sequences, in order."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)


def map_tensors(change: Callable[[Tensor], Tensor], value: T) -> T:
    """The same dataclass with every tensor changed, those of dataclasses inside it too."""
    if isinstance(value, Tensor):
        return cast("T", change(value))
    if not is_dataclass(value):
        return value
    changed = {f.name: map_tensors(change, getattr(value, f.name)) for f in fields(value)}
    return cast("T", replace(cast("Any", value), **changed))


_free_streams: list[torch.cuda.Stream] = []
_free_streams_lock = threading.Lock()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Work on a CUDA stream that nothing else uses meanwhile; on a CPU this does nothing.

    A stream that was given back is used again: libraries keep a workspace for each.
    """
    if device.type != "cuda":
        yield
        return
    with _free_streams_lock:
        stream = _free_streams.pop() if _free_streams else _new_stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        stream.synchronize()
        with _free_streams_lock:
            _free_streams.append(stream)


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
