"""Pages in a real browser: Debian's Chromium without a window, driven by playwright, drawing WebGL on the CPU.

`browser_page` is a page whose test fails if the page logs an error, throws one, or asks for anything that is neither a
local file nor on this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",  # the tests may be root's
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
PATIENCE_MS = 30_000
"""How long a page may take for one thing; then the test fails."""
SIZE = {"width": 1280, "height": 900}
LOCAL_SCHEMES = {"about", "blob", "data", "file"}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class Watched:
    """A page and what it did that a page of ours may not do."""

    page: Any
    """The page, a `playwright.sync_api.Page`."""
    requests: list[str] = field(default_factory=list)
    """The address of every request and of every WebSocket, in order."""
    errors: list[str] = field(default_factory=list)
    """The text of every console error and of every uncaught exception."""

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("crash", lambda _: self.errors.append("the page crashed"))
        self.page.on("console", self._log)

    def _log(self, message: Any) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(f"console: {message.text}")

    def faults(self) -> list[str]:
        """A sentence for every error and for every request that left this machine."""
        return [*self.errors, *(f"a request left this machine: {url}" for url in self.requests if not is_local(url))]


def is_local(url: str) -> bool:
    """Whether an address is a file or on the loopback interface."""
    parts = urlsplit(url)
    return parts.hostname in LOOPBACK if parts.netloc else parts.scheme in LOCAL_SCHEMES


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips, with the name of what is missing, where it cannot be."""
    if find_spec("playwright") is None:
        pytest.skip("playwright is not installed; pip install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no Chromium: none of {', '.join(BROWSERS)} is on the PATH; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(OPTIONS), timeout=2 * PATIENCE_MS)
        yield started
        started.close()


@pytest.fixture
def watched_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """`watched_page(**options)` is a new page that is watched and not judged; options as of a browser's context."""
    contexts = []

    def new(**options: Any) -> Watched:
        context = browser.new_context(**{"viewport": SIZE, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        return Watched(context.new_page())

    yield new
    for context in contexts:
        context.close()


@pytest.fixture
def browser_page(watched_page: Callable[..., Watched]) -> Iterator[Any]:
    """A page of 1280 x 900 pixels; the test fails if the page reports an error or a request leaves this machine."""
    watched = watched_page()
    yield watched.page
    assert watched.faults() == []
