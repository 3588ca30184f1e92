"""Finding subjects in every known layout, and loading one with its segmentation."""

from __future__ import annotations

import builtins
import io
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam_core.data.cohort import Subject, check_subjects, find_subjects, load
from medsam_core.data.regions import region_masks
from medsam_core.data.volume import read_image, read_labels
from medsam_core.errors import DataError, LabelError, MedsamError, OptionError

CLASSIC = ("t1", "t1ce", "t2", "flair", "seg")
MODERN = ("t1n", "t1c", "t2w", "t2f", "seg")
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "brats-real"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def subject(folder: Path, kinds: Sequence[str] = CLASSIC, *, joint: str = "_", ending: str = ".nii.gz") -> Path:
    """A subject of empty files: finding may look at their names only."""
    folder.mkdir(parents=True)
    for kind in kinds:
        (folder / f"{folder.name}{joint}{kind}{ending}").touch()
    return folder


def real_subject(folder: Path, labels: Sequence[int] = (0, 1, 2, 4), *, affine: np.ndarray = LPS) -> Subject:
    """A subject of 2x2x1 voxels, t1ce and seg."""
    subject(folder, ())
    image = np.arange(4, dtype=np.int16).reshape(2, 2, 1)
    nibabel.save(nibabel.Nifti1Image(image, LPS), folder / f"{folder.name}_t1ce.nii.gz")
    mask = np.array(labels, np.uint8).reshape(-1, 2, 1)
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / f"{folder.name}_seg.nii.gz")
    (found,) = find_subjects(folder)
    return found


def text_of(call: object, *args: object, error: type[MedsamError] = DataError, **options: object) -> str:
    with pytest.raises(error) as caught:
        call(*args, **options)  # type: ignore[operator]
    return str(caught.value)


def ids(root: Path) -> list[str]:
    return [found.id for found in find_subjects(root)]


# layouts


