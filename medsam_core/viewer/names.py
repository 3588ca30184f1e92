"""Where the files of the viewer are inside a run."""

from __future__ import annotations

import hashlib
import string
from pathlib import Path

from medsam_core.cases import Case, CaseRecord

FOLDER = "viewer"
"""Inside the run's directory."""
_KEPT = frozenset((string.ascii_letters + string.digits + "._+-").encode())
_LONGEST = 200
"""Bytes of a name; file systems take 255, with the ending."""


def viewer_script(run_directory: Path, record: CaseRecord) -> str | None:
    """The case's file, relative to the run's directory, such as `viewer/A__t1ce__WT__box.js`; None if there is none.

    It holds characters that a URL may hold as they are, so it is the file's relative URL, too.
    """
    name = case_script(record.id)
    return name if (run_directory / name).is_file() else None


def case_script(case: str) -> str:
    """Where the masks and the prompts of a case are, whether or not they are there. case: its id."""
    return f"{FOLDER}/{safe_name(case)}.js"


def image_script(case: Case) -> str:
    """Where the image is that all cases of a subject in one modality show."""
    return f"{FOLDER}/{safe_name(f'{case.subject}/{case.modality}')}.image.js"


def safe_name(text: str) -> str:
    """A file name for an id: `/` becomes `__`, any other byte outside `A-Za-z0-9._+-` becomes `~` and two hex digits.

    Different ids have different names, because only a subject's name may hold `__` itself. A name of more than 200
    characters is cut, and ends with a digest of the id.
    """
    content = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _KEPT else f"~{byte:02X}" for byte in content.replace(b"/", b"__"))
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.blake2b(content, digest_size=12).hexdigest()
    return f"{name[: _LONGEST - len(digest) - 1]}~{digest}"
