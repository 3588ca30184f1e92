"""Every data set of docs/data.md as a tree of empty files: what is found in it, and what is named as not read."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam_core.cli import main
from medsam_core.data import find_subjects, load, region_masks
from medsam_core.data.layouts import LAYOUTS, SOURCES
from medsam_core.errors import DataError, MedsamError, OptionError

ALL = ("t1ce", "t1", "t2", "flair")


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def refusal(root: Path, **options: str) -> str:
    with pytest.raises(MedsamError) as caught:
        find_subjects(root, **options)
    return str(caught.value)


def files(folder: str, stem: str, images: tuple[str, ...], segmentation: str) -> list[str]:
    """Names of T1, contrast, T2 and FLAIR images in that order, and of a segmentation."""
    return [f"{folder}/{stem}{name}.nii.gz" for name in (*images, segmentation)]


# data set: (files, id, layout, convention, files of t1, t1ce, t2, flair and the segmentation)
UCSF = "UCSF-PDGM-0004"
TREES = {
    "BraTS-Africa": (
        files("95_Glioma/BraTS-SSA-00002-000", "BraTS-SSA-00002-000-", ("t1n", "t1c", "t2w", "t2f"), "seg"),
        ("BraTS-SSA-00002-000", "brats2023", "brats2023"),
    ),
    "UCSF-PDGM": (
        files(f"{UCSF}_nifti", f"{UCSF}_", ("T1", "T1c", "T2", "FLAIR"), "tumor_segmentation"),
        (UCSF, "ucsf-pdgm", "brats2019"),
    ),
    "UCSF-PDGM, corrected": (
        files(f"{UCSF}_nifti", f"{UCSF}_", ("T1_bias", "T1c_bias", "T2_bias", "FLAIR_bias"), "tumor_segmentation"),
        (UCSF, "ucsf-pdgm", "brats2019"),
    ),
    "RHUH-GBM": (
        files("RHUH-0001/0", "RHUH-0001_0_", ("t1", "t1ce", "t2", "flair"), "segmentations"),
        ("RHUH-0001_0", "rhuh-gbm", "brats2019"),
    ),
    "UCSD-PTGBM": (
        files("UCSD-PTGBM-0001_01", "UCSD-PTGBM-0001_01_", ("T1pre", "T1post", "T2", "FLAIR"), "BraTS_tumor_seg"),
        ("UCSD-PTGBM-0001_01", "ucsd-ptgbm", "brats2024"),
    ),
    "UPENN-GBM": (
        [
            *(f"images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_{name}.nii.gz" for name in
              ("T1", "T1GD", "T2", "FLAIR")),
            "images_segm/UPENN-GBM-00001_11_segm.nii.gz",
        ],
        ("UPENN-GBM-00001_11", "upenn-gbm", "brats2019"),
    ),
    "LUMIERE": (
        [
            *(f"Imaging/Patient-001/week-000-1/{name}.nii.gz" for name in ("T1", "CT1", "T2", "FLAIR")),
            "Imaging/Patient-001/week-000-1/DeepBraTumIA-segmentation/atlas/segmentation/seg_mask.nii.gz",
        ],
        ("Patient-001_week-000-1", "lumiere", None),
    ),
    "BIDS": (
        [f"sub-01/ses-1/anat/sub-01_ses-1_{name}.nii.gz" for name in
         ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")] + ["derivatives/x/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz"],
        ("sub-01_ses-1", "bids", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_a_data_set_is_read_as_released(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    paths, expected = TREES[name]
    (found,) = find_subjects(tree(tmp_path, *paths))
    assert (found.id, found.layout, found.convention) == expected
    images = dict(zip(("t1", "t1ce", "t2", "flair"), paths, strict=False))
    assert {kind: str(image.path.relative_to(tmp_path)) for kind, image in found.images.items()} == images
    assert found.segmentation == tmp_path / paths[-1]
    assert found.notes == ()
    assert main(["list", str(tmp_path)]) == 0
    assert f"{found.id}  {found.layout}  flair+t1+t1ce+t2\n" in capsys.readouterr().out


def test_every_row_of_the_table_is_tested() -> None:
    tested = {layout for _, (_, layout, _) in TREES.values()} | {"brats-men-rt"}
    assert {row.name for row in LAYOUTS} - tested == {"brats2018", "brats2019", "brats2020", "brats2021"}  # test_cohort


def test_men_rt_has_one_sequence_and_one_region(tmp_path: Path) -> None:
    name = "BraTS-MEN-RT-0000-1"
    (found,) = find_subjects(tree(tmp_path, f"{name}/{name}_t1c.nii.gz", f"{name}/{name}_gtv.nii.gz"))
    assert (found.layout, found.convention, list(found.images)) == ("brats-men-rt", "brats-men-rt", ["t1ce"])
    assert found.segmentation == tmp_path / name / f"{name}_gtv.nii.gz"


def test_ucsf_s_other_images_are_named(tmp_path: Path) -> None:
    paths = TREES["UCSF-PDGM"][0]
    more = [f"{UCSF}_nifti/{UCSF}_{name}.nii.gz" for name in ("T1_bias", "ADC", "brain_segmentation")]
    (found,) = find_subjects(tree(tmp_path, *paths, *more))
    assert found.images["t1"].path.name == f"{UCSF}_T1.nii.gz"
    assert found.notes == (
        f"{UCSF}_T1_bias.nii.gz is not read.",
        f"{UCSF}_nifti/{UCSF}_ADC.nii.gz (2 other images: {UCSF}_ADC.nii.gz, {UCSF}_brain_segmentation.nii.gz) "
        "is ignored.",
    )


def test_upenn_s_automated_segmentation_is_an_option_not_a_guess(tmp_path: Path) -> None:
    names = ("UPENN-GBM-00001_11", "UPENN-GBM-00002_11")
    images = [f"images_structural/{name}/{name}_T1GD.nii.gz" for name in names]
    tree(tmp_path, *images, f"images_segm/{names[0]}_segm.nii.gz")
    tree(tmp_path, *(f"automated_segm/{name}_automated_approx_segm.nii.gz" for name in names))
    first, second = find_subjects(tmp_path)
    assert first.segmentation == tmp_path / "images_segm" / f"{names[0]}_segm.nii.gz"
    assert second.segmentation is None
    assert second.notes == (
        f"{names[1]}_automated_approx_segm.nii.gz is not read (--medsam-segmentation automated takes it).",
    )
    automated = find_subjects(tmp_path, segmentation="automated")
    assert [found.segmentation.parent.name for found in automated if found.segmentation] == ["automated_segm"] * 2


def test_a_upenn_segmentation_without_its_images(tmp_path: Path) -> None:
    tree(tmp_path, "images_structural/UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz")
    tree(tmp_path, "images_segm/UPENN-GBM-00002_11_segm.nii.gz")
    assert refusal(tmp_path).startswith("images_segm/UPENN-GBM-00002_11_segm.nii.gz (a segmentation alone): no image")


def test_lumiere_s_segmentations_bring_the_images_of_their_grid(tmp_path: Path) -> None:
    week = "Imaging/Patient-001/week-044"
    deep, glio = f"{week}/DeepBraTumIA-segmentation/atlas", f"{week}/HD-GLIO-AUTO-segmentation/registered"
    tree(tmp_path, f"{week}/CT1.nii.gz", f"{week}/FLAIR.nii.gz")
    tree(tmp_path, f"{deep}/skull_strip/ct1_skull_strip.nii.gz", f"{deep}/segmentation/seg_mask.nii.gz")
    tree(tmp_path, f"{glio}/CT1_r2s_bet_reg.nii.gz", f"{glio}/segmentation.nii.gz")
    (own,) = find_subjects(tmp_path)
    assert (own.id, own.convention) == ("Patient-001_week-044", None)
    assert own.images["t1ce"].path == tmp_path / deep / "skull_strip" / "ct1_skull_strip.nii.gz"
    assert own.notes[0] == "HD-GLIO-AUTO-segmentation is not read."
    (other,) = find_subjects(tmp_path, segmentation="hd-glio-auto")
    assert other.convention == "hd-glio"
    assert other.segmentation == tmp_path / glio / "segmentation.nii.gz"
    assert other.images["t1ce"].path == tmp_path / glio / "CT1_r2s_bet_reg.nii.gz"


def test_an_unknown_segmentation(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"segmentation 'mine': unknown, expected {' or '.join(SOURCES)}; choose"):
        find_subjects(tmp_path, segmentation="mine")


def test_bids_derivatives_give_segmentations_and_no_second_images(tmp_path: Path) -> None:
    tree(tmp_path, "sub-01/anat/sub-01_ce-gd_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/x_bold.nii.gz")
    tree(tmp_path, "sub-01/dwi/sub-01_dwi.nii.gz", "sub-01/dwi/sub-01_dwi.bvec")
    tree(tmp_path, "derivatives/strip/sub-01/anat/sub-01_T1w.nii.gz")
    tree(tmp_path, "derivatives/tumour/sub-01/anat/sub-01_space-T1w_dseg.nii.gz")
    assert refusal(tmp_path).startswith("sub-01/func (a folder with x_bold.nii.gz): no image in 1 place")
    (tmp_path / "sub-01/func/x_bold.nii.gz").rename(tmp_path / "sub-01/anat/sub-01_bold.nii.gz")
    (tmp_path / "sub-01/func").rmdir()
    (found,) = find_subjects(tmp_path)
    assert {kind: image.path.parts[-3] for kind, image in found.images.items()} == {"t1ce": "sub-01", "t1": "sub-01"}
    assert found.segmentation == tmp_path / "derivatives/tumour/sub-01/anat/sub-01_space-T1w_dseg.nii.gz"
    assert found.notes == (
        "derivatives/strip/sub-01/anat/sub-01_T1w.nii.gz (an image of a derivative) is ignored.",
        "sub-01/anat/sub-01_bold.nii.gz (1 other image: sub-01_bold.nii.gz) is ignored.",
        "sub-01/dwi (a folder with sub-01_dwi.bvec, sub-01_dwi.nii.gz) is ignored.",
    )
    tree(tmp_path, "derivatives/tumour/sub-01/anat/sub-01_desc-2_dseg.nii.gz")
    assert "sub-01: 2 segmentations" in refusal(tmp_path)


# imagesTr, with and without its description

MSD = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


def described(root: Path, content: object, *names: str) -> Path:
    tree(root, *names)
    (root / "dataset.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return root


def nnunet(root: Path, **description: object) -> Path:
    names = [f"imagesTr/case_1_{channel:04d}.nii.gz" for channel in range(4)]
    return described(root, description, *names, "labelsTr/case_1.nii.gz")


@pytest.mark.parametrize("order", [("T1", "T1ce", "T2", "FLAIR"), ("flair", "t1w", "T1gd", "T2w")])
def test_nnunet_s_channels_are_in_the_order_of_its_description(tmp_path: Path, order: tuple[str, ...]) -> None:
    labels = {"background": 0, "edema": 1, "necrosis": 2, "enhancing": 3}
    (found,) = find_subjects(nnunet(tmp_path, channel_names=dict(enumerate(order)), labels=labels))
    kinds = {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair", "t1w": "t1", "t1gd": "t1ce", "t2w": "t2"}
    expected = {kinds[name.lower()]: f"case_1_{place:04d}.nii.gz" for place, name in enumerate(order)}
    assert {kind: image.path.name for kind, image in found.images.items()} == expected
    assert (found.id, found.layout, found.convention) == ("case_1", "nnunet", "msd")
    assert found.segmentation == tmp_path / "labelsTr" / "case_1.nii.gz"


@pytest.mark.parametrize(
    ("labels", "convention"),
    [
        (MSD, "msd"),
        ({"0": "background", "1": "necrosis", "2": "edema", "3": "enhancing tumor"}, "brats2023"),
        ({"background": 0, "NCR/NET": 1, "ED": 2, "ET": 4}, "brats2019"),
        ({"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}, "brats2024"),
        ({"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}, "msd"),
        ({"background": 0, "ET": 1, "ED": 2, "NCR": 3}, "1=enhancing,2=oedema,3=core"),
        ({"background": 0, "glioma": 1}, "1=tumour"),
        ({"background": 0, "thing": 1}, None),
        ({"background": 0, "a": [1, 2], "b": [2]}, None),
        ({}, None),
    ],
)
def test_labels_mean_what_dataset_json_says(tmp_path: Path, labels: object, convention: str | None) -> None:
    content = {"modality": {"0": "T1gd", "1": "FLAIR"}, "labels": labels}
    (found,) = find_subjects(described(tmp_path, content, "imagesTr/x.nii.gz", "labelsTr/x.nii.gz"))
    assert {kind: (one.channel, one.channels) for kind, one in found.images.items()} == {
        "t1ce": (0, 2),
        "flair": (1, 2),
    }
    assert (found.layout, found.convention) == ("msd", convention)


DESCRIPTIONS: dict[str, tuple[object, str]] = {
    "no JSON": ("{", "not JSON"),
    "nested deeply": ("[" * 100_000, "nested too deep"),
    "a list": ("[]", "got no JSON object"),
    "an empty file": ("", "not JSON"),
    "two T1": ({"modality": {"0": "T1", "1": "t1w"}}, "names two channels that are both t1 (T1, t1w)"),
    "a gap": ({"modality": {"0": "T1", "2": "T2"}}, "modality has the keys 0, 2, not 0 to 1"),
    "keys that are words": ({"channel_names": {"T1": "0"}}, "channel_names has the keys T1, not 0 to 0"),
    "two orders": ({"modality": ["T1", "T2"], "channel_names": ["T2", "T1"]}, "name different channels"),
    "no MRI": ({"modality": {"0": "CT"}}, "the channels CT, expected T1, T1ce, T2 or FLAIR among them"),
    "a background of 1": ({"modality": ["T1"], "labels": {"background": 1}}, "and 0 is the background"),
    "oedema of 0": ({"modality": ["T1"], "labels": {"0": "edema"}}, "and 0 is the background"),
    "one value twice": ({"modality": ["T1"], "labels": {"edema": 1, "core": 1}}, "two labels have the value 1"),
    "a value that is a word": ({"modality": ["T1"], "labels": {"edema": "x"}}, "has the value 'x', not a number"),
    "a region of words": ({"modality": ["T1"], "labels": {"whole": ["x"]}}, "values that are no whole numbers"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_description_that_contradicts_itself_is_refused(tmp_path: Path, kind: str) -> None:
    content, words = DESCRIPTIONS[kind]
    text = refusal(described(tmp_path, content, "imagesTr/x.nii.gz"))
    assert text.startswith(f"{tmp_path / 'dataset.json'}: ")
    assert words in text
    assert text.endswith(".")


def test_more_files_than_channels(tmp_path: Path) -> None:
    root = nnunet(tmp_path, channel_names={"0": "T1", "1": "T1ce"})
    assert "2 channels, expected one for each file of case_1, which has case_1_0002.nii.gz; correct" in refusal(root)


def test_a_description_beside_brats_is_compared_with_the_names(tmp_path: Path) -> None:
    name = "BraTS2021_00000/BraTS2021_00000"
    paths = (f"{name}_t1ce.nii.gz", f"{name}_seg.nii.gz")
    (found,) = find_subjects(described(tmp_path, {"labels": {"1": "necrosis", "2": "edema", "4": "ET"}}, *paths))
    assert found.convention == "brats2019"
    described(tmp_path, {"labels": {"1": "necrosis", "2": "edema", "3": "ET"}})
    assert refusal(tmp_path).startswith(
        f"{tmp_path / 'dataset.json'}: labels are brats2023, expected brats2019 as the name of BraTS2021_00000 says"
    )


def test_a_description_beside_unknown_names_says_what_their_labels_mean(tmp_path: Path) -> None:
    content = {"labels": {"1": "necrosis", "2": "edema", "3": "ET"}}
    (found,) = find_subjects(described(tmp_path, content, "a/case7/case7_t1ce.nii.gz", "a/case7/case7_seg.nii.gz"))
    assert (found.layout, found.convention) == ("unknown", "brats2023")


def test_images_that_nothing_describes_are_refused_beside_others(tmp_path: Path) -> None:
    tree(tmp_path, "A/A_t1.nii.gz", "set/imagesTr/x.nii.gz")
    assert refusal(tmp_path).startswith("set/imagesTr (1 image of unknown channels, such as x.nii.gz)")
    assert "add a dataset.json that names the channels" in refusal(tmp_path)


@pytest.mark.parametrize(("channels", "right"), [(4, True), (3, False), (5, False)])
def test_an_image_must_have_the_channels_that_are_named(tmp_path: Path, channels: int, right: bool) -> None:
    described(tmp_path, {"modality": ["T2", "T1", "FLAIR", "T1c"], "labels": MSD}, "imagesTr/x", "labelsTr/x")
    for name in ("imagesTr/x", "labelsTr/x"):
        (tmp_path / name).unlink()
    voxels = np.arange(8 * channels, dtype=np.int16).reshape(2, 2, 2, channels)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "imagesTr" / "x.nii.gz")
    labels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2) % 4
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "labelsTr" / "x.nii.gz")
    (found,) = find_subjects(tmp_path)
    if right:
        loaded = load(found, "flair")
        assert sorted(loaded.image.voxels.ravel().tolist()) == list(range(2, 32, 4))
        masks = region_masks(loaded.labels.voxels, loaded.convention)
        assert [int(mask.sum()) for mask in masks.values()] == [6, 4, 2]
    else:
        with pytest.raises(DataError, match=f"x.nii.gz: {channels} channels .* the 4 that dataset.json names"):
            load(found, "flair")


# what is near subjects

NEAR_SUBJECTS: dict[str, tuple[tuple[str, ...], str]] = {
    "a tar of another subject": (("B.tar",), "B.tar (an archive): no image in 1 place"),
    "a zip": (("more.zip",), "unpack it, or move"),
    "a tar.gz": (("part2.tar.gz",), "unpack it, or move"),
    "a volume of a 7z": (("data.7z.001",), "unpack it, or move"),
    "a zip of NIfTI": (("B_t1.nii.zip",), "unpack it, or move"),
    "MetaImages": (("B_t1.mha", "B_seg.mha"), "(a MetaImage)"),
    "NRRD": (("B.nrrd",), "install medsam-core[formats], which reads .nrrd"),
    "DICOM": (("IM1.dcm",), "convert its series to .nii.gz, e.g. with dcm2niix"),
    "DICOM in folders": (("B/IM1.dcm", "B/IM2.dcm"), "B (a folder with IM1.dcm, IM2.dcm)"),
    "a pair": (("B_t1.hdr", "B_t1.img"), "save both halves as one .nii file"),
    "FreeSurfer": (("B.mgz",), "a FreeSurfer image"),
    "NumPy": (("B.npy",), "save it as NIfTI with its affine"),
    "an .npz without a sequence": (("B.npz",), "a NumPy archive"),
    "bzip2": (("B_t1.nii.bz2",), "an image in a format that is not read"),
    "an unknown image": (("atlas.nii.gz",), "atlas.nii.gz (an image that its name does not explain)"),
    "an image of another subject": (("B_t1_registered.nii.gz",), "(an image that its name does not explain)"),
    "another subject in a subject's folder": (
        ("BraTS2021_00000/BraTS2021_00001_t1.mha",), "BraTS2021_00001_t1.mha (a MetaImage)"
    ),
    "a set without labels": (("imagesTs/x.nii.gz",), "imagesTs (a folder with x.nii.gz)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NEAR_SUBJECTS)
def test_what_may_hide_a_subject_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # as without the extra [formats]
    names, words = NEAR_SUBJECTS[kind]
    tree(tmp_path, "BraTS2021_00000/BraTS2021_00000_t1.nii.gz", *names)
    text = refusal(tmp_path)
    assert words in text
    assert text.endswith(", or move everything that is no subject out of the root.")


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("A.tar",), "A.tar (an archive) is ignored."),
        (("A/backup.zip",), "A/backup.zip"),
        (("A/A_t1_mask.nii.gz",), "A/A_t1_mask.nii.gz (1 other image: A_t1_mask.nii.gz) is ignored."),
        (("A/brain.nii.gz",), "A/brain.nii.gz (1 other image: brain.nii.gz) is ignored."),
        (("A/A_segmentation.nii.gz",), "A/A_segmentation.nii.gz (1 other image: A_segmentation.nii.gz) is ignored."),
        (("A/A_t2.mha",), "A/A_t2.mha (1 other image: A_t2.mha) is ignored."),
        (("A/raw/IM1.dcm",), "A/raw (a folder with 1 image) is ignored."),
        (("A_mask.nii.gz",), "A_mask.nii.gz (an image that its name does not explain) is ignored."),
        (("masks/A_lesion.nii.gz", "masks/A_seg.nii.gz"), "masks/A_lesion.nii.gz (an image that"),
        (("weights.bin",), "weights.bin (a file of an unknown kind) is ignored."),
    ],
)
def test_what_belongs_to_a_subject_is_named(
    tmp_path: Path, names: tuple[str, ...], note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    tree(tmp_path, "A/A_t1.nii.gz", "A/A_seg.nii.gz", *names)
    (found,) = find_subjects(tmp_path)
    assert any(one.startswith(note) for one in found.notes), found.notes


@pytest.mark.parametrize("name", ["a.dcm", "sub/a.mha", "sub/a.nrrd", "a.tar.gz", "a.mgz", "half.img"])
def test_a_folder_of_another_format_gets_advice(tmp_path: Path, name: str) -> None:
    text = refusal(tree(tmp_path, name))
    assert f"; {Path(name).name} is " in text
    assert ": convert" in text or ": unpack" in text or ": save" in text


def test_dicom_without_an_ending_is_recognised_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    assert "IM0001 is a DICOM file: convert its series to .nii.gz, e.g. with dcm2niix." in refusal(tmp_path)


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path: Path) -> None:
    tree(tmp_path, "A/A_t1.nii.gz")
    (tmp_path / "B").symlink_to(tmp_path)
    (found,) = find_subjects(tmp_path)
    assert found.notes == ("B (a link to a folder above it) is ignored.",)


def test_a_link_to_itself_is_a_link_to_nothing(tmp_path: Path) -> None:
    tree(tmp_path, "A/A_t1.nii.gz")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path).startswith("loop (a link to nothing): no image in 1 place")


def test_foreign_names_are_shown_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "case\x1b[31m\u202e1"
    tree(tmp_path, f"{name}/{name}_t1.nii.gz", f"{name}/x\n.nii.gz")
    assert main(["list", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert r"case\x1b[31m\u202e1" in out
    assert "\x1b" not in out
    assert r"x\n.nii.gz" in out


def test_a_newline_hides_no_file(tmp_path: Path) -> None:
    (found,) = find_subjects(tree(tmp_path, "A_t1.nii.gz", "A_x\n.nii.gz"))
    assert found.notes == (r"A_x\n.nii.gz (1 other image: A_x\n.nii.gz) is ignored.",)
