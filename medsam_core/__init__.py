"""Regression gate for MedSAM-2 on BraTS brain-tumour MRI: read, prompt, segment, score, judge.

Importing this package is cheap: torch and sam2 are imported when a model is first loaded.
"""

__version__ = "0.1.0"
