"""What a session's configuration says of its cohort."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import shutil
import struct
import zlib

import pytest
import torch

from medsam_core.errors import CheckpointError, DataError, OptionError
from medsam_core.inference.devices import THREAD_VARIABLES
from medsam_core.plugin.choice import PredictorChoice
from medsam_core.plugin.configuration import Configuration, PhantomCohort
from medsam_core.plugin.evaluator import Evaluator
from medsam_core.plugin.recorder import Recorder
from medsam_core.predictors.engine import engine_of
from medsam_core.settings import Settings


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
        return made.cohort_identity.fingerprint

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


@pytest.fixture
def linked(small_cohort, tmp_path):
    """`linked(*parts)`: a configuration over a copy of the cohort in which those files are links to nothing."""

    def of(*parts, **chosen):
        root = tmp_path / "copy"
        shutil.copytree(small_cohort, root)
        for part in parts:
            for path in root.glob(f"*/*_{part}.nii.gz"):
                path.unlink()
                path.symlink_to(f"../.git/annex/objects/{path.name}")
        return Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", brats_root=root, **chosen)

    return of


@pytest.mark.parametrize("part", ["t1ce", "seg", "t2"])
def test_an_image_that_was_not_fetched_is_told_before_anything_is_scored(linked, tmp_path, part):
    with pytest.raises(DataError) as caught:
        _ = linked(part).plan
    first, _ = sorted((tmp_path / "copy").glob(f"*/*_{part}.nii.gz"))
    assert str(caught.value) == (
        f"{first} and 1 more: links to nothing, expected files; fetch them, e.g. with `git annex get`, or leave "
        "these subjects out with --medsam-subjects."
    )


def test_a_subject_that_was_left_out_need_not_be_fetched(linked, tmp_path):
    configuration = linked(limit=1)
    for path in sorted((tmp_path / "copy").glob("*/*_t1ce.nii.gz"))[1:]:
        path.unlink()
        path.symlink_to("gone")
    assert len(configuration.cohort_identity.subjects) == 1


def test_a_file_that_cannot_be_read_is_told_in_a_sentence(linked, tmp_path):
    configuration = linked()
    _ = configuration.cohort
    path = sorted((tmp_path / "copy").glob("*/*_flair.nii.gz"))[0]
    path.unlink()
    with pytest.raises(DataError) as caught:
        _ = configuration.cohort_identity
    assert str(caught.value).endswith("no such file, expected an image; replace the file.")
    assert str(caught.value).startswith(f"{path}: ")


def unpack(path, change=lambda content: content):
    path.with_suffix("").write_bytes(change(gzip.decompress(path.read_bytes())))
    path.unlink()


def flipped(content):
    """The same size, one voxel in the middle of it another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_one_other_voxel_in_a_file_that_was_not_packed_is_another_cohort(fingerprint):
    assert fingerprint(unpack) == fingerprint(unpack)
    assert fingerprint(lambda path: unpack(path, flipped)) != fingerprint(unpack) != fingerprint()


def test_one_other_voxel_is_seen_where_the_end_of_a_file_says_nothing_of_its_content(fingerprint):
    """NIfTI that is packed by its name only, and bgzip's blocks, of which the last one is empty."""

    def raw(path, change=lambda content: content):
        path.write_bytes(change(gzip.decompress(path.read_bytes())))

    def blocks(path, change=lambda content: content):
        path.write_bytes(
            gzip.compress(change(gzip.decompress(path.read_bytes())), mtime=0) + gzip.compress(b"", mtime=0)
        )

    for packed in (raw, blocks):
        assert fingerprint(packed) == fingerprint(packed)
        assert fingerprint(lambda path, packed=packed: packed(path, flipped)) != fingerprint(packed)


def test_the_fingerprint_of_packed_files_stays_that_of_accepted_baselines(tmp_path):
    """SHA-256 over id, name and the gzip trailer of every file, worked out here with zlib."""
    digest = hashlib.sha256()
    folder = tmp_path / "cohort" / "Brats18_2013_3_1"
    folder.mkdir(parents=True)
    for part in ("flair", "seg", "t1ce"):
        path, content = folder / f"{folder.name}_{part}.nii.gz", part.encode() * 9
        path.write_bytes(gzip.compress(content))
        mark = struct.pack("<II", zlib.crc32(content), len(content)).hex()
        digest.update(f"{folder.name}\0{path.name}\0{mark}\n".encode())
    made = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", brats_root=tmp_path / "cohort")
    assert made.cohort_identity.fingerprint == digest.hexdigest()


@pytest.mark.parametrize("chosen", [("iou",), ("hd95", "dice"), Settings().metrics])
def test_dice_and_iou_are_scored_beside_what_was_chosen(tmp_path, chosen):
    gates = tmp_path / "gates.toml"
    gates.write_text('version = 1\n[[gate]]\nmetric = "assd"\ncase_maximum = 5\n')
    for path, asked in ((None, ()), (gates, ("assd",))):
        made = Configuration(
            Settings(metrics=chosen), PhantomCohort(tmp_path), tmp_path / "run", brats_root=tmp_path, gates=path
        )
        assert made.scored.metrics == tuple(dict.fromkeys([*chosen, "dice", "iou", *asked]))


def test_the_default_metrics_are_written_as_before(tmp_path):
    made = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", brats_root=tmp_path)
    assert made.scored == Settings()


