"""What is on disk: volumes, label conventions, cohorts, phantoms.

nibabel is imported when a file is first read or written; phantoms are in `medsam_core.data.phantom`.
"""

from __future__ import annotations

from medsam_core.data.cohort import ImageFile, LoadedSubject, Subject, check_subjects, find_subjects, load
from medsam_core.data.layouts import MODALITIES, canonical_modality
from medsam_core.data.regions import (
    CONVENTIONS,
    REGIONS,
    LabelConvention,
    check_labels,
    convention_named,
    region_mask,
    region_masks,
)
from medsam_core.data.volume import Grid, Volume, check_same_grid, read_image, read_labels, write_mask

__all__ = [
    "CONVENTIONS",
    "MODALITIES",
    "REGIONS",
    "Grid",
    "ImageFile",
    "LabelConvention",
    "LoadedSubject",
    "Subject",
    "Volume",
    "canonical_modality",
    "check_labels",
    "check_same_grid",
    "check_subjects",
    "convention_named",
    "find_subjects",
    "load",
    "read_image",
    "read_labels",
    "region_mask",
    "region_masks",
    "write_mask",
]
