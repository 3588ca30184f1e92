"""All faults, in the order of the table in docs/faults.md."""

from tests.faults import model_faults, result_faults  # noqa: F401   each adds its faults to FAULTS
from tests.faults.fault import FAULTS

__all__ = ["FAULTS"]
