"""Of the cases that break no bound, the worst and the most fallen keep their overlay."""

from medsam_core.gates.baseline import Baseline
from medsam_core.plugin.pictures import KeptPictures


def test_the_worst_and_the_most_fallen_keep_their_picture(make_record, recall):
    before = {"S1": 0.95, "S2": 0.51, "S3": 0.90, "S4": 0.99, "S5": 0.40}
    now = {"S1": 0.70, "S2": 0.50, "S3": 0.91, "S4": 0.80, "S5": 0.60}
    baseline = Baseline.of(recall([make_record(subject, dice=dice) for subject, dice in before.items()]))
    pictures = KeptPictures(2, "brats2019", baseline)
    records = [make_record(subject, dice=dice, overlay=subject) for subject, dice in now.items()]
    dropped = [name for record in records for name in pictures.add(record)]
    # the worst are S2 and S5, S1 and S4 fell most
    assert dropped == ["S3"]


def test_without_a_baseline_only_the_worst_keep_it(make_record):
    pictures = KeptPictures(1, "brats2019")
    assert pictures.add(make_record("S1", dice=0.5, overlay="one")) == []
    assert pictures.add(make_record("S2", dice=0.6, overlay="two")) == ["two"]
    assert pictures.add(make_record("S3", dice=float("nan"), overlay="three")) == ["one"]


def test_all_are_kept_if_all_are_asked_for_and_none_is_dropped_that_was_not_drawn(make_record):
    assert KeptPictures(None, "brats2019").add(make_record(overlay="one")) == []
    assert KeptPictures(0, "brats2019").add(make_record()) == []
