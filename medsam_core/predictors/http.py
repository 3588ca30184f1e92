"""A service as a predictor, over HTTP with httpx (the extra `[http]`, imported when the predictor is made).

`reference_server.py` is the other side; `docs/adding-a-predictor.md` describes both requests.
"""

from __future__ import annotations

import io
import json
import ssl
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsam_core.errors import PredictorError
from medsam_core.predictors.checked import described
from medsam_core.predictors.contract import PackedPrediction, PredictorIdentity
from medsam_core.predictors.exchange import Scan, Unreadable, prompts_as_json, read_arrays, scan_of
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from types import ModuleType

    import httpx

    from medsam_core.data.volume import Volume
    from medsam_core.predictors.choosing import PredictorRequest

TIMEOUT_S = 600.0
ATTEMPTS = 4
FIRST_WAIT_S = 0.5
"""Before the second attempt; each later wait is twice as long."""
BATCH = 16
"""Prompts in one request."""
BUSY = (502, 503, 504)
"""Answers after which a request is sent again."""
OPTIONS = ("url", "timeout", "batch")


class HttpPredictor:
    """Sends each volume with a batch of prompts to a service, and reads its masks.

    Nothing goes through a proxy of the environment: images of patients reach the named service alone.
    """

    identity: PredictorIdentity
    """As the service gives it when the predictor is made, with http: before its name: "http:engine". An answer with
    another SHA-256 is an error."""
    notes: list[str]
    """A sentence for each request that had to be sent again."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        batch: int = BATCH,
        attempts: int = ATTEMPTS,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        """Ask the service for its identity. Raises PredictorError if httpx is missing or there is no such service.

        url: of the service, such as http://127.0.0.1:8008; /identity and /predict are put after it.
        timeout_s: the longest wait for a connection, and for the next bytes of an answer.
        attempts: how often a request is sent before it counts as failed.
        """
        self.url = url.rstrip("/")
        self.batch = batch
        self.attempts = attempts
        self.first_wait_s = first_wait_s
        self.notes: list[str] = []
        self._httpx = _httpx()
        if not self.url.startswith(("http://", "https://")):
            raise self._error(f"got the address {url!r}", "http:// or https://", "correct --medsam-predictor-url")
        self._client: httpx.Client = self._httpx.Client(
            timeout=timeout_s, trust_env=False, verify=ssl.create_default_context()
        )
        weakref.finalize(self, self._client.close)
        self.identity = self._identity()

    def encode(self, volume: Volume) -> Scan:
        """Pixels and spacing; nothing is sent yet. Raises DataError for an image without contrast."""
        return scan_of(volume)

    def predict(self, encoded: Scan, prompts: Sequence[Prompt], *, protocol: str) -> list[PackedPrediction]:
        """One prediction for each prompt. Raises PredictorError if the service fails or changes."""
        found: list[PackedPrediction] = []
        for start in range(0, len(prompts), self.batch):
            some = prompts[start : start + self.batch]
            content = self._request("POST", "/predict", request_body(encoded, some, protocol))
            found += self._predictions(content, encoded.shape, len(some))
        return found

    def _predictions(self, content: bytes, shape: tuple[int, int, int], count: int) -> list[PackedPrediction]:
        depth, height, width = shape
        try:
            packed, iou, sha256 = read_arrays(content, "masks", "predicted_iou", "sha256")
        except Unreadable as problem:
            raise self._error(
                f"got {problem}", "an npz with masks, predicted_iou and sha256", "correct the service"
            ) from None
        wanted = (count, depth, height, -(-width // 8))
        if packed.shape != wanted or packed.dtype != np.uint8:
            raise self._error(
                f"got masks of {packed.dtype} {packed.shape}", f"uint8 {wanted}", "pack them along the last axis"
            )
        if iou.shape != (count, depth):
            raise self._error(
                f"got a predicted_iou of shape {iou.shape}", f"{(count, depth)}", "give NaN where it is unknown"
            )
        if str(sha256) != self.identity.sha256:
            raise self._error(
                f"got an answer of {str(sha256)[:12]}",
                f"{self.identity.sha256[:12]} as at the start",
                "the service was changed during the run: run again",
            )
        return [PackedPrediction(mask, width, one) for mask, one in zip(packed, iou, strict=True)]

    def _identity(self) -> PredictorIdentity:
        content = self._request("GET", "/identity")
        fix = "let the service answer /identity as documented"
        fields = {"name": str, "version": str, "sha256": str}
        try:
            given = json.loads(content)
            wrong = next((name for name, kind in fields.items() if not isinstance(given[name], kind)), None)
            notes, image_size = tuple(given.get("notes", ())), given.get("image_size")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._error(f"got the identity {content[:80]!r}", "JSON with name, version and sha256", fix) from None
        if wrong is not None:
            raise self._error(f"got the {wrong} {given[wrong]!r}", "text", fix)
        return PredictorIdentity(f"http:{given['name']}", given["version"], given["sha256"], image_size, notes)

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        problem = ""
        for attempt in range(self.attempts):
            if attempt:
                self.notes.append(f"the service {self.url} was asked {path} again after {problem}.")
                time.sleep(self.first_wait_s * 2 ** (attempt - 1))
            try:
                answer = self._client.request(method, self.url + path, content=body)
            except self._httpx.TimeoutException as error:
                raise self._error(
                    f"got no answer to {path} in time ({type(error).__name__})", "one", "raise the timeout"
                ) from error
            except self._httpx.TransportError as error:
                problem = described(error)
                continue
            except (self._httpx.InvalidURL, self._httpx.HTTPError) as error:
                raise self._error(f"got {described(error)}", "an address", "correct --medsam-predictor-url") from error
            if answer.status_code in BUSY:
                problem = f"status {answer.status_code}"
                continue
            if answer.status_code != 200:
                said = " ".join(answer.text.split())[:200]
                raise self._error(
                    f"got status {answer.status_code} from {path} ({said})", "200", "read the service's log"
                )
            return answer.content
        raise self._error(
            f"got {problem} from {path} in {self.attempts} attempts", "an answer", "see whether the service still runs"
        )

    def _error(self, got: str, expected: str, fix: str) -> PredictorError:
        return PredictorError(f"predictor http at {self.url}: {got}, expected {expected}; {fix}.")


def from_request(request: PredictorRequest) -> HttpPredictor:
    """The service of the option `url`. Raises PredictorError for what a service cannot be asked for."""
    request.known_options("http", OPTIONS)
    request.refuse("http", "checkpoint", "architecture", "image_size", "weights", "compiled")
    url = request.options.get("url", "")
    if not url:
        raise PredictorError(
            "predictor http: got no address, expected one; give it, such as "
            "--medsam-predictor-url=http://127.0.0.1:8008."
        )
    return HttpPredictor(
        url,
        timeout_s=request.number("http", "timeout", TIMEOUT_S),
        batch=max(1, int(request.number("http", "batch", BATCH))),
    )


def request_body(scan: Scan, prompts: Sequence[Prompt], protocol: str) -> bytes:
    """The npz of POST /predict: imgs, spacing, prompts (JSON as UTF-8 bytes) and protocol."""
    text = np.frombuffer(prompts_as_json(prompts).encode(), np.uint8)
    body = io.BytesIO()
    np.savez_compressed(body, imgs=scan.pixels, spacing=scan.spacing, prompts=text, protocol=np.array(protocol))
    return body.getvalue()


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError:
        raise PredictorError(
            "predictor http: httpx is not installed, expected the extra http; run pip install 'medsam-core[http]'."
        ) from None
    found: Any = httpx
    return found
