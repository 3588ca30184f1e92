"""The varied cohort: what each phantom's files are like, and that readers see the same head in all of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medsam_core.data.cohort import LoadedSubject, find_subjects, load
from medsam_core.data.regions import region_mask
from medsam_core.errors import DataError
from medsam_core.phantoms import cohort as phantom
from medsam_core.phantoms import forms
from medsam_core.phantoms.cohort import subject, write_cohort
from medsam_core.phantoms.forms import VARIED, Form

SMALL = (20, 28, 24)
SEED = 19


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`written(form)` writes the varied cohort with this form alone and returns what `load` reads."""

    def write(form: Form) -> LoadedSubject:
        monkeypatch.setattr(forms, "VARIED", (form,))
        write_cohort(tmp_path, subjects=1, size=None, seed=SEED)
        (found,) = find_subjects(tmp_path)
        return load(found, "t1ce")

    return write


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedSubject]:
    """The cohort of the default gate, in the order of VARIED."""
    root = tmp_path_factory.mktemp("varied")
    ids = write_cohort(root, subjects=6, size=None, seed=SEED)
    found = {one.id: one for one in find_subjects(root)}
    assert set(found) == set(ids)
    return [load(found[name], "t1ce") for name in ids]


def whole(loaded: LoadedSubject) -> np.ndarray:
    return region_mask(loaded.labels.voxels, "WT", loaded.convention)


def key_slice(loaded: LoadedSubject) -> int:
    return int(whole(loaded).sum((1, 2)).argmax())


def test_axes_on_disk_change_the_file_and_not_what_is_read(written, tmp_path):
    loaded = written(Form(0, SMALL, axes="SRA"))
    image = nib.load(tmp_path / "Phantom_s19_0000" / "Phantom_s19_0000_t1ce.nii.gz")
    assert image.shape == (20, 24, 28)
    assert nib.aff2axcodes(image.affine) == ("S", "R", "A")
    expected = subject(SEED, 0, SMALL)
    np.testing.assert_array_equal(loaded.image.voxels, expected.images["t1ce"])
    np.testing.assert_array_equal(loaded.labels.voxels, expected.labels)
    assert loaded.image.spacing_mm == pytest.approx(expected.anatomy.spacing_mm)


def test_the_background_changes_where_there_is_no_brain_and_nowhere_else(written):
    loaded, expected = written(Form(0, SMALL, background=-200)), subject(SEED, 0, SMALL).images["t1ce"]
    np.testing.assert_array_equal(loaded.image.voxels, np.where(expected == 0, -200, expected))


def test_the_form_of_2023_has_its_names_and_its_labels(written, tmp_path):
    loaded = written(Form(0, SMALL, year=2023))
    assert sorted(path.name for path in (tmp_path / "Phantom-s19-0000").iterdir()) == [
        f"Phantom-s19-0000-{kind}.nii.gz" for kind in ("seg", "t1c", "t1n", "t2f", "t2w")
    ]
    assert loaded.convention.name == "brats2023"
    labels, expected = loaded.labels.voxels, subject(SEED, 0, SMALL).labels
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(labels == 3, expected == 4)
    np.testing.assert_array_equal(labels[labels != 3], expected[expected != 4])


@pytest.mark.parametrize("margin", [2, 0, -3])
def test_a_margin_keeps_the_slices_around_the_tumour_where_they_are_in_space(written, margin, tmp_path):
    size = (80, 28, 24)
    loaded, expected = written(Form(0, size, margin=margin)), subject(SEED, 0, size)
    ill = np.flatnonzero(expected.labels.any(axis=(1, 2)))
    first, last = ill[0] - margin, ill[-1] + margin
    np.testing.assert_array_equal(loaded.labels.voxels, expected.labels[first : last + 1])
    np.testing.assert_array_equal(loaded.image.voxels, expected.images["t1ce"][first : last + 1])
    image = nib.load(tmp_path / "Phantom_s19_0000" / "Phantom_s19_0000_t1ce.nii.gz")
    assert image.affine[2, 3] == pytest.approx(first * 155 / 80)


