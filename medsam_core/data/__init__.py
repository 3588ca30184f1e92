"""What is on disk: volumes, label conventions, cohorts of every layout. nibabel is imported when a file is opened."""

from medsam_core.data.cohort import check_subjects, find_subjects, load
from medsam_core.data.regions import region_masks

__all__ = ["check_subjects", "find_subjects", "load", "region_masks"]
