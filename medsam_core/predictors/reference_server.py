"""A small service around any predictor, on this machine alone: what `predictors/http.py` talks to.

    python -m medsam_core.predictors.reference_server engine 8008

It answers one request after the other, knows no password, and is an example rather than a product.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np

from medsam_core.errors import MedsamError, PredictorError
from medsam_core.predictors.choosing import choose
from medsam_core.predictors.contract import Predictor
from medsam_core.predictors.exchange import read_arrays
from medsam_core.prompts.prompt import Prompt


@dataclasses.dataclass(frozen=True, eq=False)
class Received:
    """A volume as it came: what a predictor reads of a `Volume`."""

    voxels: np.ndarray
    """(D, H, W) uint8."""
    spacing_mm: tuple[float, ...]
    """(dz, dy, dx)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W)."""
        return self.voxels.shape


def answer(predictor: Predictor, body: bytes) -> bytes:
    """The npz that POST /predict gives for a request's npz."""
    pixels, spacing, text, protocol = read_arrays(body, "imgs", "spacing", "prompts", "protocol")
    prompts = [Prompt.from_json(one) for one in json.loads(text.tobytes())]
    volume: Any = Received(pixels, tuple(spacing[::-1].tolist()))
    found = predictor.predict(predictor.encode(volume), prompts, protocol=str(protocol))
    packed = [np.packbits(prediction.mask, axis=-1) for prediction in found]
    iou = [prediction.predicted_iou for prediction in found]
    content = io.BytesIO()
    np.savez_compressed(
        content, masks=np.array(packed), predicted_iou=np.array(iou), sha256=np.array(predictor.identity.sha256)
    )
    return content.getvalue()


def serve(predictor: Predictor, port: int = 0) -> HTTPServer:
    """A server on 127.0.0.1; call `serve_forever`. port: 0 for a free one, which is `server.server_port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/identity"
            self._send(200 if known else 404, json.dumps(dataclasses.asdict(predictor.identity)).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                self._send(200, answer(predictor, body))
            except Exception as error:  # the client shows the sentence
                self._send(500, f"{type(error).__name__}: {error}".encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing: a test's output is no log."""

    return HTTPServer(("127.0.0.1", port), Handler)


def main(arguments: list[str]) -> int:
    """Serve until interrupted."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        raise PredictorError(
            f"reference server: got {arguments}, expected a predictor and a port; such as `engine 8008`."
        )
    server = serve(choose(arguments[0])(), int(arguments[1]))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MedsamError as problem:
        sys.exit(f"{type(problem).__name__}: {problem}")
