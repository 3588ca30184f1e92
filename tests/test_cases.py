"""Settings refuse what is unknown; a case's id is stable."""

import pytest

from medsam_core.cases import Case, CaseRecord
from medsam_core.decoding import Malformed
from medsam_core.errors import OptionError
from medsam_core.settings import Settings
from tests.headers import made_header


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
        (
            {"noises": ("jitter3",)},
            "noise: got 'jitter3', expected a kind (jitter, side, expand), an amount and a seed",
        ),
        ({"noises": ("jitter3-seed1",) * 2}, "noise: got jitter3-seed1 twice, expected each once; remove it."),
        (
            {"noises": ("jitter3-seed1",), "prompts": ("mask",)},
            "noise: got jitter3 with the prompt modes mask, expected one with a box or a point, because nothing else",
        ),
        (
            {"noises": ("expand5-seed1",), "prompts": ("point", "mask")},
            "noise: got expand5 with the prompt modes point, mask, expected one with a box, because nothing else",
        ),
        (
            {"noises": ("jitter3-seed1",), "jitter_voxels": 2.0},
            "noise: got jitter3-seed1 and a jitter of 2, expected one of them, because the noise is compared with",
        ),
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


def test_a_noise_is_the_last_part_of_an_id_and_an_exact_prompt_has_none():
    noisy = Case("s", "t1ce", "WT", "box", noise="jitter3-seed2")
    assert noisy.id == "s/t1ce/WT/box/jitter3-seed2"
    assert noisy.noise_level == "jitter3"
    assert noisy.exact.id == "s/t1ce/WT/box"
    assert Case("s", "t1ce", "WT", "box", "forward", "side10-seed1").id == "s/t1ce/WT/box/forward/side10-seed1"


@pytest.mark.parametrize("protocol", ["bidirectional", "slicewise"])
@pytest.mark.parametrize("noise", ["", "expand5-seed1"])
@pytest.mark.parametrize("subject", ["s", "folder/s"])
def test_a_case_is_found_by_its_id(subject, protocol, noise):
    case = Case(subject, "t1ce", "WT", "box+point", protocol, noise)
    assert Case.from_id(case.id) == case


@pytest.mark.parametrize(
    "identity", ["", "s", "s/t1ce/WT", "s/t1ce/WT/boxes", "t1ce/WT/box", "s/t1ce/WT/box/jitter0-seed1"]
)
def test_other_texts_are_no_case(identity):
    assert Case.from_id(identity) is None


def test_a_noise_is_asked_of_the_prompts_that_it_moves_next_to_the_exact_ones():
    settings = Settings(regions=("WT",), prompts=("box", "point", "mask"), noises=("jitter3-seed1", "expand5-seed1"))
    assert [case.id for case in settings.cases("s")] == [
        "s/t1ce/WT/box",
        "s/t1ce/WT/box/jitter3-seed1",
        "s/t1ce/WT/box/expand5-seed1",
        "s/t1ce/WT/point",
        "s/t1ce/WT/point/jitter3-seed1",
        "s/t1ce/WT/mask",
    ]


def test_what_is_stored_of_exact_prompts_does_not_mention_noise():
    assert "noises" not in Settings().to_json()
    record = CaseRecord(Case("s", "t1ce", "WT", "box"), {}, (3,))
    assert "noise" not in record.to_json()["case"]
    assert "noises" not in made_header(["s/t1ce/WT/box"]).to_json()["settings"]


def test_a_record_with_noise_comes_back_from_json():
    record = CaseRecord(Case("s", "t1ce", "WT", "box", noise="jitter3-seed1"), {}, (3,))
    assert CaseRecord.from_json(record.to_json()) == record
    wrong = record.to_json()
    wrong["case"]["noise"] = "jitter3"
    with pytest.raises(Malformed, match="noise"):
        CaseRecord.from_json(wrong)
