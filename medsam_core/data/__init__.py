"""What is on disk: volumes, label conventions, cohorts of every layout. Only opening a file imports nibabel."""

from medsam_core.data.cohort import check_subjects, find_subjects, load
from medsam_core.data.regions import region_masks

__all__ = ["check_subjects", "find_subjects", "load", "region_masks"]
