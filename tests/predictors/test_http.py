"""A service as a predictor: a real one, on the loopback interface, that answers, fails and dies."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from medsam_core.errors import PredictorError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.choosing import PredictorRequest, choose
from medsam_core.predictors.contract import PredictorIdentity
from medsam_core.predictors.http import HttpPredictor, from_request
from medsam_core.predictors.reference_server import serve
from medsam_core.prompts.prompt import Prompt
from tests.predictors.toys import BOX, IDENTITY, POINT, SHAPE, BoxFiller, volume

pytest.importorskip("httpx", reason="httpx is not installed: pip install 'medsam-core[http]'")

ROOT = Path(__file__).parents[2]
MASK = Prompt("mask", 0, mask=np.eye(SHAPE[1], SHAPE[2]).astype(bool))


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def ask(predictor, prompts=(BOX,), protocol="bidirectional"):
    checked = Checked(predictor)
    return checked.predict(checked.encode(volume()), prompts, protocol=protocol)


@pytest.fixture
def service():
    """The reference server around the box filler, and its address."""
    with running(serve(BoxFiller())) as url:
        yield url


@pytest.mark.parametrize("protocol", ["bidirectional", "forward", "slicewise"])
def test_the_masks_are_those_of_the_served_predictor(protocol, service):
    prompts = [BOX, POINT, MASK]
    expected = ask(BoxFiller(), prompts, protocol)
    found = ask(HttpPredictor(service), prompts, protocol)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.mask.any()
        assert np.array_equal(mine.mask, theirs.mask)
        assert np.array_equal(mine.predicted_iou, theirs.predicted_iou)


def test_many_prompts_go_in_batches_and_keep_their_order(service):
    prompts = [Prompt("box", 1, box=(float(x), 0.0, 8.0, 5.0)) for x in range(8)]
    found = ask(HttpPredictor(service, batch=3), prompts)
    assert [int(one.mask[1].any(0).argmax()) for one in found] == list(range(8))


def test_no_prompts_need_no_request(service):
    predictor = HttpPredictor(service)
    predictor.url = "http://127.0.0.1:1"
    assert ask(predictor, []) == []


def test_the_identity_is_the_services(service):
    made = choose("http", options={"url": service + "/"})()
    assert made.identity == replace(IDENTITY, name="http:box-filler")
    assert made.notes == []


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the next (status, content) of the server's script; None closes the connection."""

    def do_GET(self):
        if self.headers.get("Content-Length"):
            self.rfile.read(int(self.headers["Content-Length"]))
        step = self.server.script.pop(0)
        self.server.seen.append(self.path)
        if step is None:
            self.close_connection = True
            return
        status, content = step
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_):
        pass


GOOD_IDENTITY = (200, json.dumps({"name": "served", "version": "3", "sha256": "cd" * 32, "image_size": 512}).encode())


def npz(**arrays):
    body = io.BytesIO()
    np.savez(body, **arrays)
    return body.getvalue()


def answer(masks=None, iou=None, sha256="cd" * 32):
    masks = np.zeros((1, 5, 12, 2), np.uint8) if masks is None else masks
    return npz(masks=masks, predicted_iou=np.zeros((1, 5)) if iou is None else iou, sha256=np.array(sha256))


@contextlib.contextmanager
def scripted(*script):
    server = HTTPServer(("127.0.0.1", 0), Scripted)
    server.script, server.seen = list(script), []
    with running(server) as url:
        yield server, lambda: HttpPredictor(url, first_wait_s=0.01, timeout_s=20)


@pytest.mark.parametrize("trouble", [(502, b""), (503, b"loading"), (504, b""), None])
def test_trouble_that_passes_is_noted(trouble):
    with scripted(GOOD_IDENTITY, trouble, trouble, (200, answer())) as (server, make):
        predictor = make()
        assert predictor.identity == PredictorIdentity("http:served", "3", "cd" * 32, 512)
        assert not ask(predictor)[0].mask.any()
        assert server.seen == ["/identity", "/predict", "/predict", "/predict"]
        assert len(predictor.notes) == 2
        assert "was asked /predict again after" in predictor.notes[0]


