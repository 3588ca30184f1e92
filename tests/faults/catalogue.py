"""All faults, in the order of the table in docs/faults.md."""

# each of these adds its faults to FAULTS
from tests.faults import prompt_faults  # noqa: F401   isort: skip
from tests.faults import tracking_faults  # noqa: F401   isort: skip
from tests.faults import correction_faults  # noqa: F401   isort: skip
from tests.faults import image_faults  # noqa: F401   isort: skip
from tests.faults import weight_faults  # noqa: F401   isort: skip
from tests.faults import truth_faults  # noqa: F401   isort: skip
from tests.faults import score_faults  # noqa: F401   isort: skip
from tests.faults import session_faults  # noqa: F401   isort: skip
from tests.faults.fault import FAULTS

__all__ = ["FAULTS"]
