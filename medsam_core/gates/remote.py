"""Runs under an fsspec URL (`s3://…`, `gs://…`, `file://…`), copied to this machine while a command reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from medsam_core.errors import RunError
from medsam_core.gates.gates_file import IN_RUN
from medsam_core.runs import CASES, HEADER, VERDICT

FILES = (HEADER, CASES, VERDICT, IN_RUN)
"""What judging, accepting and comparing read; overlays and masks are not copied."""


@contextmanager
def local(place: Path | str) -> Iterator[Path]:
    """A folder itself, or a temporary copy of what is under a URL, named like its last part. Raises RunError."""
    url = str(place)
    if "://" not in url:
        yield Path(place)
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / (url.rstrip("/").rsplit("/", 1)[-1] or "runs")
        folder.mkdir(exist_ok=True)
        fetch(url, folder)
        yield folder


def fetch(url: str, into: Path) -> None:
    """Copy the runs under a URL into a local folder, each to the same place below it.

    Raises RunError if the URL cannot be read or has no run, or its protocol needs a package that is not installed.
    """
    import fsspec  # type: ignore[import-untyped]  # comes with torch and huggingface_hub

    try:
        system, root = fsspec.core.url_to_fs(url)
        root = root.rstrip("/")
        headers = sorted({*system.glob(f"{root}/{HEADER}"), *system.glob(f"{root}/**/{HEADER}")})
        for folder in (header.rsplit("/", 1)[0] for header in headers):
            own = into / folder[len(root) :].strip("/")
            own.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                if system.exists(f"{folder}/{name}"):
                    system.get_file(f"{folder}/{name}", str(own / name))
    except (OSError, ValueError, ImportError) as error:
        raise RunError(f"{url}: cannot be read ({error}); correct the URL or install its fsspec package.") from None
    if not headers:
        raise RunError(f"{url}: has no run, expected a {HEADER} there or below; correct the URL.")