@pytest.mark.parametrize("trouble", [(503, b""), None])
def test_trouble_that_stays_ends_after_four_attempts(trouble):
    with scripted(GOOD_IDENTITY, *[trouble] * 5) as (server, make):
        predictor = make()
        with pytest.raises(PredictorError, match="from /predict in 4 attempts, expected an answer"):
            ask(predictor)
        assert len(server.script) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((500, b"ValueError:\n  no weights"), r"got status 500 from /predict \(ValueError: no weights\), expected 200"),
        ((404, b""), "got status 404 from /predict"),
        ((302, b""), "got status 302 from /predict"),
        ((200, b"hello"), "got an unreadable npz"),
        ((200, npz(masks=np.zeros(2))), "got an npz without 'predicted_iou'"),
        ((200, npz(masks=np.array([{}], object))), "got an npz without"),
        (
            (200, answer(np.zeros((1, 5, 12, 9), np.uint8))),
            r"got masks of uint8 \(1, 5, 12, 9\), expected uint8 \(1, 5, 12",
        ),
        ((200, answer(np.zeros((2, 5, 12, 2), np.uint8))), r"got masks of uint8 \(2, 5, 12, 2\)"),
        ((200, answer(np.zeros((1, 5, 12, 2), bool))), "got masks of bool"),
        ((200, answer(iou=np.zeros((1, 4)))), r"got a predicted_iou of shape \(1, 4\), expected \(1, 5\)"),
        ((200, answer(iou=np.full((1, 5), 3.0))), "got a predicted_iou of 3, expected 0 to 1"),
        ((200, answer(sha256="ef" * 32)), "got an answer of efefefefefef, expected cdcdcdcdcdcd as at the start"),
    ],
)
def test_a_wrong_answer_is_one_sentence_and_not_asked_again(given, said):
    with scripted(GOOD_IDENTITY, given, (200, answer())) as (server, make):
        predictor = make()
        with pytest.raises(PredictorError, match=said) as caught:
            ask(predictor)
        assert "\n" not in str(caught.value)
        assert len(server.script) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"no json", "got the identity b'no json', expected JSON with name, version and sha256"),
        (b"[1]", r"got the identity b'\[1\]', expected JSON"),
        (b'{"name": "a", "version": "1"}', "expected JSON with name, version and sha256"),
        (b'{"name": "a", "version": 1, "sha256": ""}', "got the version 1, expected text"),
        (b'{"name": "a", "version": "1", "sha256": "12"}', "got the sha256 '12', expected 64"),
    ],
)
def test_a_service_without_an_identity_is_refused(given, said):
    with scripted((200, given)) as (_, make), pytest.raises(PredictorError, match=said):
        make()


def test_an_answer_that_takes_too_long():
    class Slow(BoxFiller):
        def encode(self, volume):
            time.sleep(1.5)
            return super().encode(volume)

    with running(serve(Slow())) as url:
        predictor = HttpPredictor(url, timeout_s=0.3)
        with pytest.raises(PredictorError, match=r"got no answer to /predict in time \(ReadTimeout\)"):
            ask(predictor)


def test_an_error_of_the_served_predictor_reaches_the_client():
    class Failing(BoxFiller):
        def encode(self, volume):
            raise RuntimeError(f"no memory for {volume.shape} at {volume.spacing_mm}")

    with running(serve(Failing())) as url:
        predictor = HttpPredictor(url)
        with pytest.raises(PredictorError, match=r"RuntimeError: no memory for \(5, 12, 9\) at \(3.0, 2.0, 1.0\)"):
            ask(predictor)


DYING = """\
import os, sys
sys.path.insert(0, {root!r})
from medsam_core.predictors.reference_server import serve
from tests.predictors.toys import BoxFiller

class Slow(BoxFiller):
    def encode(self, volume):
        print("encoding", flush=True)
        import time
        time.sleep(60)

server = serve(Slow())
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_a_service_that_is_killed_in_the_middle_is_one_sentence():
    process = subprocess.Popen(
        [sys.executable, "-c", DYING.format(root=str(ROOT))], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )

    def kill_while_it_encodes():
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)

    try:
        predictor = HttpPredictor(f"http://127.0.0.1:{int(process.stdout.readline())}", first_wait_s=0.01, timeout_s=30)
        killer = threading.Thread(target=kill_while_it_encodes, daemon=True)
        killer.start()
        with pytest.raises(
            PredictorError, match=r"from /predict in 4 attempts, expected an answer; see whether"
        ) as caught:
            ask(predictor)
        killer.join(10)
        assert "\n" not in str(caught.value)
        assert len(predictor.notes) == 3
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_reference_server_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text("from tests.predictors.toys import BoxFiller as make\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "medsam_core.predictors.reference_server"]
    process = subprocess.Popen([*command, "mine:make", "0"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        predictor = HttpPredictor(process.stdout.readline().strip())
        assert ask(predictor)[0].mask.sum() == 80
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    done = subprocess.run([*command, "engine"], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == "reference server: got ['engine'], expected a predictor and a port; such as `engine 8008`.\n"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://here", ""])
def test_an_address_that_is_none(url):
    with pytest.raises(PredictorError, match=r"expected http|expected one; give it, such as --medsam-predictor-url="):
        from_request(PredictorRequest(options={"url": url}))


def test_a_service_that_is_not_there():
    with pytest.raises(PredictorError, match=r"got ConnectError .* from /identity in 2 attempts"):
        HttpPredictor("http://127.0.0.1:1", attempts=2, first_wait_s=0.01)


def test_without_httpx_the_sentence_names_the_extra():
    code = (
        "import sys\nsys.modules['httpx'] = None\nfrom medsam_core.predictors.choosing import choose\n"
        "from medsam_core.errors import PredictorError\n"
        "try:\n    choose('http', options={'url': 'http://127.0.0.1:1'})()\nexcept PredictorError as e:\n    print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout == (
        "predictor http: httpx is not installed, expected the extra http; run pip install 'medsam-core[http]'.\n"
    )


def test_a_proxy_of_the_environment_is_not_used(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(HttpPredictor(service))[0].mask.any()
