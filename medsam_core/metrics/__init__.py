"""From two masks to scores, with numpy and scipy only.

from medsam_core.metrics import score
score(prediction, truth, spacing_mm=(1, 1, 1), profile="brats2019", metrics=("dice", "iou"))
# {"brats2019/dice": 0.91…, "brats2019/iou": 0.84…}
"""

from medsam_core.metrics.catalogue import METRICS, Metric, score, score_regions
from medsam_core.metrics.profiles import PROFILES, Profile
from medsam_core.metrics.rounds import DERIVED, KNOWN, ROUND_METRICS

__all__ = ["DERIVED", "KNOWN", "METRICS", "PROFILES", "ROUND_METRICS", "Metric", "Profile", "score", "score_regions"]
