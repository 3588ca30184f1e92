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
        ({"modalities": ("dwi",)}, "unknown modality 'dwi': expected one of t1ce, t1, t2, flair or three of"),
        (
            {"modalities": ("t1ce+t2",)},
            "modality 't1ce+t2': got 2 sequences, expected 1, or 3 as red, green and blue; name three different ones, "
            "such as t1ce+t2+flair, or a single one.",
        ),
        ({"modalities": ("t1ce+t1+t2+flair",)}, "modality 't1ce+t1+t2+flair': got 4 sequences, expected 1, or 3"),
        (
            {"modalities": ("t1ce+t1ce+flair",)},
            "modality 't1ce+t1ce+flair': got t1ce 2 times, expected each sequence once; name three different ones",
        ),
        (
            {"modalities": ("t1ce", "t1ce+pd+flair")},
            "modality 't1ce+pd+flair': got the unknown sequence 'pd', expected each of t1ce, t1, t2, flair; name three",
        ),
        ({"modalities": ("t1ce+t2+flair",) * 2}, "modality: got t1ce+t2+flair, t1ce+t2+flair with a repetition"),
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


def test_an_image_of_three_sequences_is_part_of_a_cases_id():
    settings = Settings(modalities=("t1ce+t2+flair", "flair"), regions=("WT",), prompts=("box-to-mask", "recist"))
    assert [case.id for case in settings.cases("S")] == [
        "S/t1ce+t2+flair/WT/box-to-mask",
        "S/t1ce+t2+flair/WT/recist",
        "S/flair/WT/box-to-mask",
        "S/flair/WT/recist",
    ]