def test_a_run_that_asked_for_iou_alone_is_recorded_judged_and_resumed(small_cohort, small_checkpoint, tmp_path):
    gates = tmp_path / "gates.toml"
    gates.write_text('version = 1\n[[gate]]\nmetric = "iou"\ncase_minimum = 0.0001\n')

    def session(**more):
        settings = Settings(metrics=("iou",), regions=("WT",), prompts=("box",))
        made = Configuration(
            settings,
            PhantomCohort(tmp_path),
            tmp_path / "run",
            brats_root=small_cohort,
            checkpoint=str(small_checkpoint),
            device="cpu",
            gates=gates,
            overlays=1,
            **more,
        )
        recorder, evaluator = Recorder(made), Evaluator(made)
        for case in made.plan:
            recorder.add(evaluator.evaluate(case, made.plan))
        return recorder.finish(), recorder

    verdict, recorder = session()
    (tmp_path / "run" / "verdict.json").unlink()  # as if it had been killed in between
    again, resumed = session(resume=True)
    assert recorder.header.settings.metrics == resumed.header.settings.metrics == ("iou", "dice")
    assert all({"brats2019/iou@volume", "brats2019/dice@volume"} <= set(record.scores) for record in recorder.records)
    assert again.to_json() == verdict.to_json()


def test_the_header_says_which_of_two_sets_of_weights_was_run(small_checkpoint, tmp_path):
    from safetensors.torch import load_file

    tensors = load_file(small_checkpoint)
    torch.save({"model": tensors, "ema": {name: value * 0.5 for name, value in tensors.items()}}, tmp_path / "w.pt")
    chosen = {"checkpoint": str(tmp_path / "w.pt"), "image_size": 64, "device": "cpu"}
    of = {
        weights: Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", weights=weights, **chosen)
        for weights in (None, "model", "ema")
    }
    default, model, ema = (one.checkpoint_identity for one in of.values())
    assert default == model
    assert (model.name, ema.name) == ("w.pt", "w.pt (ema)")
    assert model.sha256 == hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest() != ema.sha256
    assert ema.notes == ("w.pt holds weights under 'model' and under 'ema': 'ema' was taken; "
                         "--medsam-weights=model takes the other.",)  # fmt: skip
    assert of["ema"].predictor.identity.sha256 == ema.sha256


def test_weights_of_an_unknown_image_size_are_refused_before_anything_is_scored(small_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(small_checkpoint), tmp_path / "w.safetensors")
    made = Configuration(
        Settings(), PhantomCohort(tmp_path), tmp_path / "run", checkpoint=str(tmp_path / "w.safetensors")
    )
    with pytest.raises(CheckpointError, match=r"and no image size, expected the one .*give --medsam-image-size"):
        _ = made.checkpoint_identity


def test_the_model_of_a_worker_uses_its_share_of_the_threads(small_checkpoint, tmp_path, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    given = {"device": "cpu", "checkpoint": str(small_checkpoint)}
    of_many = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", workers=1000, **given)
    alone = Configuration(Settings(), PhantomCohort(tmp_path), tmp_path / "run", **given)
    engines = [engine_of(one.predictor, what="the test") for one in (of_many, alone)]
    assert [engine.threads for engine in engines] == [1, torch.get_num_threads()]


@pytest.mark.parametrize(
    ("ids", "chosen", "text"),
    [
        (
            ["BraTS-MEN-RT-0001-1", "BraTS-MEN-RT-0002-1"],
            {},
            "regions TC, ET: not among the labels of brats-men-rt (1 tumour), used in 2 of 2 subjects "
            "(BraTS-MEN-RT-0001-1 …), expected regions that all labels have; choose of WT, GTV with --medsam-regions.",
        ),
        (
            ["BraTS2021_00001", "BraTS-MEN-RT-0001-1"],
            {"regions": ("WT", "ET")},
            "region ET: not among the labels of brats-men-rt (1 tumour), used in 1 of 2 subjects "
            "(BraTS-MEN-RT-0001-1 …), expected regions that all labels have; choose of WT with --medsam-regions.",
        ),
        (
            ["Patient-001_week-000"],
            {"labels": "hd-glio"},
            "region TC: not among the labels of hd-glio (1 oedema, 2 enhancing tumour), used in 1 of 1 subject "
            "(Patient-001_week-000 …), expected regions that all labels have; choose of WT, ET with --medsam-regions.",
        ),
    ],
)
def test_a_region_that_the_labels_cannot_give_is_refused_before_the_first_case(ids, chosen, text, tmp_path):
    for name in ids:
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        for kind in ("t1c", "seg"):
            (folder / f"{name}_{kind}.nii.gz").touch()
    settings = Settings(**chosen)
    made = Configuration(settings, PhantomCohort(tmp_path), tmp_path / "run", brats_root=tmp_path / "in")
    with pytest.raises(OptionError) as caught:
        _ = made.cohort
    assert str(caught.value) == text
    allowed = dataclasses.replace(settings, regions=("WT",))
    made = Configuration(allowed, PhantomCohort(tmp_path), tmp_path / "run", brats_root=tmp_path / "in")
    assert len(made.cohort) == len(ids)


@pytest.mark.parametrize(
    ("size", "root", "choice", "expected"),
    [
        (None, None, PredictorChoice(), {"feature-mib": "32"}),
        (None, None, PredictorChoice(options={"feature-mib": "9"}), {"feature-mib": "9"}),
        ((16, 32, 32), None, PredictorChoice(), {}),
        (None, "cohort", PredictorChoice(), {}),
        (None, None, PredictorChoice("sam2"), {}),
        (None, None, PredictorChoice(hook=print), {}),
    ],
)
def test_on_the_varied_phantoms_the_engine_keeps_few_features(size, root, choice, expected, tmp_path):
    made = Configuration(
        Settings(),
        PhantomCohort(tmp_path, size=size),
        tmp_path / "run",
        brats_root=root and tmp_path / root,
        choice=choice,
    )
    assert made._request.options == expected
