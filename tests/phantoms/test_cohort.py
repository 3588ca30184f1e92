from __future__ import annotations

import functools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from medsam_core.data.cohort import find_subjects
from medsam_core.errors import DataError, OptionError
from medsam_core.modalities import MODALITIES
from medsam_core.phantoms import cohort as phantom
from medsam_core.phantoms.anatomy import grow
from medsam_core.phantoms.cohort import Phantom, subject, synthesise, write_cohort
from medsam_core.phantoms.contrast import paint
from medsam_core.phantoms.head import GREY, VENTRICLE, WHITE

SMALL = (20, 28, 24)


@functools.cache
def made(seed: int, index: int, size: tuple[int, int, int]) -> Phantom:
    return subject(seed, index, size)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """write_cohort without making the same subject again, where the test is about files."""
    monkeypatch.setattr(phantom, "subject", made)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "subject", made)
        write_cohort(root, subjects=6, size=SMALL, seed=7)
    return root


@pytest.fixture(scope="module")
def painted() -> list[Phantom]:
    return [synthesise(seed, (48, 80, 80), kind="ring", foci=1) for seed in (3,)]


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_folder_is_a_brats_folder(cohort: Path) -> None:
    subjects = find_subjects(cohort)
    assert [s.id for s in subjects] == [f"Phantom_s7_{k:04d}" for k in range(6)]
    assert all(set(s.images) == set(MODALITIES) and s.segmentation is not None for s in subjects)
    assert {s.convention for s in subjects} == {"brats2019"}


