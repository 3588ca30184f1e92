"""The published checkpoints that are known by name: where they come from, their hashes and their licences.

Sizes and hashes are those that Hugging Face shows for the files. "MedSAM-2" is also the name of another model
(ImprintLab/Medical-SAM2); here it is bowang-lab/MedSAM2.
"""

from __future__ import annotations

from dataclasses import dataclass

from medsam_core.inference.architectures import ARCHITECTURES


@dataclass(frozen=True)
class Source:
    """Where a named checkpoint comes from, and what is known of it."""

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
    size_bytes: int | None = None
    """Of the published file; None if unknown."""
    licence: str = ""
    """Of the weights, as the repository's page says."""

    @property
    def image_size(self) -> int:
        """Side of the square image that the model was trained for, in pixels."""
        return ARCHITECTURES[self.architecture].image_size


_MEDSAM2_REVISION = "e4a6f35edd7e091619cbc0750f462f1574e23955"
_MEDSAM2_LICENCE = "CC BY-SA 4.0"
_SAM2_LICENCE = "Apache-2.0"

# name: file, SHA-256, bytes
_MEDSAM2: dict[str, tuple[str, str, int | None]] = {
    "medsam2-latest": (
        "MedSAM2_latest.pt",
        "c92743b99f00d078bf32a3afcc38aaa9faf1c1692dffe3eaa7a90938c1991060",
        156040129,
    ),
    "medsam2-2411": ("MedSAM2_2411.pt", "", None),
    "medsam2-ct-lesion": ("MedSAM2_CTLesion.pt", "", None),
    "medsam2-mri-liver-lesion": ("MedSAM2_MRI_LiverLesion.pt", "", None),
    "medsam2-us-heart": ("MedSAM2_US_Heart.pt", "", None),
    "medsam2-flare25-recist": ("medsam2_FLARE25_RECIST_baseline.pt", "", None),
}
# name: revision, SHA-256, bytes
_SAM2: dict[str, tuple[str, str, int]] = {
    "sam2.1-tiny": (
        "de431c4043854a71d8101e17995dfe596bf101a5",
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        156008466,
    ),
    "sam2.1-small": (
        "ee5bba1d82bb8749febdf90f45e84b687142ba03",
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        184416285,
    ),
    "sam2.1-base+": (
        "b7320756a13354e7530a63935656d35b2f91a290",
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        323606802,
    ),
    "sam2.1-large": (
        "665f8e2ad61cf5f53d65644ff27c8ee525124610",
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        898083611,
    ),
    "sam2-tiny": ("main", "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125", 155906050),
    "sam2-small": ("main", "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3", 184309650),
    "sam2-base+": ("main", "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071", 323493298),
    "sam2-large": ("main", "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b", 897952466),
}


def _sam2_source(name: str) -> Source:
    """For `sam2.1-base+`: facebook/sam2.1-hiera-base-plus, sam2.1_hiera_base_plus.pt."""
    revision, sha256, size_bytes = _SAM2[name]
    version, size = name.replace("+", "-plus").split("-", 1)
    file = f"{version}_hiera_{size.replace('-', '_')}.pt"
    return Source(f"facebook/{version}-hiera-{size}", revision, file, name, sha256, size_bytes, _SAM2_LICENCE)


NAMES: dict[str, Source] = {
    name: Source("wanglab/MedSAM2", _MEDSAM2_REVISION, file, "medsam2", sha256, size_bytes, _MEDSAM2_LICENCE)
    for name, (file, sha256, size_bytes) in _MEDSAM2.items()
} | {name: _sam2_source(name) for name in _SAM2}


def published_as(sha256: str) -> str | None:
    """The name of the published file with this SHA-256, None if there is none."""
    return next((name for name, source in NAMES.items() if source.sha256 and source.sha256 == sha256), None)
