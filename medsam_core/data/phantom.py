"""A synthetic cohort in BraTS layout, made from a seed."""

from __future__ import annotations

from medsam_core.data.phantom_anatomy import Anatomy, anatomy

__all__ = ["Anatomy", "anatomy"]