def test_files_are_as_brats_writes_them(cohort: Path) -> None:
    name = "Phantom_s7_0000"
    image, labels = (nib.load(cohort / name / f"{name}_{part}.nii.gz") for part in ("flair", "seg"))
    dz, dy, dx = 155 / 20, 240 / 28, 240 / 24
    expected = [[-dx, 0, 0, 0], [0, -dy, 0, 27 * dy], [0, 0, dz, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(image.affine, expected, atol=1e-4)
    np.testing.assert_array_equal(labels.affine, image.affine)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert (image.get_data_dtype(), labels.get_data_dtype()) == (np.int16, np.uint8)
    assert image.shape == (24, 28, 20)
    np.testing.assert_array_equal(voxels(cohort / name / f"{name}_seg.nii.gz"), made(7, 0, SMALL).labels)


def test_six_subjects_hold_a_multifocal_and_a_no_et_case(cohort: Path) -> None:
    labels = [voxels(cohort / s.id / f"{s.id}_seg.nii.gz") for s in find_subjects(cohort)]
    assert all(set(np.unique(one)) <= {0, 1, 2, 4} and (one > 0).any() for one in labels)
    assert [not (one == 4).any() for one in labels][4]
    assert (labels[0] == 4).any()
    parts, count = ndimage.label(np.isin(made(7, 2, (48, 80, 80)).labels, (1, 4)), np.ones((3, 3, 3)))
    assert count >= 2
    assert np.sort(np.bincount(parts.ravel())[1:])[-2] > 10


def test_background_is_0_in_all_modalities_alike_and_tissue_is_not(painted: list[Phantom]) -> None:
    for one in painted:
        inside = one.images["t1"] > 0
        assert 0.08 < inside.mean() < 0.3
        assert not inside[:, :, :8].any()
        for modality in MODALITIES:
            assert one.images[modality].dtype == np.int16
            assert one.images[modality].min() == 0
            np.testing.assert_array_equal(one.images[modality] > 0, inside)
        assert inside[one.labels > 0].all()


def test_a_modality_is_the_same_without_the_others(painted: list[Phantom]) -> None:
    alone = paint(grow(3, (48, 80, 80), kind="ring", foci=1), 3, ("flair",)).images
    assert list(alone) == ["flair"]
    np.testing.assert_array_equal(alone["flair"], painted[0].images["flair"])


def test_contrasts_are_those_of_mri(painted: list[Phantom]) -> None:
    for one in painted:
        healthy = (one.labels == 0) & (one.images["t1"] > 0)
        masks = {name: healthy & (one.anatomy.tissues == t) for name, t in (("grey", GREY), ("white", WHITE))}
        masks["ventricle"] = ndimage.binary_erosion(one.anatomy.tissues == VENTRICLE)
        masks |= {"core": one.labels == 1, "oedema": one.labels == 2, "rim": one.labels == 4}
        m = {
            modality: {name: float(np.median(image[mask])) for name, mask in masks.items()}
            for modality, image in one.images.items()
        }
        assert m["t1"]["ventricle"] < m["t1"]["grey"] < m["t1"]["white"]
        assert m["t1"]["oedema"] < m["t1"]["white"]
        assert m["t2"]["white"] < m["t2"]["grey"] < m["t2"]["oedema"] < m["t2"]["ventricle"]
        assert m["flair"]["ventricle"] < 0.6 * m["flair"]["white"]
        assert m["flair"]["oedema"] > 1.15 * m["flair"]["grey"]
        assert m["t1ce"]["core"] < m["t1ce"]["white"] < m["t1ce"]["rim"]
        assert m["t1ce"]["rim"] > 1.1 * m["t1"]["rim"] / m["t1"]["white"] * m["t1ce"]["white"]


def test_the_tumour_cannot_be_had_by_a_threshold(painted: list[Phantom]) -> None:
    for one in painted:
        flair, healthy = one.images["flair"], (one.labels == 0) & (one.images["t1"] > 0)
        dim = np.percentile(flair[one.labels == 2], 10)
        assert (flair[healthy] > dim).sum() > 0.02 * (one.labels > 0).sum()
        t1ce = one.images["t1ce"]  # vessels are as bright as a rim
        assert (t1ce[healthy] > np.median(t1ce[one.labels == 4])).sum() > 5


def test_the_same_seed_writes_the_same_bytes_and_a_prefix_agrees(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path, subjects=2, size=SMALL, seed=7)
    whole = files(cohort)
    assert all(whole[name] == data for name, data in files(tmp_path).items())
    assert len(files(tmp_path)) == 10


def test_other_seeds_and_plain_ints_give_other_heads() -> None:
    labels = made(7, 0, SMALL).labels
    assert (labels != made(8, 0, SMALL).labels).any()
    assert (labels != made(7, 1, SMALL).labels).any()
    assert (labels != synthesise(7, SMALL).labels).any()


@pytest.mark.usefixtures("quick")
def test_complete_subjects_are_kept_and_damaged_ones_rewritten(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cohort(tmp_path, subjects=2, size=SMALL, seed=7)
    (tmp_path / "Phantom_s7_0001" / "Phantom_s7_0001_t2.nii.gz").unlink()
    (tmp_path / "Phantom_s7_0001" / "note.txt").write_text("mine")
    asked: list[int] = []

    def counting(seed: int, index: int, size: tuple[int, int, int]) -> Phantom:
        asked.append(index)
        return made(seed, index, size)

    monkeypatch.setattr(phantom, "subject", counting)
    write_cohort(tmp_path, subjects=2, size=SMALL, seed=7)
    assert asked == [1]
    got = files(tmp_path)
    assert got.pop("Phantom_s7_0001/note.txt") == b"mine"
    assert all(files(cohort)[name] == data for name, data in got.items())


@pytest.mark.usefixtures("quick")
def test_cohorts_of_another_generator_are_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cohort(tmp_path, subjects=1, size=SMALL, seed=7)
    monkeypatch.setattr(phantom, "GENERATOR", "medsam-core phantom 999")
    write_cohort(tmp_path, subjects=1, size=SMALL, seed=7)
    header = nib.load(tmp_path / "Phantom_s7_0000" / "Phantom_s7_0000_seg.nii.gz").header
    assert bytes(header["descrip"]).rstrip(b"\0") == b"medsam-core phantom 999"


@pytest.mark.usefixtures("quick")
def test_a_subject_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = phantom.nifti_bytes

    def failing(*args: object, **more: object) -> bytes:
        calls.append(1)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(phantom, "nifti_bytes", failing)
    with pytest.raises(DataError, match=r"^phantom root .*No space left on device.*; choose another"):
        write_cohort(tmp_path, subjects=1, size=SMALL, seed=7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    ids = write_cohort(tmp_path, subjects=2, size=SMALL, seed=7, progress=lambda *a: seen.append(a))
    assert ids == ("Phantom_s7_0000", "Phantom_s7_0001")
    assert seen == [(1, 2, ids[0]), (2, 2, ids[1])]


@pytest.mark.usefixtures("quick")
def test_another_size_in_the_same_folder_is_refused(cohort: Path) -> None:
    with pytest.raises(DataError, match=r"a phantom of \(20, 28, 24\) voxels, expected \(16, 16, 16\); choose another"):
        write_cohort(cohort, subjects=1, size=(16, 16, 16), seed=7)


def test_unusable_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = tmp_path / "new"
    with pytest.raises(OptionError, match=r"^phantom subjects: got 0, expected a whole number ≥ 1; "):
        write_cohort(root, subjects=0)
    with pytest.raises(
        OptionError, match=r"^phantom size: got \(8, 64, 64\), expected three whole numbers of at least 16"
    ):
        write_cohort(root, subjects=1, size=(8, 64, 64))
    with pytest.raises(OptionError, match=r"^phantom seed: got -3, expected a whole number ≥ 0; "):
        write_cohort(root, subjects=1, size=SMALL, seed=-3)
    assert not root.exists()


@pytest.mark.usefixtures("quick")
def test_an_unwritable_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^phantom root .*file.*: cannot be written .*; choose another"):
        write_cohort(tmp_path / "file" / "cohort", subjects=1, size=SMALL)
