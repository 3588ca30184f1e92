"""What a session's configuration says of its cohort."""

from __future__ import annotations

import gzip
import shutil

import pytest

from medsam_core.cases import Settings
from medsam_core.configuration import Configuration, PhantomCohort


@pytest.fixture
def fingerprint(small_cohort, tmp_path):
    """`fingerprint(change)`: of a copy of the cohort, after `change(path)` to the first subject's t1ce."""

    def of(change=None):
        root = tmp_path / "copy"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(small_cohort, root)
        if change is not None:
            change(sorted(root.glob("*/*_t1ce.nii.gz"))[0])
        made = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", brats_root=root)
        return made.cohort_identity()["fingerprint"]

    return of


def repacked(path, change=lambda content: content):
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes())), compresslevel=9))


def test_the_fingerprint_does_not_depend_on_how_a_file_was_packed(fingerprint):
    sizes = set()
    before = fingerprint(lambda path: sizes.add(path.stat().st_size))
    assert fingerprint(lambda path: (repacked(path), sizes.add(path.stat().st_size))) == before
    assert len(sizes) == 2


def test_one_other_voxel_is_another_cohort(fingerprint):
    def flip(content):
        return content[:-1] + bytes([content[-1] ^ 1])

    assert fingerprint(lambda path: repacked(path, flip)) != fingerprint()


def test_a_file_that_was_not_packed_goes_by_its_size(fingerprint):
    def unpack(path):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()

    assert fingerprint(unpack) == fingerprint(unpack) != fingerprint()
