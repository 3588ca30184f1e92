"""Serves the viewer of one run to this machine's browser, and to nobody else."""

from __future__ import annotations

import sys
import threading
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from medsam_core.cases import CaseRecord
from medsam_core.errors import OptionError
from medsam_core.runs import Run
from medsam_core.viewer.names import FOLDER, case_script
from medsam_core.viewer.standalone import index_page, standalone_page
from medsam_core.viewer.stored import StoredScripts
from medsam_core.viewer.writing import LIBRARY, VIEWER, library, viewer_program

ADDRESS = "127.0.0.1"
HOSTS = {"127.0.0.1", "localhost"}
"""What a browser may have asked for. A page of another site that leads its own name here asks for that name."""
_SAME_SITE = (None, "none", "same-origin")
_HEADERS = {
    # another site's page must not load the images as scripts of its own
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_JAVASCRIPT, _HTML = "text/javascript; charset=utf-8", "text/html; charset=utf-8"
_STATIC = {".html": _HTML, ".png": "image/png"}


class RunServer(ThreadingHTTPServer):
    """Serves one run on the loopback interface until `shutdown`."""

    daemon_threads = True

    def __init__(self, run: Run, scripts: StoredScripts, port: int = 0) -> None:
        """port: 0 for a free one. Raises OptionError if it cannot be used."""
        self.run, self.scripts = run, scripts
        self.pages = {page_of(record): record for record in run.records}
        self._making = threading.Lock()
        self.script = lru_cache(8)(self._script)
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OptionError(
                f"--port {port}: cannot be used ({reason}), expected a free port; leave it out to have one chosen."
            ) from None

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT/`."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Kind and content at a path such as `/case/A__t1ce__WT__box`; None if there is nothing."""
        name = path.removeprefix("/")
        if name == "":
            return _HTML, self._index().encode()
        if name == "favicon.ico":  # browsers ask for it, and a missing one is an error on their console
            return "image/x-icon", b""
        if name == f"{FOLDER}/{VIEWER}":
            return _JAVASCRIPT, viewer_program().encode()
        if name == f"{FOLDER}/{LIBRARY}":
            return _JAVASCRIPT, library()
        if path in self.pages:
            record = self.pages[path]
            source = {"prediction": f"/{case_script(record.id)}"}
            return _HTML, standalone_page(record.id, source, program=f"/{FOLDER}/{VIEWER}").encode()
        text = self.script(name) if name.startswith(f"{FOLDER}/") else None
        return self._file(name) if text is None else (_JAVASCRIPT, text.encode())

    def _script(self, name: str) -> str | None:
        with self._making:  # a subject's image and masks are made of the same files
            return self.scripts.text(name)

    def _file(self, name: str) -> tuple[str, bytes] | None:
        """The run's page, or a picture of its overlays."""
        directory = self.run.directory.resolve()
        path = directory / name
        known = name == "page.html" or (name.startswith("overlays/") and path.suffix == ".png")
        if "\0" in name or not known or not path.resolve().is_relative_to(directory) or not path.is_file():
            return None
        return _STATIC[path.suffix], path.read_bytes()

    def _index(self) -> str:
        records = sorted(self.run.records, key=lambda record: (record.score("dice"), record.id))
        entries = [(f"{record.score('dice'):.3f}", page_of(record), record.id) for record in records]
        has_page = (self.run.directory / "page.html").is_file()
        return index_page(self.run.directory.resolve().name, entries, page="/page.html" if has_page else None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; print what else went wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def page_of(record: CaseRecord) -> str:
    """The path of a case's page on the server: `/case/A__t1ce__WT__box`."""
    return f"/case/{Path(case_script(record.id)).stem}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD that a page of this server, or the address bar, asks for."""

    server: RunServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "medsam-core", ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d: %(message)s\n"

    def do_GET(self) -> None:
        """Answer with headers and content."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname if self.headers.get("Host") else None
        if host not in HOSTS or self.headers.get("Sec-Fetch-Site") not in _SAME_SITE:
            self.send_error(HTTPStatus.FORBIDDEN, "this server answers only to its own pages on this machine")
            return
        found = self.server.answer(unquote(urlsplit(self.path).path))
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, "the run has nothing of this name")
            return
        kind, content = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def end_headers(self) -> None:
        """End them with those that every answer has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal shows the address."""