@pytest.mark.parametrize(("margin", "first", "last"), [(-30, 22, 37), (0, 20, 39), (500, 0, 59), (None, 0, 59)])
def test_a_cut_keeps_at_least_16_slices_and_no_more_than_there_are(margin, first, last):
    labels = np.zeros((60, 4, 4), np.uint8)
    labels[20:40] = 1
    kept = range(60)[Form(0, (60, 4, 4), margin=margin).slices(labels)]
    assert (kept[0], kept[-1]) == (first, last)


@pytest.mark.parametrize(
    ("form", "shape", "fitting"),
    [
        (Form(0, (10, 20, 30)), (30, 20, 10), True),
        (Form(0, (10, 20, 30)), (10, 20, 30), False),
        (Form(0, (10, 20, 30)), (30, 20), False),
        (Form(0, (10, 20, 30), axes="SRA"), (10, 30, 20), True),
        (Form(0, (10, 20, 30), axes="SRA"), (30, 20, 10), False),
        (Form(0, (10, 20, 30), margin=1), (30, 20, 7), True),
        (Form(0, (10, 20, 30), margin=1), (30, 19, 10), False),
    ],
)
def test_a_shape_on_disk_fits_a_form(form, shape, fitting):
    assert form.fits(shape) is fitting


@pytest.mark.parametrize("form", [Form(0, SMALL, axes="SRA"), Form(0, SMALL, margin=1), Form(0, SMALL, year=2023)])
def test_a_whole_subject_is_not_written_again(written, form, monkeypatch):
    written(form)
    monkeypatch.setattr(phantom, "_write_subject", lambda *_: pytest.fail("written again"))
    written(form)


def test_another_form_in_the_same_folder_is_refused(written):
    written(Form(0, SMALL))
    with pytest.raises(DataError, match=r"a phantom of \(20, 28, 24\) voxels, expected \(20, 24, 28\)"):
        written(Form(0, (20, 24, 28)))


def test_a_longer_varied_cohort_begins_with_the_same_subjects_and_repeats_the_forms():
    assert forms.forms(2, None) == VARIED[:2]
    more = forms.forms(20, None)
    assert more[:6] == VARIED
    assert len({form.index for form in more}) == 20
    for form in more[6:]:
        assert dataclasses.replace(form, index=0) == dataclasses.replace(VARIED[form.index % 6], index=0)


def test_each_index_of_the_gate_has_the_anatomy_of_its_row():
    assert [form.index % 6 for form in VARIED] == list(range(6)), "so one has several foci and one does not enhance"


def test_the_gate_has_orientation_background_spacing_and_labels_that_differ(cohort):
    rows = list(zip(VARIED, cohort, strict=True))
    assert any(form.axes != "LPS" for form, _ in rows)
    assert any(loaded.image.voxels.min() < 0 for _, loaded in rows)
    assert {loaded.convention.name for _, loaded in rows} == {"brats2019", "brats2023"}
    assert any(len({round(side, 3) for side in loaded.image.spacing_mm}) == 3 for _, loaded in rows)
    assert any(loaded.image.voxels.shape[1] != loaded.image.voxels.shape[2] for _, loaded in rows)


def test_one_phantom_of_the_gate_runs_on_for_sixty_slices_and_has_tumour_for_forty(cohort):
    long = max(cohort, key=lambda loaded: len(loaded.labels.voxels))
    ill = np.flatnonzero(whole(long).any(axis=(1, 2)))
    key = key_slice(long)
    assert max(key, len(long.labels.voxels) - 1 - key) >= 60
    assert min(key - ill[0], ill[-1] - key) >= 40


def test_one_phantom_of_the_gate_ends_within_the_tumour_at_both_sides(cohort):
    cut = [loaded for loaded in cohort if whole(loaded)[0].any() and whole(loaded)[-1].any()]
    assert len(cut) == 1
    mask = whole(cut[0])
    assert mask[-3:].sum() > 0.05 * mask.sum(), "masks that miss there are seen in Dice"
    assert mask[:3].sum() > 0.05 * mask.sum()
