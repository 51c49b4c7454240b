"""A hub that is out of reach: its cache only, without minutes of retries."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants

CONNECT_TIMEOUT_S = 5.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@contextmanager
def offline_where_unreachable() -> Iterator[bool]:
    """Use the hub's cache only where the hub cannot be connected to; yields whether it can.

    The client asks six times with growing pauses (97 s) before it says that there is no network.
    """
    is_reachable = can_connect(constants.ENDPOINT)
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not is_reachable
    try:
        yield is_reachable
    finally:
        constants.HF_HUB_OFFLINE = before


def can_connect(address: str) -> bool:
    """Whether a server accepts connections; behind a proxy that is left to the request."""
    if any(os.environ.get(name) for name in PROXIES):
        return True
    url = urlsplit(address)
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        with socket.create_connection((str(url.hostname), port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
