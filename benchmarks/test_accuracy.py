"""The accuracy gate in a checkout; the test is the one that is installed with the package.

pytest benchmarks/test_accuracy.py                     the phantom cohort, the embedded checkpoint
pytest -m gpu --medsam-root=DIR --medsam-checkpoint=medsam2-latest --medsam-gates=FILE
                                                       a real cohort, on CUDA
"""

from medsam_core.suite.test_accuracy import test_case

__all__ = ["test_case"]
