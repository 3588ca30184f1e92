"""A three-dimensional image or label map, read from NIfTI into one orientation and written back on its own grid.

Inside the package every array is (D, H, W) in LPS, BraTS's own orientation: axis 0 runs from inferior to superior,
axis 1 toward posterior, axis 2 toward the patient's left, so that `voxels[k]` is the axial slice a model sees. A file
in any of the 48 orientations is turned to LPS on reading, and a mask is turned back on writing.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from medsam_core.data.grid import (
    Array,
    Grid,
    Placement,
    Volume,
    check_same_grid,
    check_same_image_grid,
    orientation_change,
    placement,
    turned,
)
from medsam_core.data.nifti import mask_header, read_nifti, read_stored
from medsam_core.data.nifti_header import Stored
from medsam_core.data.npz import IMAGES, LABELS, read_npz
from medsam_core.data.other_formats import ENDINGS, read_other
from medsam_core.errors import DataError, LabelError, MaskError, ShapeMismatch
from medsam_core.files import written_whole
from medsam_core.text import counted

__all__ = ["Volume", "check_same_grid", "check_same_image_grid", "read_image", "read_labels", "write_mask"]

LABEL_TOLERANCE = 1e-3  # segmentations saved as float have values such as 0.99999997


def read_image(path: str | os.PathLike[str], *, channel: int | None = None, channels: int | None = None) -> Volume:
    """The intensities of a NIfTI file as float32, turned into LPS.

    path: .nii or .nii.gz with three axes; trailing axes of length 1 are accepted. Or .npz with `imgs` and `spacing`, or
        .mha and .nrrd with the extra [formats].
    channel: index on the fourth axis of a 4-D file (Medical Segmentation Decathlon); None for a 3-D file.
    channels: how many the file must have where its data set names them; None for any number.
    Intensities have the file's scale (slope and intercept applied); background may be negative.
    Raises DataError for a file that is missing, truncated, not NIfTI or of the wrong shape, and for an image with NaN
    or Inf or with the same value in every voxel (nothing can be segmented in it).
    """
    path = Path(path)
    raw, grid = _content(path, channel, channels, "image")
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes Inf and is refused below
        volume = turned(raw, grid, np.float32)
    voxels = volume.voxels
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite(low + high):  # NaN and Inf reach min or max, so these two check all voxels
        count = int(voxels.size - np.isfinite(voxels).sum())
        raise DataError(
            f"{path.name}: {counted(count, 'voxel')} NaN or infinite, expected none; replace them or leave it out."
        )
    if low == high:
        raise DataError(f"{path.name}: every voxel is {low:g}, expected an image; export it again from the scan.")
    return volume


def read_labels(path: str | os.PathLike[str]) -> Volume:
    """A label map as uint8, turned into LPS.

    path: as for `read_image`; of .npz the array `gts`, or `segs`.
    Values within 1e-3 of an integer are rounded (float exports have 0.99999997). A map of zeros is valid: no tumour.
    Whether the values fit a label convention is not checked here (see `regions.check_labels`).
    Raises LabelError for a value that is no integer in 0 … 255, DataError as `read_image` does for the file.
    """
    path = Path(path)
    raw, grid = _content(path, None, None, "labels")
    if raw.dtype.kind == "f":
        raw = _rounded(path, raw)
    low, high = int(raw.min()), int(raw.max())
    if low < 0 or high > 255:
        raise LabelError(
            f"{path.name}: label {low if low < 0 else high}, expected 0 to 255; check that this is the segmentation."
        )
    return turned(raw, grid, np.uint8)


def read_placement(path: str | os.PathLike[str], *, channel: int | None = None) -> Placement:
    """Where a file's volume is, from its header alone; of .npz, .mha and .nrrd the whole file is read.

    channel: as for `read_image`; whether the file has that channel is not checked.
    Raises DataError for a file or a header that `read_image` would refuse.
    """
    path = Path(path)
    if path.suffix.lower() in (".npz", *ENDINGS):
        return placement(_content(path, channel, None, "image")[1])
    stored = read_stored(path)
    rest = () if channel is not None else stored.shape[3:]
    if any(length != 1 for length in rest):
        raise DataError(f"{path.name}: shape {stored.shape}, expected three axes (x, y, z); export a 3-D volume.")
    return placement(_grid(stored, stored.shape[:3] + rest))


def write_mask(mask: Array, like: Volume, path: str | os.PathLike[str]) -> None:
    """Write a mask as NIfTI (uint8) on the grid of the file that `like` was read from.

    mask: (D, H, W) bool or uint8, the shape of `like`; an empty mask is written too.
    path: .nii or .nii.gz; missing parent folders are created. For .npz the mask is the array `segs`, as the CVPR25
        challenge's evaluators read it.
    Shape, affine, qform, sform and their codes are the source's, so 3D Slicer shows the mask on top of its image. The
    file appears whole or not at all.
    Raises ShapeMismatch, MaskError for another dtype, DataError if the file cannot be written there.
    """
    import nibabel

    path = Path(path)
    if mask.shape != like.shape:
        raise ShapeMismatch(
            f"{path.name}: mask of shape {mask.shape}, expected {like.shape}; pass the volume that it was made from."
        )
    if mask.dtype not in (np.bool_, np.uint8):
        raise MaskError(f"{path.name}: mask of dtype {mask.dtype}, expected bool or uint8; threshold it first.")
    if not path.name.lower().endswith((".nii", ".nii.gz", ".npz")):
        raise DataError(f"{path}: unknown ending, expected .nii, .nii.gz or .npz; rename the output file.")
    fix = "choose a folder with free space that this user may write to"
    if path.suffix.lower() == ".npz":
        with written_whole(path, error=DataError, fix=fix, make_folder=True) as partial:
            np.savez_compressed(partial, segs=mask.astype(np.uint8))
        return
    grid = like.grid
    on_disk = np.asfortranarray(
        nibabel.apply_orientation(mask.astype(np.uint8).transpose(2, 1, 0), orientation_change("LPS", grid.orientation))
    ).reshape(grid.shape, order="F")
    header = mask_header(grid.header)
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    with written_whole(path, error=DataError, fix=fix, make_folder=True) as partial:
        nibabel.save(kind(on_disk, grid.affine, header), partial)


def _content(path: Path, channel: int | None, channels: int | None, what: str) -> tuple[Array, Grid]:
    """The file's voxels (x, y, z) in its own orientation, in its own dtype unless they are scaled, and their grid."""
    ending = path.suffix.lower()
    if ending == ".npz":
        return read_npz(path, IMAGES if what == "image" else LABELS)
    if ending in ENDINGS:
        return read_other(path)
    raw, stored = read_nifti(path)
    spatial, rest = raw.shape[:3], raw.shape[3:]
    if channel is not None:
        _check_channels(path, raw.shape, channel, channels)
        raw, rest = np.array(raw[..., channel] if rest else raw, order="F"), ()  # a view would keep all channels alive
    if any(length != 1 for length in rest):
        raise DataError(f"{path.name}: shape {raw.shape}, expected three axes (x, y, z); {_advice(raw, what)}.")
    raw = _scaled(raw.reshape(spatial, order="F"), stored.slope, stored.inter)
    return raw, _grid(stored, spatial + rest)


