"""Faults in files and sessions: masks that are saved wrongly, and runs that are resumed with something else."""

# ruff: noqa: ARG001   every fault is called with the same arguments and replaces a function of a given signature

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import sam2
from safetensors.torch import save_file

import medsam_core
from medsam_core.data import volume as volumes
from medsam_core.inference.checkpoints import resolve
from medsam_core.plugin import recorder
from medsam_core.predictors.engine import EnginePredictor
from medsam_core.prompts.manifest import read_manifest, write_manifest
from medsam_core.runs import CASES, PROMPTS
from tests.faults.fault import fault
from tests.faults.image_faults import last_unwritten
from tests.faults.score_faults import cubic_millimetres
from tests.faults.tracking_faults import cut_off

# --- saved masks ----------------------------------------------------------------------------------------------------


def _saved(patch: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Another mask is written than the one that was scored."""
    write_mask = volumes.write_mask
    patch.setattr(volumes, "write_mask", lambda mask, like, path: write_mask(change(mask), like, path))


@fault("saved masks mirrored along x", "masks", session="masks saved")
def _(patch, runner):
    _saved(patch, lambda mask: mask[:, :, ::-1])


@fault("saved masks one slice too high", "masks", session="masks saved")
def _(patch, runner):
    _saved(patch, lambda mask: np.roll(mask, 1, axis=0))


@fault("saved masks empty", "masks", session="masks saved")
def _(patch, runner):
    _saved(patch, np.zeros_like)


@fault("the affine of saved masks doubled", "masks", session="masks saved")
def _(patch, runner):
    write_mask = volumes.write_mask

    def doubled(mask, like, path):
        write_mask(mask, like, path)
        written = nibabel.load(path)
        affine = written.affine @ np.diag((2, 2, 2, 1))
        nibabel.save(nibabel.Nifti1Image(np.asanyarray(written.dataobj), affine), path)

    patch.setattr(volumes, "write_mask", doubled)


@fault("each saved mask is that of the case before", "masks", session="masks saved")
def _(patch, runner):
    write_mask, earlier = volumes.write_mask, []

    def late(mask, like, path):
        earlier.append(mask)
        write_mask(next((one for one in earlier[-2:] if one.shape == mask.shape), mask), like, path)

    patch.setattr(volumes, "write_mask", late)


@fault("saved masks overwritten by one another before the end", "masks", session="masks saved")
def _(patch, runner):
    finish = recorder.Recorder.finish

    def late(self, *given):
        masks = sorted((self.configuration.run_dir / "masks").iterdir())
        shutil.copyfile(masks[0], masks[-1])
        return finish(self, *given)

    patch.setattr(recorder.Recorder, "finish", late)


@fault("saved masks deleted before the end", "masks", session="masks saved")
def _(patch, runner):
    finish = recorder.Recorder.finish

    def late(self, *given):
        shutil.rmtree(self.configuration.run_dir / "masks")
        return finish(self, *given)

    patch.setattr(recorder.Recorder, "finish", late)


# --- resumed runs ---------------------------------------------------------------------------------------------------


def _edited(patch: Any, runner: Any, package: Any, file: str) -> None:
    """From now on the package's source is a copy in which a file differs, as after an edit without a commit."""
    source = Path(package.__file__).parent
    copy = runner.folder / f"edited {file.replace('/', ' ')}" / source.name
    if not copy.exists():
        shutil.copytree(source, copy, ignore=lambda folder, names: [n for n in names if not _is_source(folder, n)])
        with (copy / file).open("a") as edited:
            edited.write("\n\nEDITED = True\n")
    patch.setattr(package, "__file__", str(copy / "__init__.py"))


def _is_source(folder: str, name: str) -> bool:
    return name.endswith(".py") or Path(folder, name).is_dir()


@fault("resumed after an edit: no mask at all", "masks", session="resumed")
def _(patch, runner):
    _edited(patch, runner, medsam_core, "inference/predictions.py")
    runner.change_masks(patch, np.zeros_like)


@fault("resumed after an edit: tracking cut off after 25 slices", "features", session="resumed")
def _(patch, runner):
    _edited(patch, runner, medsam_core, "inference/predictions.py")
    cut_off(patch)


@fault("resumed after an edit: the last three slices unwritten", "masks", session="resumed")
def _(patch, runner):
    _edited(patch, runner, medsam_core, "inference/predictions.py")
    last_unwritten(patch, runner)


@fault("resumed after an edit: mm³ given as ml", "masks", session="resumed")
def _(patch, runner):
    _edited(patch, runner, medsam_core, "metrics/mask_pair.py")
    cubic_millimetres(patch)


@fault("resumed after an edit: saved masks mirrored along x", "masks", session="resumed")
def _(patch, runner):
    _edited(patch, runner, medsam_core, "data/volume.py")
    patch.setattr(runner, "template", dataclasses.replace(runner.template, save_masks=True))
    _saved(patch, lambda mask: mask[:, :, ::-1])


@fault("resumed after an edit of sam2", "masks", session="resumed")
def _(patch, runner):
    _edited(patch, runner, sam2, "modeling/sam2_base.py")


@fault("resumed with other weights under the same name", "nothing", session="resumed")
def _(patch, runner):
    path = runner.folder / f"{runner.model.checkpoint.name}.safetensors"
    runner.change_weights(lambda _, weight: weight * 1.01)
    save_file({name: one.contiguous() for name, one in runner.model.module.state_dict().items()}, path)
    file = dataclasses.replace(resolve(path), name=runner.model.checkpoint.name)
    runner.predictor.model = dataclasses.replace(runner.model, checkpoint=file)


def _records(runner: Any, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """The stored records of the run to resume are changed on the disk."""
    path = runner.directory / CASES
    records = change([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@fault("resumed with the records of another subject", "masks", session="resumed")
def _(patch, runner):
    first, second = (subject.id for subject in runner.subjects[:2])

    def renamed(record, name):
        case = record["case"] | {"subject": name}
        return record | {"case": case, "id": record["id"].replace(record["case"]["subject"], name)}

    def exchanged(records):
        return [renamed(record, second if record["case"]["subject"] == first else first) for record in records]

    _records(runner, exchanged)


@fault("resumed with the records of one subject under two names", "masks", session="resumed")
def _(patch, runner):
    second = runner.subjects[1].id

    def doubled(records):
        own = [record for record in records if record["case"]["subject"] != second]
        copies = [
            record
            | {
                "case": record["case"] | {"subject": second},
                "id": record["id"].replace(record["case"]["subject"], second),
            }
            for record in own
        ]
        return own + copies

    _records(runner, doubled)


@fault("resumed with a Dice that was raised in its record", "masks", session="resumed")
def _(patch, runner):
    def raised(records):
        for record in records:
            record["scores"] = {key: 0.99 if "/dice@" in key else value for key, value in record["scores"].items()}
        return records

    _records(runner, raised)


@fault("resumed with the prompts of another subject", "features", session="resumed")
def _(patch, runner):
    patch.setattr(runner, "template", dataclasses.replace(runner.template, prompts_from=_others_prompts(runner)))


@fault("prompts of another subject in the manifest", "features")
def _(patch, runner):
    patch.setattr(runner, "template", dataclasses.replace(runner.template, prompts_from=_others_prompts(runner)))


def _others_prompts(runner: Any) -> Path:
    """The manifest of the healthy run with every subject's prompts under the next one's name, where they are inside."""
    manifest = read_manifest(runner.healthy.run.directory / PROMPTS)
    names = [subject.id for subject in runner.subjects]
    turned = {}
    for case in manifest:
        name, _, rest = case.partition("/")
        place = names.index(name)
        turned[case] = manifest[f"{names[max(0, place - 1)]}/{rest}"]
    path = runner.folder / "other prompts.json"
    write_manifest(path, turned, cohort=runner.healthy.run.header.cohort.fingerprint)
    return path


@fault("resumed with another version of the predictor", "masks", session="resumed")
def _(patch, runner):
    own = runner.template.predictor_identity
    other = property(lambda _: dataclasses.replace(own, version="9.9"))
    patch.setattr(EnginePredictor, "identity", other)
