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
        ("UCSF-PDGM-0004_T1c_bias.nii.gz", "UCSF-PDGM-0004", "t1ce"),
        ("UCSF-PDGM-0004_tumor_segmentation.nii.gz", "UCSF-PDGM-0004", "seg"),
        ("UCSD-PTGBM-0001_01_T1post.nii.gz", "UCSD-PTGBM-0001_01", "t1ce"),
        ("UCSD-PTGBM-0001_01_BraTS_tumor_seg.nii.gz", "UCSD-PTGBM-0001_01", "seg"),
        ("RHUH-0001_0_segmentations.nii.gz", "RHUH-0001_0", "seg"),
        ("BraTS-MEN-RT-0000-1_gtv.nii.gz", "BraTS-MEN-RT-0000-1", "seg"),
        ("UPENN-GBM-00001_11_T1GD.nii.gz", "UPENN-GBM-00001_11", "t1ce"),
        ("UPENN-GBM-00001_11_automated_approx_segm.nii.gz", "UPENN-GBM-00001_11", "seg"),
        ("sub-01_T1w.nii.gz", "sub-01", "t1"),
        ("sub-01_ses-pre_acq-3d_ce-gadolinium_T1w.nii.gz", "sub-01_ses-pre", "t1ce"),
        ("sub-01_ce-none_T1w.nii.gz", "sub-01", "t1"),
        ("sub-01_space-T1w_dseg.nii.gz", "sub-01", "seg"),
        ("x_t1ce.mha", "x", "t1ce"),
    ],
)
def test_a_file_name_is_parsed(name: str, stem: str, kind: str) -> None:
    known = parse(name)
    assert known is not None
    assert (known.stem, known.kind) == (stem, kind)


@pytest.mark.parametrize(
    "name",
    [
        "survival_info.csv",
        "BRATS_001.nii.gz",
        "W39_1998.09.19_Segm.nii",
        "x_t1ce.nii.gz.part",
        "x_t1ce.dcm",
        "xt1.nii",
        "x_t1_bias.nii",
    ],
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
    ("subject", "layout", "convention"),
    [
        ("Brats18_CBICA_AAB_1", "brats2018", "brats2019"),
        ("Brats15_2013_pat0001_1", "brats2018", "brats2019"),
        ("Phantom_s19_0001", "brats2018", "brats2019"),
        ("BraTS19_TMC_06290_1", "brats2019", "brats2019"),
        ("BraTS20_Training_001", "brats2020", "brats2019"),
        ("BraTS2021_00000", "brats2021", "brats2019"),
        ("BraTS-GLI-00000-000", "brats2023", "brats2023"),
        ("BraTS-GLI-00005-001", "brats2023", "brats2023"),
        ("BraTS-GLI-02062-100", "brats2023", "brats2024"),
        ("BraTS-MET-00001-000", "brats2023", "brats2024"),
        ("BraTS-MEN-00004-000", "brats2023", "brats2023"),
        ("BraTS-MEN-RT-0000-1", "brats-men-rt", "brats-men-rt"),
        ("BraTS-SSA-00002-000", "brats2023", "brats2023"),
        ("BraTS-GoAT-00000", "brats2023", "brats2023"),
        ("UCSF-PDGM-0004", "ucsf-pdgm", "brats2019"),
        ("UCSD-PTGBM-0001_01", "ucsd-ptgbm", "brats2024"),
        ("RHUH-0001_0", "rhuh-gbm", "brats2019"),
        ("UPENN-GBM-00001_11", "upenn-gbm", "brats2019"),
        ("Patient-001_week-000-1", "lumiere", None),
        ("sub-01_ses-1", "bids", None),
        ("BraTS-NEW-00000-000", "brats2023", None),
        ("brats_2013_pat0001_1", "unknown", None),
        ("Brats12_HG_0001", "unknown", None),
        ("case7", "unknown", None),
        ("MyBraTS2021_00000", "unknown", None),
    ],
)
def test_the_label_convention_follows_from_the_name_or_is_unknown(
    subject: str, layout: str, convention: str | None
) -> None:
    row = layout_of(subject)
    assert (row.name if row else "unknown") == layout
    assert convention_of(subject, ["x"]) == convention


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
    assert convention_of("BraTS-PED-00002-000", folders) == convention


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
