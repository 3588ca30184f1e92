"""A `Subject`: the files of one patient's examination, and what their names say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageFile:
    """The file of one modality."""

    path: Path
    channel: int | None = None
    """Index on the fourth axis of a 4-D file; None for a 3-D file."""


@dataclass(frozen=True)
class Subject:
    """One subject of a cohort, as the names of its files describe it."""

    id: str
    """Such as "BraTS20_Training_001"."""
    images: Mapping[str, ImageFile] = field(hash=False)
    """"t1ce", "t1", "t2", "flair" -> file; a subject may have only some of them."""
    segmentation: Path | None
    """None where the data set has none (validation sets)."""
    layout: str
    """"brats2018", "brats2019", "brats2020", "brats2021", "brats2023" (2023 to 2025) or "msd"."""
    convention: str | None
    """The name of the label convention; None where the names do not determine it (BraTS-PED without a year)."""
    grade: str | None = None
    """"HGG", "LGG" or None."""
    site: str | None = None
    """As the data set writes it ("CBICA", "TCIA01", "2013"), or None."""
    notes: tuple[str, ...] = ()
    """What was unusual but accepted, one sentence each."""
