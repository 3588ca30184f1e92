"""What names tell, on names as the data sets and their copies write them."""

from __future__ import annotations

import pytest

from medsam_core.data.layouts import (
    canonical_modality,
    convention_of,
    is_odd_segmentation,
    layout_of,
    parse,
    site_of,
)
from medsam_core.errors import OptionError
from medsam_core.modalities import MODALITIES


@pytest.mark.parametrize(
    ("name", "stem", "kind"),
    [
        ("Brats18_2013_21_1_t1.nii.gz", "Brats18_2013_21_1", "t1"),
        ("Brats18_2013_21_1_t1ce.nii.gz", "Brats18_2013_21_1", "t1ce"),
        ("BraTS20_Training_001_flair.nii", "BraTS20_Training_001", "flair"),
        ("BraTS20_Training_001_T1CE.NII", "BraTS20_Training_001", "t1ce"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "BraTS-GLI-00000-000", "t1"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "BraTS-GLI-00000-000", "t1ce"),
        ("BraTS-SSA-00007-000-t2W.nii.gz", "BraTS-SSA-00007-000", "t2"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "BraTS-GLI-00000-000", "flair"),
        ("BraTS-GLI-00000-000-seg.nii.gz", "BraTS-GLI-00000-000", "seg"),
        ("patient_7_T1Gd.nii.gz", "patient_7", "t1ce"),
        ("flair.nii.gz", "", "flair"),
    ],
)
def test_a_file_name_is_parsed(name: str, stem: str, kind: str) -> None:
    known = parse(name)
    assert known is not None
    assert (known.stem, known.kind) == (stem, kind)


@pytest.mark.parametrize(
    "name",
    ["survival_info.csv", "BRATS_001.nii.gz", "W39_1998.09.19_Segm.nii", "x_t1ce.nii.gz.part", "x_t1ce.mha", "xt1.nii"],
)
def test_other_names_are_ignored(name: str) -> None:
    assert parse(name) is None


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("W39_1998.09.19_Segm.nii", True),
        ("BraTS20_Training_355_Segm.nii", True),
        ("segmentation.nii.gz", True),
        ("BraTS20_Training_355_model_seg.nii", False),
        ("W39_1998.09.19_Segm.txt", False),
        ("W39_1998.09.19.nii", False),
    ],
)
def test_an_odd_segmentation(name: str, accepted: bool) -> None:
    assert is_odd_segmentation(name, "BraTS20_Training_355") is accepted


@pytest.mark.parametrize(
    ("subject", "modern", "layout", "convention"),
    [
        ("Brats18_CBICA_AAB_1", False, "brats2018", "brats2019"),
        ("Brats15_2013_pat0001_1", False, "brats2018", "brats2019"),
        ("BraTS19_TMC_06290_1", False, "brats2019", "brats2019"),
        ("BraTS20_Training_001", False, "brats2020", "brats2019"),
        ("BraTS2021_00000", False, "brats2021", "brats2019"),
        ("BraTS-GLI-00000-000", True, "brats2023", "brats2023"),
        ("BraTS-GLI-00005-001", True, "brats2023", "brats2023"),
        ("BraTS-GLI-02062-100", True, "brats2023", "brats2024"),
        ("BraTS-MET-00001-000", True, "brats2023", "brats2024"),
        ("BraTS-MEN-00004-000", True, "brats2023", "brats2023"),
        ("BraTS-SSA-00002-000", True, "brats2023", "brats2023"),
        ("BraTS-GoAT-00000", True, "brats2023", "brats2023"),
        ("case7", True, "brats2023", "brats2023"),
        ("case7", False, "brats2018", "brats2019"),
    ],
)
def test_the_label_convention_follows_from_the_name(subject: str, modern: bool, layout: str, convention: str) -> None:
    assert layout_of(subject, modern=modern) == layout
    assert convention_of(subject, layout, ["x"]) == convention


@pytest.mark.parametrize(
    ("folder", "convention"),
    [
        ("ASNR-MICCAI-BraTS2023-PED-Challenge-TrainingData", "brats2023"),
        ("BraTS-PEDs2024_Training", "brats2024-ped"),
        ("MICCAI-BraTS2024-PED", "brats2024-ped"),
        ("BraTS26_PED_training", "brats2024-ped"),
        ("BraTS-PEDs-v1", None),
        ("pediatric", None),
    ],
)
def test_pediatric_labels_depend_on_the_release(folder: str, convention: str | None) -> None:
    folders = ["BraTS-PED-00002-000", folder, "data"]
    assert convention_of("BraTS-PED-00002-000", "brats2023", folders) == convention


@pytest.mark.parametrize(
    ("subject", "site"),
    [
        ("Brats18_CBICA_AAB_1", "CBICA"),
        ("Brats18_TCIA01_131_1", "TCIA01"),
        ("Brats18_2013_21_1", "2013"),
        ("BraTS19_TMC_06290_1", "TMC"),
        ("BraTS20_Training_001", None),
        ("BraTS2021_00000", None),
        ("BraTS-GLI-00000-000", None),
        ("BRATS_001", None),
    ],
)
def test_the_site_is_read_where_the_id_names_one(subject: str, site: str | None) -> None:
    assert site_of(subject) == site


def test_every_name_of_a_modality_is_understood() -> None:
    assert [canonical_modality(name) for name in ("t1c", "T1n", "t2W", "T2F")] == list(MODALITIES)
    assert [canonical_modality(name) for name in MODALITIES] == list(MODALITIES)


def test_an_unknown_modality() -> None:
    with pytest.raises(OptionError) as caught:
        canonical_modality("pet")
    assert str(caught.value) == ("modality 'pet': unknown, expected one of t1ce, t1, t2, flair; choose one of these.")
