"""Find, hash and read weights: by path, by name from Hugging Face, or the embedded ones. Never runs pickled code.

Torch, safetensors and huggingface_hub are imported when first needed. "MedSAM-2" is also the name of another model
(ImprintLab/Medical-SAM2); here it is bowang-lab/MedSAM2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import CheckpointError
from medsam_core.files import shipped, shipped_folders
from medsam_core.inference.architectures import WHOLE_SLICE

if TYPE_CHECKING:
    import torch

EMBEDDED_NAME = "embedded"


@dataclass(frozen=True)
class Source:
    """Where a named checkpoint comes from."""

    repository: str
    """On Hugging Face."""
    revision: str
    """A commit of the repository, or "main" where only the content is pinned."""
    file: str
    """Name of the file in the repository."""
    architecture: str
    """The name of its preset in ARCHITECTURES."""
    sha256: str = ""
    """Of the published file, hex; "" if unknown. A download with another hash is refused."""


_MEDSAM2_FILES = {
    "medsam2-latest": "MedSAM2_latest.pt",
    "medsam2-2411": "MedSAM2_2411.pt",
    "medsam2-ct-lesion": "MedSAM2_CTLesion.pt",
    "medsam2-mri-liver-lesion": "MedSAM2_MRI_LiverLesion.pt",
    "medsam2-us-heart": "MedSAM2_US_Heart.pt",
    "medsam2-flare25-recist": "medsam2_FLARE25_RECIST_baseline.pt",
}
_MEDSAM2_REVISION = "e4a6f35edd7e091619cbc0750f462f1574e23955"
_SAM2_REVISIONS = {
    "sam2.1-tiny": "de431c4043854a71d8101e17995dfe596bf101a5",
    "sam2.1-small": "ee5bba1d82bb8749febdf90f45e84b687142ba03",
    "sam2.1-base+": "b7320756a13354e7530a63935656d35b2f91a290",
    "sam2.1-large": "665f8e2ad61cf5f53d65644ff27c8ee525124610",
    "sam2-tiny": "main",
    "sam2-small": "main",
    "sam2-base+": "main",
    "sam2-large": "main",
}
_SHA256 = {
    "medsam2-latest": "c92743b99f00d078bf32a3afcc38aaa9faf1c1692dffe3eaa7a90938c1991060",
    "sam2.1-tiny": "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    "sam2.1-small": "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    "sam2.1-base+": "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    "sam2.1-large": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    "sam2-tiny": "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    "sam2-small": "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    "sam2-base+": "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    "sam2-large": "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
}


def _sam2_source(name: str) -> Source:
    """For `sam2.1-base+`: facebook/sam2.1-hiera-base-plus, sam2.1_hiera_base_plus.pt."""
    version, size = name.replace("+", "-plus").split("-", 1)
    file = f"{version}_hiera_{size.replace('-', '_')}.pt"
    return Source(f"facebook/{version}-hiera-{size}", _SAM2_REVISIONS[name], file, name, _SHA256[name])


NAMES: dict[str, Source] = {
    name: Source("wanglab/MedSAM2", _MEDSAM2_REVISION, file, "medsam2", _SHA256.get(name, ""))
    for name, file in _MEDSAM2_FILES.items()
} | {name: _sam2_source(name) for name in _SAM2_REVISIONS}


@dataclass(frozen=True)
class CheckpointFile:
    """A file of weights."""

    name: str
    """In reports."""
    path: Path
    sha256: str
    """Of its content, hex."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A file of weights and its content."""

    file: CheckpointFile
    state_dict: Mapping[str, torch.Tensor]
    """Tensors on the CPU by their names in sam2."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The metadata of a .safetensors file; {} for a .pt."""


def embedded_path() -> Path:
    """The embedded checkpoint, in the installed package or the checkout. Raises CheckpointError if it is in neither."""
    found = shipped("fixtures", "embedded.safetensors")
    if found is None:
        folders = " or ".join(map(str, shipped_folders("fixtures")))
        raise CheckpointError(
            f"embedded checkpoint: got no embedded.safetensors in {folders}, expected the file that comes with "
            "medsam-core; install it again or give --medsam-checkpoint PATH."
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
        raise CheckpointError(
            f"checkpoint {name}: got no download ({type(error).__name__}), expected {source.file} from the Hugging "
            f"Face repository {source.repository} at revision {source.revision}; download that file where there is "
            "a network, copy it here and give --medsam-checkpoint PATH."
        ) from error
    sha256 = sha256_of(path)
    if source.sha256 and sha256 != source.sha256:
        raise CheckpointError(
            f"checkpoint {name}: got a download with SHA-256 {sha256[:12]}, expected {source.sha256[:12]} as "
            f"published; delete {path} and try again."
        )
    return CheckpointFile(name, path, sha256)


def load_weights(file: CheckpointFile | str | Path) -> Weights:
    """Read weights onto the CPU: a .pt with `{"model": state_dict}`, with `weights_only=True`, or a .safetensors.

    Raises CheckpointError if the file is damaged, would run code, or has no model.
    """
    if not isinstance(file, CheckpointFile):
        file = resolve(file)
    if file.path.suffix == ".safetensors":
        state_dict, metadata = _read_safetensors(file)
    else:
        state_dict, metadata = _read_torch(file), {}
    import torch

    if not state_dict or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise CheckpointError(
            f"checkpoint {file.path}: got a model that is not a table of tensors, expected a state dict; "
            "save module.state_dict()."
        )
    stored = re.search(r'"field_of_view": *"([^"]*)"', metadata.get("architecture", ""))
    if stored and stored[1] != WHOLE_SLICE:  # an older version's: the masks would differ
        raise CheckpointError(
            f"checkpoint {file.path}: got weights for the field of view {stored[1]!r}, expected ones that see the "
            "whole slice; use other weights, or an older version of medsam-core that has this field of view."
        )
    return Weights(file, state_dict, metadata)


def _read_safetensors(file: CheckpointFile) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file.path, framework="pt", device="cpu") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from None


def _read_torch(file: CheckpointFile) -> Any:
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():  # about the pickle's protocol; real problems are reported below
            warnings.simplefilter("ignore")
            content = torch.load(file.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|global:?|class:?) *([\w.]+\.[\w.]+)", str(error))
        if code is None:
            raise _damaged(file, error) from None
        raise CheckpointError(
            f"checkpoint {file.path}: got a pickle that calls {code[1]} (not run), expected only tensors; "
            "use the published file or save the weights as .safetensors."
        ) from None
    except Exception as error:  # arbitrary bytes can make the unpickler raise anything
        raise _damaged(file, error) from None
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        keys = ", ".join(map(str, list(content)[:4])) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"checkpoint {file.path}: got {keys or 'an empty dict'} without a model, expected {{'model': state_dict}} "
            "as SAM 2 and MedSAM2 are published; save it like that, or as .safetensors."
        )
    return dict(content["model"])


def _damaged(file: CheckpointFile, error: Exception) -> CheckpointError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return CheckpointError(
        f"checkpoint {file.path}: got a damaged or cut-off file of {file.path.stat().st_size} bytes ({reason[:120]}), "
        "expected a whole .pt or .safetensors; copy or download it again."
    )
