"""A service around any predictor, on this machine alone: an example of what `predictors/http.py` talks to.

    python -m medsam_core.predictors.reference_server engine 8008

It answers one request after the other and knows no password.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np

from medsam_core.errors import MedsamError
from medsam_core.predictors.choosing import choose
from medsam_core.predictors.contract import Predictor
from medsam_core.predictors.exchange import read_arrays
from medsam_core.prompts.prompt import Prompt


def serve(predictor: Predictor, port: int = 0) -> HTTPServer:
    """A server on 127.0.0.1; call `serve_forever`. port: 0 for a free one, which is `server.server_port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(json.dumps(dataclasses.asdict(predictor.identity)).encode())

        def do_POST(self) -> None:
            try:
                self.answer(predicted(predictor, self.rfile.read(int(self.headers["Content-Length"]))))
            except Exception as error:  # the client shows the sentence
                self.answer(f"{type(error).__name__}: {error}".encode(), status=500)

        def answer(self, content: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Write no line for each request."""

    return HTTPServer(("127.0.0.1", port), Handler)


def predicted(predictor: Predictor, body: bytes) -> bytes:
    """The npz that answers a request's npz."""
    pixels, spacing, prompts, protocol = read_arrays(body, "imgs", "spacing", "prompts", "protocol")
    volume: Any = SimpleNamespace(voxels=pixels, shape=pixels.shape, spacing_mm=tuple(spacing[::-1].tolist()))
    asked = [Prompt.from_json(one) for one in json.loads(prompts.tobytes())]
    found = predictor.predict(predictor.encode(volume), asked, protocol=str(protocol))
    masks, iou = [np.packbits(one.mask, axis=-1) for one in found], [one.predicted_iou for one in found]
    content = io.BytesIO()
    np.savez_compressed(content, masks=masks, predicted_iou=iou, sha256=predictor.identity.sha256)
    return content.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"reference server: got {sys.argv[1:]}, expected a predictor and a port; such as `engine 8008`.")
    try:
        server = serve(choose(sys.argv[1])(), int(sys.argv[2]))
    except MedsamError as problem:
        sys.exit(str(problem))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
