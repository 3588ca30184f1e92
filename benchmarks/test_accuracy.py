"""The accuracy gate: one test per subject × modality × region × prompt mode × protocol.

    pytest benchmarks/test_accuracy.py                                   the phantom cohort, the embedded checkpoint
    pytest -m gpu --medsam-root=DIR --medsam-checkpoint=medsam2-latest --medsam-gates=FILE   a real cohort, on CUDA

A test fails if its case breaks a case bound of the gates; the cohort's bounds are judged when all cases are scored,
and the exit code is 0 only if the whole run is a PASS.
"""

import pytest


def test_case(medsam_case, medsam_evaluate, medsam_check):
    """On the device that --medsam-device names."""
    medsam_check(medsam_evaluate(medsam_case))


@pytest.mark.gpu
def test_case_on_gpu(medsam_case, medsam_evaluate, medsam_check):
    """The same on CUDA: what `pytest -m gpu` selects."""
    medsam_check(medsam_evaluate(medsam_case))
