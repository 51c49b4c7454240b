"""The GPUs of this machine and what they can do, asked before any work.

They are asked in a process of their own: a process that only starts others would otherwise keep a
CUDA context, some hundred MiB of the card, for as long as they train.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

DRIVER_FILE = Path("/proc/driver/nvidia/version")
# NVIDIA, "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility".
MIN_DRIVER = {11: 450, 12: 525, 13: 580}
PROBE = [sys.executable, "-W", "ignore", "-m", "hybrid_pipeline.training.cards"]
PROBE_S = 300


@dataclass(frozen=True)
class Card:
    """One GPU.

    Attributes:
        name: as its driver calls it.
        num_bytes: of its memory.
        capability: of its processors, (7, 5) on a T4.
        has_bf16: whether it computes bf16; a T4 only imitates it.
    """

    name: str
    num_bytes: int
    capability: tuple[int, int]
    has_bf16: bool


@dataclass(frozen=True)
class Cards:
    """What torch says of the GPUs.

    Attributes:
        cards: that this process may use; empty if there is a problem.
        problem: torch's own words for why it can use none; empty if it can.
        cuda: version of CUDA that torch was built for; empty for a build without.
        architectures: that torch holds code for, such as ``sm_75``.
        driver: NVIDIA's driver; ``None`` if it is not known.
    """

    cards: tuple[Card, ...] = ()
    problem: str = ""
    cuda: str = ""
    architectures: tuple[str, ...] = ()
    driver: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Cards:
        """From JSON values with the names of the attributes."""
        cards = tuple(
            Card(**{**card, "capability": tuple(card["capability"])}) for card in values["cards"]
        )
        return cls(**{**values, "cards": cards, "architectures": tuple(values["architectures"])})

    @property
    def min_driver(self) -> int | None:
        """The oldest driver that this build of torch takes; ``None`` if it is not known."""
        return MIN_DRIVER.get(int(self.cuda.partition(".")[0] or 0))

    @property
    def driver_is_too_old(self) -> bool:
        """Whether the driver is older than this build of torch needs."""
        if "driver" in self.problem and "too old" in self.problem:
            return True
        known = self.driver is not None and self.min_driver is not None
        return bool(self.problem) and known and self.driver < self.min_driver  # type: ignore[operator]

    def has_code_for(self, card: Card) -> bool:
        """Whether torch holds machine code for a card, or code that its driver can translate."""
        major, minor = card.capability
        for name in self.architectures:
            kind, _, digits = name.partition("_")
            built = divmod(int(re.sub(r"\D", "", digits) or 0), 10)
            if kind == "sm" and built[0] == major and built[1] <= minor:
                return True
            if kind == "compute" and built <= (major, minor):
                return True
        return not self.architectures


def ask() -> Cards:
    """Ask torch in another process."""
    try:
        done = subprocess.run(PROBE, capture_output=True, text=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return Cards(problem=f"torch did not answer in {PROBE_S} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return Cards(problem=lines[-1])
    return Cards.from_json(json.loads(done.stdout.splitlines()[-1]))


def describe() -> Cards:
    """Ask torch in this process, which keeps a CUDA context where there is a card."""
    import torch

    driver, cuda = driver_version(), torch.version.cuda or ""
    found = Cards(cuda=cuda, driver=driver)
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        numbers = range(torch.cuda.device_count())
        cards = tuple(_card(torch.cuda.get_device_properties(number)) for number in numbers)
    except (RuntimeError, AssertionError) as error:
        return replace(found, problem=str(error).splitlines()[0] if str(error) else repr(error))
    return replace(found, cards=cards, architectures=tuple(torch.cuda.get_arch_list()))


def _card(properties: Any) -> Card:
    capability = (int(properties.major), int(properties.minor))
    return Card(
        name=str(properties.name),
        num_bytes=int(properties.total_memory),
        capability=capability,
        has_bf16=capability >= (8, 0),  # from Ampere on; torch also says yes where it imitates
    )


def driver_version(file: Path = DRIVER_FILE) -> int | None:
    """The first number of NVIDIA's driver, such as 580; ``None`` if no file says it."""
    try:
        found = re.search(r"Module\s+(?:for \S+\s+)?(\d+)\.", file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return int(found.group(1)) if found else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(describe())) + "\n")
