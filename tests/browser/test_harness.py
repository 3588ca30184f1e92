"""The browser tests' own page: it draws WebGL, and what a page does wrong is noticed."""

import pytest

from tests.browser.conftest import is_local


def opened(watched, html, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>t</title><body>{html}")
    watched.page.goto(path.as_uri())
    return watched


def test_a_quiet_page_has_no_faults(watched_page, tmp_path):
    watched = opened(watched_page(), "<p>text<script>console.log('fine'); console.warn('too')</script>", tmp_path)
    assert watched.page.inner_text("p") == "text"
    assert watched.faults() == []
    assert watched.requests == [(tmp_path / "page.html").as_uri()]


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("<script>console.error('broken')</script>", "console: broken"),
        ("<script>throw new Error('thrown')</script>", "uncaught: thrown"),
        ("<script>Promise.reject(new Error('rejected'))</script>", "uncaught: rejected"),
        ("<img src='missing.png'>", "console: Failed to load resource: net::ERR_FILE_NOT_FOUND"),
        ("<img src='http://example.org/a.png'>", "a request left this machine: http://example.org/a.png"),
        ("<script>new WebSocket('ws://example.org/a')</script>", "a request left this machine: ws://example.org/a"),
    ],
)
def test_what_a_page_does_wrong_is_named(html, said, watched_page, tmp_path):
    watched = opened(watched_page(), html, tmp_path)
    watched.page.wait_for_timeout(200)
    assert said in watched.faults()


def test_webgl_2_draws_without_a_gpu(browser_page):
    colour = browser_page.evaluate("""() => {
        const gl = document.createElement('canvas').getContext('webgl2');
        gl.clearColor(1, 0, 0, 1);
        gl.clear(gl.COLOR_BUFFER_BIT);
        const pixel = new Uint8Array(4);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
        return [...pixel];
    }""")
    assert colour == [255, 0, 0, 255]


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("file:///tmp/a.html", True),
        ("data:text/plain,a", True),
        ("blob:null/1", True),
        ("about:blank", True),
        ("http://127.0.0.1:8000/a", True),
        ("http://[::1]/", True),
        ("https://127.0.0.1.example.org/", False),
        ("ws://example.org/", False),
        ("file://server/share", False),
        ("chrome-extension://abc/", False),
    ],
)
def test_only_files_and_the_loopback_interface_are_local(url, local):
    assert is_local(url) is local
