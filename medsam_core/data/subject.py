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
    channels: int | None = None
    """How many channels the file must have, where its data set says so."""


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
    """A name of `layouts.LAYOUTS`, "msd", "nnunet", "npz", or "unknown"."""
    convention: str | None
    """The label convention for `regions.convention_named`; None where neither name nor dataset.json says it."""
    grade: str | None = None
    """"HGG", "LGG" or None."""
    site: str | None = None
    """As the data set writes it ("CBICA", "TCIA01", "2013"), or None."""
    notes: tuple[str, ...] = ()
    """What was unusual but accepted, one sentence each."""