@pytest.mark.parametrize(
    ("name", "kinds", "joint", "layout", "convention"),
    [
        ("Brats18_CBICA_AAB_1", CLASSIC, "_", "brats2018", "brats2019"),
        ("BraTS19_CBICA_AAB_1", CLASSIC, "_", "brats2019", "brats2019"),
        ("BraTS20_Training_001", CLASSIC, "_", "brats2020", "brats2019"),
        ("BraTS2021_00000", CLASSIC, "_", "brats2021", "brats2019"),
        ("BraTS-GLI-00000-000", MODERN, "-", "brats2023", "brats2023"),
        ("BraTS-GLI-02062-100", MODERN, "-", "brats2023", "brats2024"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_each_layout_is_recognised(
    tmp_path: Path, name: str, kinds: Sequence[str], joint: str, layout: str, convention: str, ending: str
) -> None:
    folder = subject(tmp_path / name, kinds, joint=joint, ending=ending)
    (found,) = find_subjects(tmp_path)
    assert (found.id, found.layout, found.convention) == (name, layout, convention)
    names = dict(zip(("t1", "t1ce", "t2", "flair"), kinds, strict=False))
    assert {kind: image.path for kind, image in found.images.items()} == {
        kind: folder / f"{name}{joint}{suffix}{ending}" for kind, suffix in names.items()
    }
    assert found.segmentation == folder / f"{name}{joint}seg{ending}"
    assert found.notes == ()


def test_grades_come_from_the_folders_and_sites_from_the_ids(tmp_path: Path) -> None:
    subject(tmp_path / "HGG" / "Brats18_CBICA_AAB_1")
    subject(tmp_path / "LGG" / "Brats18_TCIA09_141_1")
    assert [(s.id, s.grade, s.site) for s in find_subjects(tmp_path)] == [
        ("Brats18_CBICA_AAB_1", "HGG", "CBICA"),
        ("Brats18_TCIA09_141_1", "LGG", "TCIA09"),
    ]
    assert find_subjects(tmp_path / "LGG")[0].grade == "LGG"
    assert find_subjects(tmp_path / "HGG" / "Brats18_CBICA_AAB_1")[0].grade == "HGG"


HEADER = "Grade,BraTS_2017_subject_ID,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID"


def test_grades_and_sites_come_from_the_table_of_2020(tmp_path: Path) -> None:
    root = tmp_path / "BraTS2020_TrainingData" / "MICCAI_BraTS2020_TrainingData"
    for number in (1, 2, 3):
        subject(root / f"BraTS20_Training_00{number}")
    (root / "name_mapping.csv").write_text(
        f"{HEADER},BraTS_2020_subject_ID\n"
        "HGG,Brats17_CBICA_AAB_1,Brats18_CBICA_AAB_1,NA,BraTS19_CBICA_AAB_1,BraTS20_Training_001\n"
        "LGG,NA,NA,NA,BraTS19_TMC_06290_1,BraTS20_Training_002\n"
    )
    expected = [("HGG", "CBICA"), ("LGG", "TMC"), (None, None)]
    for start in (tmp_path, root.parent, root):
        assert [(s.grade, s.site) for s in find_subjects(start)] == expected
    (alone,) = find_subjects(root / "BraTS20_Training_002")
    assert (alone.grade, alone.site) == ("LGG", "TMC")


def test_grades_come_from_the_table_of_2019(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS19_CBICA_AAB_1")
    (tmp_path / "name_mapping.csv").write_text(
        f"{HEADER}\r\nHGG,Brats17_CBICA_AAB_1,Brats18_CBICA_AAB_1,NA,BraTS19_CBICA_AAB_1\r\n"
    )
    assert find_subjects(tmp_path)[0].grade == "HGG"


def test_the_folder_s_grade_stands_where_the_table_has_none(tmp_path: Path) -> None:
    subject(tmp_path / "LGG" / "BraTS19_TMC_06290_1")
    (tmp_path / "name_mapping.csv").write_text(f"{HEADER}\nNA,NA,NA,NA,BraTS19_TMC_06290_1\n")
    assert find_subjects(tmp_path)[0].grade == "LGG"


def test_a_table_with_other_columns_is_no_obstacle(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS20_Validation_001")
    (tmp_path / "name_mapping_validation_data.csv").write_bytes(b"\xef\xbb\xbfID;Age\n\xff;3,4,5\n")
    assert find_subjects(tmp_path)[0].grade is None


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS20_Validation_001")
    (tmp_path / "name_mapping.csv").write_text("Grade\n" + "x" * 200_000)
    assert text_of(find_subjects, tmp_path) == (
        f"{tmp_path / 'name_mapping.csv'}: not readable as a table (field larger than field limit (131072)), "
        "expected CSV; repair it."
    )


def test_case_355_and_its_segmentation(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS20_Training_355", CLASSIC[:4], ending=".nii")
    (folder / "W39_1998.09.19_Segm.nii").touch()
    (found,) = find_subjects(tmp_path)
    assert found.segmentation == folder / "W39_1998.09.19_Segm.nii"
    assert found.notes == ("W39_1998.09.19_Segm.nii is used as the segmentation, although its name does not say so.",)


def test_a_prediction_next_to_the_images_is_not_the_segmentation(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS20_Training_001", CLASSIC[:4])
    (folder / "BraTS20_Training_001_model_seg.nii.gz").touch()
    assert find_subjects(tmp_path)[0].segmentation is None


@pytest.mark.parametrize("inner", ["BraTS20_Training_001_{}.nii", "00000057_brain_{}.nii"])
def test_files_in_folders_of_their_own_name(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / "BraTS20_Training_001"
    for kind in CLASSIC:
        nest = folder / f"BraTS20_Training_001_{kind}.nii"
        nest.mkdir(parents=True)
        (nest / inner.format(kind)).touch()
    (found,) = find_subjects(tmp_path)
    assert found.id == "BraTS20_Training_001"
    assert list(found.images) == ["t1ce", "t1", "t2", "flair"]
    assert found.segmentation == folder / "BraTS20_Training_001_seg.nii" / inner.format("seg")


def test_a_folder_called_like_a_file_that_holds_several(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS20_Training_001", CLASSIC[:4])
    nest = folder / "BraTS20_Training_001_seg.nii"
    nest.mkdir()
    assert find_subjects(tmp_path)[0].segmentation is None
    for name in ("b.nii", "a.nii"):
        (nest / name).touch()
    assert text_of(find_subjects, tmp_path) == (
        f"{nest}: 2 files in it (a.nii, b.nii), expected one; move the others elsewhere."
    )
    (nest / nest.name).touch()
    assert find_subjects(tmp_path)[0].segmentation == nest / nest.name


def test_suffixes_in_mixed_case(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS-SSA-00007-000", ("T1N", "t1C", "t2W", "t2F", "Seg"), joint="-")
    (found,) = find_subjects(tmp_path)
    assert list(found.images) == ["t1ce", "t1", "t2", "flair"]
    assert found.segmentation is not None


def test_a_subject_with_two_modalities(tmp_path: Path) -> None:
    subject(tmp_path / "Brats18_2013_3_1", ("t1ce", "flair", "seg"))
    assert list(find_subjects(tmp_path)[0].images) == ["t1ce", "flair"]


def test_a_name_that_says_nothing_gets_no_convention(tmp_path: Path) -> None:
    found = real_subject(tmp_path / "case7")
    assert (found.layout, found.convention) == ("unknown", None)
    assert "neither its name nor a dataset.json says what the labels mean, expected a label convention" in text_of(
        load, found, "t1ce", error=LabelError
    )
    assert load(found, "t1ce", convention="brats2019").convention.name == "brats2019"
    assert load(found, "t1ce", convention="1=core,2=oedema,4=enhancing").convention.regions["ET"] == {4}


def test_files_named_by_modality_alone_take_the_folder_s_name(tmp_path: Path) -> None:
    (tmp_path / "case7").mkdir()
    for kind in CLASSIC:
        (tmp_path / "case7" / f"{kind}.nii.gz").touch()
    assert ids(tmp_path) == ["case7"]


def test_subjects_side_by_side_in_one_folder(tmp_path: Path) -> None:
    for name in ("BraTS-GLI-00002-000", "BraTS-GLI-00000-000"):
        for kind in MODERN:
            (tmp_path / f"{name}-{kind}.nii.gz").touch()
    assert ids(tmp_path) == ["BraTS-GLI-00000-000", "BraTS-GLI-00002-000"]
    assert all(len(s.images) == 4 and s.segmentation for s in find_subjects(tmp_path))


def test_an_odd_segmentation_among_several_subjects_belongs_to_none(tmp_path: Path) -> None:
    for name in ("BraTS20_Training_354", "BraTS20_Training_355"):
        (tmp_path / f"{name}_t1ce.nii").touch()
    (tmp_path / "W39_1998.09.19_Segm.nii").touch()
    assert text_of(find_subjects, tmp_path).startswith(
        "W39_1998.09.19_Segm.nii (an image that its name does not explain): no image in 1 place next to 2 subjects"
    )


def test_a_stray_file_next_to_the_subjects_hides_none(tmp_path: Path) -> None:
    (tmp_path / "template_t1.nii.gz").touch()
    subject(tmp_path / "BraTS2021_00000")
    assert ids(tmp_path) == ["BraTS2021_00000", "template"]


def test_hidden_files_and_resource_forks_are_ignored(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS2021_00000")
    (folder / "._BraTS2021_00000_t1ce.nii.gz").touch()
    subject(tmp_path / "__MACOSX" / "BraTS2021_00000")
    assert ids(tmp_path) == ["BraTS2021_00000"]


def test_both_packed_and_unpacked(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS2021_00000")
    (folder / "BraTS2021_00000_t1ce.nii").touch()
    (found,) = find_subjects(tmp_path)
    assert found.images["t1ce"].path.name == "BraTS2021_00000_t1ce.nii.gz"
    assert found.notes == ("BraTS2021_00000_t1ce.nii.gz is used, not BraTS2021_00000_t1ce.nii.",)


def test_two_files_for_one_modality(tmp_path: Path) -> None:
    folder = subject(tmp_path / "BraTS2021_00000")
    (folder / "BraTS2021_00000_t1gd.nii.gz").touch()
    assert text_of(find_subjects, tmp_path) == (
        "BraTS2021_00000: 2 files for t1ce (BraTS2021_00000_t1ce.nii.gz, BraTS2021_00000_t1gd.nii.gz), expected one; "
        "move the others elsewhere."
    )


@pytest.mark.parametrize("start", ["", "Task01_BrainTumour", "Task01_BrainTumour/imagesTr"])
def test_the_decathlon(tmp_path: Path, start: str) -> None:
    task = tmp_path / "Task01_BrainTumour"
    for name in ("imagesTr/BRATS_001", "imagesTr/BRATS_002", "imagesTr/._BRATS_001", "imagesTs/BRATS_485"):
        (task / name).parent.mkdir(parents=True, exist_ok=True)
        (task / f"{name}.nii.gz").touch()
    (task / "labelsTr").mkdir()
    (task / "labelsTr" / "BRATS_001.nii.gz").touch()
    first, second = find_subjects(tmp_path / start)
    assert (first.id, first.layout, first.convention) == ("BRATS_001", "msd", "msd")
    assert {kind: image.channel for kind, image in first.images.items()} == {"flair": 0, "t1": 1, "t1ce": 2, "t2": 3}
    assert first.segmentation == task / "labelsTr" / "BRATS_001.nii.gz"
    assert (second.id, second.segmentation) == ("BRATS_002", None)


def test_the_decathlon_is_loaded_by_channel(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    image = np.arange(16, dtype=np.float32).reshape(2, 2, 1, 4)
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    mask = np.array([0, 1, 2, 3], np.uint8).reshape(2, 2, 1)
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "labelsTr" / "BRATS_001.nii.gz")
    loaded = load(find_subjects(tmp_path)[0], "t1c")
    # from RAS to LPS turns both axes of the slice
    assert loaded.image.voxels.tolist() == [[[14, 6], [10, 2]]]
    assert region_masks(loaded.labels.voxels, loaded.convention)["TC"].tolist() == [[[True, False], [True, False]]]


def test_a_pediatric_cohort_goes_by_its_release(tmp_path: Path) -> None:
    for folder in ("ASNR-MICCAI-BraTS2023-PED-Challenge-TrainingData", "BraTS-PEDs2024_Training"):
        subject(tmp_path / folder / "BraTS-PED-00002-000", MODERN, joint="-")
    conventions = [find_subjects(folder)[0].convention for folder in sorted(tmp_path.iterdir())]
    assert conventions == ["brats2023", "brats2024-ped"]


def test_a_pediatric_subject_without_a_release_needs_a_name(tmp_path: Path) -> None:
    found = real_subject(tmp_path / "BraTS-PED-00002-000", (0, 1, 2, 4))
    assert found.convention is None
    assert text_of(load, found, "t1ce", error=LabelError) == (
        "BraTS-PED-00002-000: neither its name nor a dataset.json says what the labels mean (BraTS-PED uses brats2023 "
        "in its 2023 release, brats2024-ped since), expected a label convention; name it with --medsam-labels "
        "(brats2019, brats2023, brats2024, brats2024-ped, msd, brats-men-rt, hd-glio)."
    )
    assert load(found, "t1ce", convention="brats2024-ped").convention.name == "brats2024-ped"


# roots


def test_one_subject_s_own_folder(tmp_path: Path) -> None:
    assert ids(subject(tmp_path / "BraTS2021_00000")) == ["BraTS2021_00000"]


def test_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject(tmp_path / "HGG" / "Brats18_2013_3_1")
    monkeypatch.chdir(tmp_path / "HGG")
    (found,) = find_subjects(".")
    assert (found.id, found.grade) == ("Brats18_2013_3_1", "HGG")
    assert found.images["t1"].path.is_absolute()


def test_subjects_are_sorted(tmp_path: Path) -> None:
    for name in ("BraTS2021_00010", "BraTS2021_00002", "BraTS2021_00009"):
        subject(tmp_path / name)
    assert ids(tmp_path) == ["BraTS2021_00002", "BraTS2021_00009", "BraTS2021_00010"]


def test_subjects_travel_between_processes(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS2021_00000")
    (found,) = find_subjects(tmp_path)
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(find_subjects(tmp_path)[0])


def test_a_whole_cohort_is_found_without_opening_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1251):
        subject(tmp_path / f"BraTS2021_{number:05d}")

    def refuse(path: object, *_: object, **__: object) -> None:
        raise AssertionError(f"{path} was opened")

    with monkeypatch.context() as closed:
        for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (nibabel, "load")):
            closed.setattr(module, name, refuse)
        found = find_subjects(tmp_path)
    assert len(found) == 1251


def test_missing_root(tmp_path: Path) -> None:
    assert text_of(find_subjects, tmp_path / "gone") == (
        f"{tmp_path / 'gone'}: no such folder, expected a folder of BraTS subjects or the like; check the path."
    )


def test_a_file_as_root(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    assert text_of(find_subjects, tmp_path / "a.zip") == (
        f"{tmp_path / 'a.zip'}: a file, expected a folder of BraTS subjects or the like; check the path."
    )


LAYOUTS = (
    "BraTS 2018-2025, UCSF-PDGM, UCSD-PTGBM, RHUH-GBM, UPENN-GBM or LUMIERE as released, BIDS, or imagesTr of the "
    "decathlon or nnU-Net with its dataset.json (such as BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz; docs/data.md "
    "lists all)"
)


def test_empty_root(tmp_path: Path) -> None:
    assert text_of(find_subjects, tmp_path) == (
        f"{tmp_path}: an empty folder, expected subjects as in {LAYOUTS}; check the path."
    )


def test_a_root_without_a_subject_says_what_is_there(tmp_path: Path) -> None:
    for name in ("d.dcm", "c.dcm", "b.dcm", "a.dcm"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    assert text_of(find_subjects, tmp_path) == (
        f"{tmp_path}: no subject among 1 folder (sub) and 4 files (a.dcm, b.dcm, c.dcm and 1 more), "
        f"expected subjects as in {LAYOUTS}; a.dcm is a DICOM file: convert its series to .nii.gz, e.g. with dcm2niix."
    )


def test_segmentations_alone_are_no_subjects(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS2021_00000", ("seg",))
    assert "no subject among 1 folder (BraTS2021_00000), expected" in text_of(find_subjects, tmp_path)


def test_one_id_in_two_folders(tmp_path: Path) -> None:
    one, two = (subject(tmp_path / name / "BraTS2021_00000") for name in ("a", "b"))
    assert text_of(find_subjects, tmp_path) == (
        f"BraTS2021_00000: found twice, in {one} and in {two}, expected once; give a root with one of them."
    )


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    if os.access(tmp_path / "shut", os.R_OK):
        pytest.skip("this user may list every folder")
    assert text_of(find_subjects, tmp_path) == (
        f"{tmp_path / 'shut'}: not readable (Permission denied), expected a folder; check its permissions."
    )


# what a run asks of its subjects


def test_a_missing_modality_names_the_subjects(tmp_path: Path) -> None:
    for number in range(7):
        subject(tmp_path / f"Brats18_2013_{number}_1", ("t1ce", "flair", "seg"))
    subject(tmp_path / "Brats18_2013_7_1")
    found = find_subjects(tmp_path)
    check_subjects(found, "t1ce")
    assert text_of(check_subjects, found, "t2") == (
        "Brats18_2013_0_1, Brats18_2013_1_1, Brats18_2013_2_1, Brats18_2013_3_1, Brats18_2013_4_1 and 2 more: "
        "no t2 image in 7 of 8 subjects, expected one in each; add the files or choose t1ce or flair, which all have."
    )


def test_no_common_modality(tmp_path: Path) -> None:
    subject(tmp_path / "a", ("t1", "seg"))
    subject(tmp_path / "b", ("t2", "seg"))
    assert text_of(check_subjects, find_subjects(tmp_path), "t1") == (
        "b: no t1 image in 1 of 2 subjects, expected one in each; add the files or leave these subjects out."
    )


def test_a_missing_segmentation_names_the_subjects(tmp_path: Path) -> None:
    subject(tmp_path / "BraTS2021_00000")
    subject(tmp_path / "BraTS2021_00001", CLASSIC[:4])
    found = find_subjects(tmp_path)
    expected = "no segmentation in {} subjects, expected one in each; add the files or leave these subjects out."
    assert text_of(check_subjects, found, "t1ce") == f"BraTS2021_00001: {expected.format('1 of 2')}"
    assert text_of(load, found[1], "t1ce") == f"BraTS2021_00001: {expected.format('1 of 1')}"


def test_an_unknown_modality(tmp_path: Path) -> None:
    found = real_subject(tmp_path / "BraTS2021_00000")
    assert text_of(load, found, "pet", error=OptionError).startswith("modality 'pet': unknown")


# loading


def test_a_subject_is_loaded_with_its_convention(tmp_path: Path) -> None:
    loaded = load(real_subject(tmp_path / "BraTS2021_00000"), "T1ce")
    assert loaded.modality == "t1ce"
    assert loaded.convention.name == "brats2019"
    assert loaded.image.voxels.tolist() == [[[0, 2], [1, 3]]]
    assert loaded.labels.voxels.tolist() == [[[0, 2], [1, 4]]]


def test_the_convention_can_be_overridden(tmp_path: Path) -> None:
    found = real_subject(tmp_path / "BraTS2021_00000", (0, 1, 2, 3))
    assert text_of(load, found, "t1ce", error=LabelError) == (
        "BraTS2021_00000_seg.nii.gz: unknown label 3, expected the values of convention brats2019 "
        "(1 necrotic and non-enhancing core, 2 oedema, 4 enhancing tumour); "
        "if its labels follow brats2023 or msd, give that with --labels (in pytest --medsam-labels)."
    )
    assert load(found, "t1ce", convention="brats2023").convention.name == "brats2023"
    assert "label convention 'brats': unknown" in text_of(load, found, "t1ce", convention="brats", error=OptionError)


def test_a_segmentation_of_another_shape(tmp_path: Path) -> None:
    found = real_subject(tmp_path / "BraTS2021_00000", (0, 1, 2, 4, 0, 0))
    assert text_of(load, found, "t1ce") == (
        "BraTS2021_00000_seg.nii.gz: shape (3, 2, 1), expected (2, 2, 1) as in BraTS2021_00000_t1ce.nii.gz; "
        "its header has no position, so it cannot be resampled: export it again on the image's grid."
    )


def test_a_segmentation_at_another_position(tmp_path: Path) -> None:
    moved = LPS.copy()
    moved[2, 3] = 5
    found = real_subject(tmp_path / "BraTS2021_00000", affine=moved)
    assert text_of(load, found, "t1ce") == (
        "BraTS2021_00000_t1ce.nii.gz: no position in its header, expected that of BraTS2021_00000_seg.nii.gz, which "
        "has the same shape; copy the header of BraTS2021_00000_seg.nii.gz into it if both have the same voxels, and "
        "do not resample."
    )


# real subjects


@pytest.fixture(scope="module")
def real() -> dict[str, Subject]:
    if not REAL.is_dir():
        pytest.skip(f"needs the real cases in {REAL}")
    return {found.id: found for found in find_subjects(REAL)}


def test_real_subjects_are_found(real: dict[str, Subject]) -> None:
    assert list(real) == [
        "Brats15_2013_pat0001_1",
        "Brats15_2013_pat0002_1",
        "Brats15_2013_pat0005_1",
        "Brats18_2013_21_1",
    ]
    assert {(found.grade, found.site, found.convention) for found in real.values()} == {("HGG", "2013", "brats2019")}
    assert [len(found.images) for found in real.values()] == [2, 2, 2, 4]
    assert text_of(check_subjects, real.values(), "t2").startswith(
        "Brats15_2013_pat0001_1, Brats15_2013_pat0002_1, Brats15_2013_pat0005_1: no t2 image in 3 of 4 subjects"
    )


def test_a_real_subject_has_the_regions_that_its_readme_states(real: dict[str, Subject]) -> None:
    loaded = load(real["Brats18_2013_21_1"], "t1ce")
    assert loaded.image.shape == (155, 240, 240)
    assert loaded.image.spacing_mm == (1.0, 1.0, 1.0)
    stated = {"WT": (120_674, 60, 132, 95), "TC": (75_471, 64, 124, 88), "ET": (17_816, 64, 104, 73)}
    for region, mask in region_masks(loaded.labels.voxels, loaded.convention).items():
        area = mask.sum(axis=(1, 2))
        slices = np.flatnonzero(area)
        assert (int(area.sum()), int(slices[0]), int(slices[-1]), int(area.argmax())) == stated[region]


def test_a_real_image_may_have_negative_background(real: dict[str, Subject]) -> None:
    assert read_image(real["Brats15_2013_pat0001_1"].images["flair"].path).voxels.min() < 0


def test_real_labels_are_already_whole(real: dict[str, Subject]) -> None:
    segmentation = real["Brats15_2013_pat0002_1"].segmentation
    assert segmentation is not None
    assert np.unique(read_labels(segmentation).voxels).tolist() == [0, 1, 2, 4]


# three sequences as colours


def three(folder: Path, *, t2: np.ndarray | None = None, affine: np.ndarray | None = None) -> Subject:
    """A subject of 2x2x1 voxels with t1ce, t2, flair and seg at a position. t2: (x, y, z); affine: of t2."""
    subject(folder, ())
    at = LPS.copy()
    at[0, 3] = 7
    t1ce = np.arange(4, dtype=np.int16).reshape(2, 2, 1)
    voxels = {"t1ce": t1ce, "t2": t1ce * 2 if t2 is None else t2, "flair": t1ce * 3, "seg": t1ce.astype(np.uint8) % 3}
    for name, array in voxels.items():
        own = affine if name == "t2" and affine is not None else at
        nibabel.save(nibabel.Nifti1Image(array, own), folder / f"{folder.name}_{name}.nii.gz")
    (found,) = find_subjects(folder)
    return found


def test_three_sequences_are_loaded_in_their_order(tmp_path: Path) -> None:
    found = three(tmp_path / "BraTS2021_00000")
    loaded = load(found, "t2+T1Gd+t2f")
    assert loaded.modality == "t2+t1ce+flair"
    assert [one.tolist() for one in loaded.image.channels] == [
        [[[0, 4], [2, 6]]],
        [[[0, 2], [1, 3]]],
        [[[0, 6], [3, 9]]],
    ]
    assert loaded.image.voxels is loaded.image.channels[0]
    assert load(found, "t1ce").image.channels == ()


def test_sequences_on_other_grids_are_refused(tmp_path: Path) -> None:
    large = np.arange(6, dtype=np.int16).reshape(3, 2, 1)
    assert text_of(load, three(tmp_path / "BraTS2021_00000", t2=large), "t1ce+t2+flair") == (
        "BraTS2021_00000_t2.nii.gz: shape (3, 2, 1), expected (2, 2, 1) as in BraTS2021_00000_t1ce.nii.gz, because "
        "they are colours of one image; register BraTS2021_00000_t2.nii.gz to BraTS2021_00000_t1ce.nii.gz and resample "
        "it onto its grid, or give a single --medsam-modality."
    )
    moved = LPS.copy()
    moved[0, 3] = 12
    other = three(tmp_path / "BraTS2021_00001", affine=moved)
    assert text_of(load, other, "t1ce+t2+flair").startswith(
        "BraTS2021_00001_t2.nii.gz: affine differs from that of BraTS2021_00001_t1ce.nii.gz by 5, expected at most "
        "0.001 in each entry, because they are colours of one image; register"
    )
    assert load(other, "flair").image.channels == (), "alone each is used"


def test_a_sequence_in_another_orientation_is_on_the_same_grid(tmp_path: Path) -> None:
    turned = np.diag([1.0, -1.0, 1.0, 1.0])
    turned[0, 3] = 6  # the first axis is turned: its voxel 0 is where the others have voxel 1
    t2 = np.arange(4, dtype=np.int16).reshape(2, 2, 1)[::-1]
    loaded = load(three(tmp_path / "BraTS2021_00000", t2=t2, affine=turned), "t1ce+t2+flair")
    assert np.array_equal(*loaded.image.channels[:2])


def test_a_sequence_of_three_that_is_missing_is_named(tmp_path: Path) -> None:
    found = three(tmp_path / "BraTS2021_00000")
    wanted = "BraTS2021_00000: no t1 image in 1 of 1 subjects, expected one in each; add the files or choose t1ce or "
    assert text_of(check_subjects, [found], "t1ce+t1+flair").startswith(wanted)
    assert text_of(load, found, "flair+t2+t1").startswith(wanted)


@pytest.mark.parametrize(
    ("modality", "text"),
    [
        ("t1ce+flair", "got 2 sequences, expected 1, or 3 as red, green and blue"),
        ("t1+t1ce+t2+flair", "got 4 sequences, expected 1, or 3"),
        ("t1gd+t1c+flair", "got t1ce 2 times, expected each sequence once"),
        ("t1ce+pet+flair", "got the unknown sequence 'pet', expected each of t1ce, t1, t2, flair"),
        ("t1ce++flair", "got the unknown sequence '', expected each of"),
    ],
)
def test_what_is_no_image_of_three_sequences(modality: str, text: str, tmp_path: Path) -> None:
    found = three(tmp_path / "BraTS2021_00000")
    assert text in text_of(load, found, modality, error=OptionError)
    assert text in text_of(check_subjects, [found], modality, error=OptionError)
