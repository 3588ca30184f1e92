"""Settings refuse what is unknown; a case's id is stable."""

import pytest

from medsam_core.cases import Case, Settings
from medsam_core.errors import OptionError


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"regions": ("WT", "XT")},
            "unknown region 'XT': expected one of WT, TC, ET, NETC, SNFH, RC, CC, ED, GTV; correct the spelling.",
        ),
        ({"prompts": ("boxes",)}, "unknown prompt mode 'boxes': expected one of box, point, points3, box+point, mask"),
        ({"modalities": ("dwi",)}, "unknown modality 'dwi': expected one of t1ce, t1, t2, flair"),
        ({"protocols": ("backward",)}, "unknown protocol 'backward'"),
        ({"key_slice": "last"}, "unknown key slice 'last'"),
        ({"profile": "brats1999"}, "unknown profile 'brats1999'"),
        ({"metrics": ("dise",)}, "unknown metric 'dise'"),
        ({"labels": "mine"}, "unknown label convention 'mine'"),
        (
            {"regions": ()},
            "region: got none, expected at least one of WT, TC, ET, NETC, SNFH, RC, CC, ED, GTV; name one.",
        ),
        ({"regions": ("WT", "WT")}, "region: got WT, WT with a repetition"),
        (
            {"key_slices": 0},
            "key slices: got 0, expected a whole number from 1 on; correct --medsam-key-slices.",
        ),
        (
            {"key_slices": 3, "protocols": ("bidirectional", "slicewise")},
            "key slices: got 3 with the protocol slicewise, expected 1 because it prompts every slice",
        ),
        ({"refine": -1}, "corrections: got -1, expected a whole number from 0 on; correct --medsam-refine."),
        (
            {"refine": 2, "protocols": ("bidirectional", "slicewise")},
            "corrections: got 2 with the protocol slicewise, expected 0 because it has no memory, so a correction",
        ),
        (
            {"refine": 2, "per_component": True},
            "corrections: got 2 with one prompt for each component, expected one object for each case because a",
        ),
        ({"refine_rule": "random"}, "unknown rule of corrections 'random': expected one of volume, slice"),
        ({"jitter_voxels": float("nan")}, "jitter: got nan, expected a finite number ≥ 0"),
    ],
)
def test_an_unknown_choice_is_reported_in_a_sentence(given, sentence):
    with pytest.raises(OptionError) as caught:
        Settings(**given)
    assert str(caught.value).startswith(sentence)


def test_case_ids_are_stable_and_name_only_an_unusual_protocol():
    assert Case("Brats18_2013_21_1", "t1ce", "WT", "box").id == "Brats18_2013_21_1/t1ce/WT/box"
    assert Case("s", "flair", "ET", "point", "slicewise").id == "s/flair/ET/point/slicewise"