def _grid(stored: Stored, shape: tuple[int, ...]) -> Grid:
    import nibabel

    orientation = "".join(map(str, nibabel.aff2axcodes(stored.affine)))
    return Grid(shape, stored.affine, orientation, stored.header.copy(), stored.mm_per_unit, stored.positioned)


def _scaled(raw: Array, slope: float, inter: float) -> Array:
    """Intensities as float32, slice by slice, because nibabel's float64 of a whole volume would fill the memory."""
    import nibabel

    if (slope, inter) == (1, 0):
        return raw
    scaled = np.empty(raw.shape, np.float32, order="F")
    with np.errstate(over="ignore"):  # Inf is refused later
        for place in range(raw.shape[2]):
            scaled[:, :, place] = nibabel.volumeutils.apply_read_scaling(raw[:, :, place], slope, inter)
    return scaled


def _check_channels(path: Path, shape: tuple[int, ...], channel: int, channels: int | None) -> None:
    found = shape[3] if len(shape) == 4 else 1
    if channels is not None and found != channels:
        raise DataError(
            f"{path.name}: {counted(found, 'channel')} (shape {shape}), expected the {channels} that dataset.json "
            "names; correct dataset.json or the image."
        )
    if len(shape) > 4 or (len(shape) == 3 and channels is None) or not 0 <= channel < found:
        raise DataError(
            f"{path.name}: got channel {channel} for shape {shape}, expected 4 axes and that channel; check both."
        )


def _advice(raw: Array, what: str) -> str:
    """What a file of several volumes holds, and what to do with it."""
    if raw.ndim == 4 and raw.shape[0] < 9 <= min(raw.shape[1:]):
        return f"its first axis looks like {raw.shape[0]} channels: move it behind the others, and save one 3-D file"
    count = int(np.prod(raw.shape[3:]))
    if what == "image":
        return (
            f"it holds {count} channels: save one of them as a 3-D file, or in Python read it with "
            f"read_image(path, channel=0 … {count - 1})"
        )
    if raw.min() < 0 or raw.max() > 1:
        return f"it holds {count} label maps or scores: save one label map as a 3-D file, of scores the argmax"
    parts = raw.reshape((*raw.shape[:3], count), order="F")
    if not all(bool((parts[..., place] == np.rint(parts[..., place])).all()) for place in range(count)):
        return f"it holds {count} probabilities: save their argmax, of regions each one above 0.5, as a 3-D file"
    covered = sum(parts[..., place].astype(np.uint8) for place in range(count))
    if np.max(covered) > 1:
        return (
            f"it holds {count} masks that overlap, as nested regions do: write them into one label map, the largest "
            "region first, or save each as a 3-D file and score it with --region"
        )
    return f"it holds {count} masks, one per label: write the value of each label into one 3-D label map"


def _rounded(path: Path, raw: Array) -> Array:
    """Whole numbers as int16, slice by slice: copies of the whole volume would take several times its memory."""
    whole = np.empty(raw.shape, np.int16, order="F")
    wrong, example, above, partial = 0, 0.0, 0, True
    for place in range(raw.shape[2]):
        part = raw[:, :, place]
        with np.errstate(invalid="ignore"):  # Inf - Inf
            nearest = np.rint(part)
            off = ~(np.abs(part - nearest) <= LABEL_TOLERANCE)  # negated, so that NaN and Inf are wrong too
            if off.any():
                example = example if wrong else float(part[off].flat[0])
                wrong += int(off.sum())
            partial &= bool(((part >= 0) & (part <= 1)).all())
            above += int((part > 0.5).sum())
            whole[:, :, place] = np.clip(np.nan_to_num(nearest), -1, 256)
    if not wrong:
        return whole
    if partial:
        raise LabelError(
            f"{path.name}: {wrong:,} of its values lie between 0 and 1 (such as {example:g}), expected labels: these "
            f"are probabilities or partial volumes; threshold them (> 0.5 leaves {above:,} voxels) and save the mask."
        )
    raise LabelError(
        f"{path.name}: {wrong:,} of its labels are not whole numbers (such as {example:g}), expected integers to "
        f"within {LABEL_TOLERANCE:g}; if they were resampled, use nearest neighbour, or take the argmax of scores."
    )
