"""Find and hash files of weights: by path, by name from Hugging Face, or the embedded one.

huggingface_hub is imported when first needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from medsam_core.errors import CheckpointError
from medsam_core.files import shipped, shipped_folders
from medsam_core.inference.published import NAMES, Source

EMBEDDED_NAME = "embedded"


@dataclass(frozen=True)
class CheckpointFile:
    """A file of weights."""

    name: str
    """In reports."""
    path: Path
    sha256: str
    """Of its content, hex; for a part of it, derived from that."""
    published: str = ""
    """The name in NAMES by which it was downloaded, "" for a path."""

    def part(self, name: str) -> CheckpointFile:
        """One of several sets of weights in this file, with a name and a SHA-256 that the others do not have."""
        sha256 = hashlib.sha256(f"{self.sha256}:{name}".encode()).hexdigest()
        return replace(self, name=f"{self.name} ({name})", sha256=sha256)


def embedded_path() -> Path:
    """The embedded checkpoint, in the installed package or the checkout. Raises CheckpointError if it is in neither."""
    found = shipped("fixtures", "embedded.safetensors")
    if found is None:
        folders = " or ".join(map(str, shipped_folders("fixtures")))
        raise CheckpointError(
            f"embedded checkpoint: got no embedded.safetensors in {folders}, expected the file that comes with "
            "medsam-core; install it again or give --medsam-checkpoint=PATH."
        )
    return found


def resolve(checkpoint: str | Path | None = None) -> CheckpointFile:
    """The file of a checkpoint: a path, one of NAMES (downloaded on first use, then cached), or None for the embedded.

    Raises CheckpointError if there is no such file or name, if it cannot be downloaded, or if the download is not the
    published file.
    """
    if checkpoint is None or checkpoint == EMBEDDED_NAME:
        path = embedded_path()
        return CheckpointFile(EMBEDDED_NAME, path, sha256_of(path))
    if str(checkpoint) in NAMES:
        return _download(str(checkpoint), NAMES[str(checkpoint)])
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        inside = path / "model.safetensors"
        if inside.is_file():
            raise CheckpointError(f"checkpoint {checkpoint}: got a folder, expected a file; give {inside}.")
        raise CheckpointError(
            f"checkpoint {checkpoint}: got {found}, expected a .pt or .safetensors file or one of "
            f"{', '.join((EMBEDDED_NAME, *NAMES))}; correct the path or the name."
        )
    return CheckpointFile(path.name, path, sha256_of(path))


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content, read in pieces. Raises CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path}: got {error.strerror}, expected a readable file; change its permissions."
        ) from None


def _download(name: str, source: Source) -> CheckpointFile:
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(source.repository, source.file, revision=source.revision))
    except Exception as error:  # its exceptions differ from version to version
        # without a known hash, the copy does not say for which image size it is
        size = "" if source.sha256 else f" --medsam-image-size={source.image_size}"
        raise CheckpointError(
            f"checkpoint {name}: got no download ({type(error).__name__}), expected {source.file} from the Hugging "
            f"Face repository {source.repository} at revision {source.revision}; download that file where there is "
            f"a network, copy it here and give --medsam-checkpoint=PATH{size}."
        ) from error
    sha256 = sha256_of(path)
    if source.sha256 and sha256 != source.sha256:
        raise CheckpointError(
            f"checkpoint {name}: got a download with SHA-256 {sha256[:12]}, expected {source.sha256[:12]} as "
            f"published; delete {path} and try again."
        )
    return CheckpointFile(name, path, sha256, published=name)
