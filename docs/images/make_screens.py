"""Photograph what a study shows in a browser: ``python docs/images/make_screens.py``.

Needs Chromium (``chromium`` on the PATH, or ``--browser``) and a finished study under ``data``.
Writes ``report.png``, ``report_phone.png``, ``report_dark.png``, ``mlflow.png`` and
``kedro_viz.png`` to ``docs/images``; names given on the command line choose among them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tornado.websocket import WebSocketClientConnection, websocket_connect

from hybrid_pipeline.kedro_ext.tracking.charts import UI_ADDRESS, link_of
from hybrid_pipeline.kedro_ext.tracking.store import sqlite_uri

TARGET = Path("docs/images")
COLORS = 256  # of a picture, which keeps it small
PORTS = 42_000, 49_000  # Kedro-Viz takes none above 49,151
DESK, PHONE = (1440, 1000), (390, 844)
REPORT_READY = "document.querySelector('.chart .main-svg') !== null"
MLFLOW_READY = "document.querySelectorAll('.js-plotly-plot .main-svg').length >= 2"
# MLflow opens its assistant over the right side of the page at a browser's first visit.
NOT_THE_FIRST_VISIT = """
try { localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"); } catch {}
"""
# Hints of the first visit.
CLOSE_HINTS = """
document.querySelectorAll(".feature-hints__close").forEach((e) => e.click());
[...document.querySelectorAll(".update-reminder-unexpanded *")].filter(
  (e) => e.textContent === "Dismiss").forEach((e) => e.click());
"""
# Kedro-Viz places boxes by the hashes of dataset names: only the drawing shows their order.
ARM_PLACES = """
[...document.querySelectorAll(".pipeline-node")].map(
  (e) => [e.textContent.trim(), e.getBoundingClientRect().left]
).filter(([name]) => /^arm_[a-z0-9_]+$/.test(name))
"""
VIZ_READY = "document.querySelectorAll('.pipeline-node').length > 5"


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        page: ``report``, ``mlflow`` or ``viz``.
        size: of the window.
        ready: JavaScript that is true once the page is drawn.
        dark: whether the reader's system is dark.
        settle_s: seconds for animations after that.
        prepare: JavaScript that is run after that.
        places: JavaScript that gives name and left edge of the arms, whose order is checked.
    """

    page: str
    size: tuple[int, int]
    ready: str
    dark: bool = False
    settle_s: float = 2.0
    prepare: str = ""
    places: str = ""


SHOTS = {
    "report": Shot("report", DESK, REPORT_READY),
    "report_phone": Shot("report", PHONE, REPORT_READY),
    "report_dark": Shot("report", DESK, REPORT_READY, dark=True),
    "mlflow": Shot("mlflow", (1440, 1085), MLFLOW_READY, settle_s=8.0),
    "kedro_viz": Shot(
        "viz", DESK, VIZ_READY, dark=True, settle_s=5.0, prepare=CLOSE_HINTS, places=ARM_PLACES
    ),
}


class Browser:
    """A tab of a headless Chromium, driven by its DevTools protocol.

    Args:
        socket: of the tab.
    """

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            RuntimeError: if the browser refuses it or goes away.
        """
        number = next(self._ids)
        await self._socket.write_message(
            json.dumps({"id": number, "method": method, "params": params})
        )
        while True:
            message = await self._socket.read_message()
            if message is None:
                raise RuntimeError("the browser has gone away")
            answer = json.loads(message)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    async def photograph(self, url: str, shot: Shot, timeout_s: float) -> Image.Image:
        """Open a page, wait until it is drawn, and take its picture.

        Raises:
            TimeoutError: if the page is not drawn in time.
            ValueError: if the arms do not stand in their order.
        """
        await self.call("Page.enable")
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=NOT_THE_FIRST_VISIT)
        width, height = shot.size
        theme = {"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[theme])
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        await self.call("Page.navigate", url="about:blank")
        await self.call("Page.navigate", url=url)
        deadline = time.monotonic() + timeout_s
        while not await self._is(shot.ready):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} was not drawn in {timeout_s:g} s")
            await asyncio.sleep(0.5)
        await asyncio.sleep(shot.settle_s)
        if shot.prepare:
            await self.call("Runtime.evaluate", expression=shot.prepare)
            await asyncio.sleep(shot.settle_s)
        if shot.places:
            check_order(await self._value(shot.places))
        taken = await self.call("Page.captureScreenshot", format="png")
        return Image.open(io.BytesIO(base64.b64decode(taken["data"])))

    async def _is(self, condition: str) -> bool:
        return await self._value(condition) is True

    async def _value(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")


def check_order(places: Sequence[tuple[str, float]]) -> None:
    """Refuse a drawing whose arms do not stand in their order from left to right.

    Args:
        places: name and left edge of every box.

    Raises:
        ValueError: if there are none, or with the order in which they stand.
    """
    drawn = [name for name, _ in sorted(places, key=lambda place: place[1])]
    if not drawn or drawn != sorted(drawn):
        raise ValueError(f"the arms do not stand in their order: {', '.join(drawn) or 'none'}.")


@asynccontextmanager
async def browser(program: str) -> AsyncIterator[Browser]:
    """A headless Chromium with one tab, until the block ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--remote-debugging-port=0", "--allow-file-access-from-files",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        try:
            port = await _port_of(Path(profile) / "DevToolsActivePort")
            tab = await _tab(port)
            socket = await websocket_connect(tab, max_message_size=2**27)
            yield Browser(socket)
            socket.close()
        finally:
            process.terminate()
            process.wait()


async def _port_of(path: Path) -> int:
    for _ in range(600):
        if path.is_file() and path.read_text().strip():
            return int(path.read_text().split()[0])
        await asyncio.sleep(0.2)
    raise TimeoutError("the browser did not start")


async def _tab(port: int) -> str:
    from tornado.httpclient import AsyncHTTPClient

    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json", request_timeout=60)
    pages = [page for page in json.loads(answer.body) if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


@contextmanager
def served(command: Sequence[str], port: int, project: Path, timeout_s: float) -> Iterator[None]:
    """A server on this machine, until the block ends.

    Raises:
        TimeoutError: if it does not answer in time.
    """
    environment = os.environ | {"DO_NOT_TRACK": "1"}
    process = subprocess.Popen(
        command, cwd=project, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + timeout_s
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{' '.join(command)} did not answer")
            time.sleep(0.5)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)  # its own workers too
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    return next(port for port in range(*PORTS) if not _answers(port))


@contextmanager
def address_of(page: str, project: Path, timeout_s: float) -> Iterator[str]:
    """Where a page is to be seen, with its server running.

    Raises:
        FileNotFoundError: if there is no study.
    """
    folder = (project / "data/08_reporting/latest").resolve()
    wanted = folder / ("compare.html" if page == "mlflow" else "report.html")
    if not wanted.is_file():
        raise FileNotFoundError(f"there is no study in {folder}: run `make ablation` first.")
    port = _free_port()
    bin_folder = Path(sys.executable).parent
    if page == "report":
        yield wanted.as_uri()
    elif page == "mlflow":
        store = sqlite_uri(project / "mlflow.db")
        command = [str(bin_folder / "mlflow"), "ui", "--backend-store-uri", store]
        with served([*command, "--port", str(port), "--workers", "1"], port, project, timeout_s):
            link = link_of(wanted.read_text("utf-8"))
            yield link.replace(UI_ADDRESS, f"http://127.0.0.1:{port}")
    else:
        command = [
            str(bin_folder / "kedro"),
            "viz",
            "run",
            "--include-hooks",
            "--no-browser",
            "--port",
            str(port),
        ]
        with served(command, port, project, timeout_s):
            yield f"http://127.0.0.1:{port}/"


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture with few colours, and say how large it is."""
    picture.convert("RGB").quantize(COLORS).save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


async def take(names: Sequence[str], options: argparse.Namespace) -> None:
    """Take the pictures, page by page."""
    async with browser(options.browser) as tab:
        by_page = itertools.groupby(names, key=lambda name: SHOTS[name].page)
        for page, group in by_page:
            with address_of(page, options.project.resolve(), options.timeout) as url:
                for name in group:
                    picture = await tab.photograph(url, SHOTS[name], options.timeout)
                    save(picture, options.target / f"{name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; 2 with one sentence if there is no browser or no study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHOTS)}")
    parser.add_argument("--project", type=Path, default=Path(), help="root of the project")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the pictures")
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one page")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in SHOTS]
    if unknown:
        parser.error(f"no picture is named {unknown[0]!r}: there are {', '.join(SHOTS)}")
    wanted = [name for name in SHOTS if name in (options.names or SHOTS)]
    try:
        asyncio.run(take(wanted, options))
    except (FileNotFoundError, TimeoutError, ValueError) as error:
        sys.stderr.write(f"{re.sub(chr(10), ' ', str(error))}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
