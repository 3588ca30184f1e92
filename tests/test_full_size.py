"""A model of MedSAM2's full size, with made-up weights in MedSAM2's file format, goes through a real case."""

import numpy as np
import pytest
import torch

from medsam_core.data.cohort import find_subjects, load
from medsam_core.data.volume import read_image, write_mask
from medsam_core.evaluation.subject import prepare, score_segmented, segment
from medsam_core.inference.architectures import architecture_named
from medsam_core.inference.model import build
from medsam_core.inference.predictor import load_predictor
from medsam_core.settings import Settings

SLICES = slice(94, 97)  # around the largest slice of the whole tumour


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("medsam2") / "MedSAM2_made_up.pt"
    torch.save({"model": build(architecture_named("medsam2")).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def few_slices(real_cases, tmp_path_factory):
    """Three slices of a real case as a BraTS folder of their own."""
    import nibabel as nib

    subject = next(s for s in find_subjects(real_cases) if s.id == "Brats18_2013_21_1")
    root = tmp_path_factory.mktemp("few")
    folder = root / "Brats18_2013_21_1"
    folder.mkdir()
    loaded = load(subject, "t1ce")
    for name, volume in (("t1ce", loaded.image), ("seg", loaded.labels)):
        voxels = np.ascontiguousarray(volume.voxels[SLICES]).transpose(2, 1, 0)
        nib.save(nib.Nifti1Image(voxels, volume.affine), folder / f"{folder.name}_{name}.nii.gz")
    return root


def test_it_loads_by_path_and_segments_from_end_to_end(checkpoint, few_slices, tmp_path):
    assert checkpoint.stat().st_size > 150_000_000
    predictor = load_predictor(checkpoint, device="cpu", image_size=512)
    assert predictor.model.architecture.image_size == 512
    assert sum(p.numel() for p in predictor.model.module.parameters()) == pytest.approx(39e6, rel=0.01)
    subject = find_subjects(few_slices)[0]
    settings = Settings(regions=("WT", "TC"), prompts=("box",))
    prepared = prepare(subject, "t1ce", settings.cases(subject.id), predictor, settings)
    results = list(score_segmented(segment(prepared, predictor), settings))
    assert [result.record.id for result in results] == [f"{subject.id}/t1ce/{region}/box" for region in ("WT", "TC")]
    for result in results:
        assert result.prediction.shape == (3, 240, 240)
        assert 0 <= result.record.score("dice") <= 1
    image = subject.images["t1ce"].path
    write_mask(results[0].prediction, read_image(image), tmp_path / "mask.nii.gz")
    assert (read_image(image).affine == read_image(tmp_path / "mask.nii.gz").affine).all() or not results[
        0
    ].prediction.any()
