"""Out of reach is found in seconds; what is cached is used all the same."""

from __future__ import annotations

import socket
import time

import pytest
from huggingface_hub import constants, hf_hub_download

from hybrid_pipeline.features import hub


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in hub.PROXIES:
        monkeypatch.delenv(name, raising=False)


def test_a_server_that_listens_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert hub.can_connect(address)
    assert not hub.can_connect(address)
    assert not hub.can_connect("https://hub.invalid")


def test_behind_a_proxy_the_request_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert hub.can_connect("https://hub.invalid")


def test_without_a_hub_the_client_gives_up_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(hub, "can_connect", lambda _: False)
    before, started_s = constants.HF_HUB_OFFLINE, time.monotonic()
    with (
        hub.offline_where_unreachable() as is_reachable,
        pytest.raises(OSError, match="locate the file"),
    ):
        hf_hub_download("nobody/nothing", "weights.bin", cache_dir=str(tmp_path))
    assert not is_reachable
    assert time.monotonic() - started_s < 5
    assert before == constants.HF_HUB_OFFLINE
