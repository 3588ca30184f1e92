"""One picture of a case: truth and prediction as contours on the MRI, where it was prompted and where it is worst.

The picture is one 8-bit palette image: greys below `_GREYS`, a few colours above. So it is small, and drawn and
compressed in a few hundredths of a second: a run can afford one for each case that a person may want to see.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medsam_core.errors import RunError
from medsam_core.files import written_whole
from medsam_core.modalities import sequences_of

if TYPE_CHECKING:
    from medsam_core.evaluation.subject import ScoredCase
    from medsam_core.prompts.prompt import Prompt

_GREYS = 240
_WHITE, _SOFT = _GREYS - 1, 170
FIRST_COLOUR = _GREYS
"""Of the palette: contours and prompts; what is below are greys."""
_TRUTH, _PREDICTION, _PROMPT, _BACKGROUND = _GREYS, _GREYS + 1, _GREYS + 2, _GREYS + 3
# colour-blind readers can tell green from magenta, and yellow from both
_COLOURS = {_TRUTH: (64, 230, 64), _PREDICTION: (255, 64, 220), _PROMPT: (255, 225, 40), _BACKGROUND: (200, 120, 0)}

_PANEL_PIXELS = 560
"""About the longer side of a panel: some 3 pixels a voxel for a head in a BraTS slice."""
_MARGIN_VOXELS = 6
_NARROWEST_PIXELS = 640
"""Room for the caption and the legend under a single small panel."""
_GAP, _PAD, _LINE = 8, 10, 22
_TOP, _BOTTOM = _PAD + 2 * _LINE + 6, _LINE + 2 * _PAD
"""Height of caption and titles, and of the legend."""
_MINOR_SLICE = 0.05
"""Slices with less than this share of the largest slice's voxels (truth or prediction) count as tapered ends."""
_WINDOW_SAMPLES = 150_000


def write_overlay(result: ScoredCase, path: Path | str) -> None:
    """Write a PNG of the case: the prompted slice and the worst slice next to each other, with a caption and a legend.

    The truth's contour (green) runs inside the region's edge and the prediction's (magenta) outside its own, so that
    both are seen where they agree. The prompt is yellow: a box's outline, `+` for a point on the region (an orange
    `x` for one on the background), a dashed contour for a mask. Slices are shown as stored, cropped to the head: rows
    toward posterior, the patient's right on the left (radiological). Slice numbers count from 0, as in the record.
    There is only one panel if no other slice has truth or prediction. Of three sequences the first is shown.

    result: prediction and truth (D, H, W) bool. path: a file; its folder is made if needed; it is written whole
    or not at all. Raises RunError if it cannot be written.
    """
    with written_whole(path, error=RunError, fix="choose another --medsam-run-dir", make_folder=True) as partial:
        draw_overlay(result).save(partial, format="PNG", compress_level=1)


def draw_overlay(result: ScoredCase) -> Image.Image:
    """The picture that `write_overlay` writes, in palette mode."""
    slices = [shown_key_slice(result.prediction, result.truth, result.prompts)]
    worst = worst_slice(result.prediction, result.truth, besides=slices[0])
    if worst is not None:
        slices.append(worst)
    crop = _head(result, slices)
    scale = max(1, round(_PANEL_PIXELS / max(side.stop - side.start for side in crop)))
    low, high = shown_window(result.image.voxels)
    panels = []
    for number in slices:
        grey = (result.image.voxels[number][crop].astype(np.float32) - low) / (high - low)
        panel = Image.fromarray((np.clip(grey, 0, 1) * _WHITE).astype(np.uint8))
        panel = panel.resize((panel.width * scale, panel.height * scale), Image.Resampling.BILINEAR)
        draw = ImageDraw.Draw(panel)
        draw.text((4, panel.height // 2), "R", font=_font(15), fill=_SOFT, anchor="lm")
        draw.text((panel.width - 4, panel.height // 2), "L", font=_font(15), fill=_SOFT, anchor="rm")
        pixels = np.array(panel)
        pixels[_contour(result.truth[number][crop], scale, inside=True)] = _TRUTH
        pixels[_contour(result.prediction[number][crop], scale, inside=False)] = _PREDICTION
        panel = Image.fromarray(pixels)
        for prompt in _prompts_on(result, number):
            _draw_prompt(panel, prompt, crop, scale)
        panels.append(panel)
    return _compose(result, slices, panels)


def panels_of(picture: Image.Image) -> Image.Image:
    """An overlay without its caption and its legend, for a small view."""
    if picture.height <= _TOP + _BOTTOM:
        return picture.copy()
    return picture.crop((0, _TOP, picture.width, picture.height - _BOTTOM))


def shown_key_slice(prediction: np.ndarray, truth: np.ndarray, prompts: Sequence[Prompt]) -> int:
    """The slice of the first panel: the prompted one with the largest truth, the lowest of equals.

    Without prompts it is the slice with the most truth, or else prediction; the middle one if there is neither.
    prediction, truth: (D, H, W) bool.
    """
    candidates = sorted({prompt.key_slice for prompt in prompts})
    if candidates:
        return max(candidates, key=lambda k: (int(np.count_nonzero(truth[k])), -k))
    for mask in (truth, prediction):
        sizes = _voxels_by_slice(mask)
        if sizes.any():
            return int(sizes.argmax())
    return len(truth) // 2


def worst_slice(prediction: np.ndarray, truth: np.ndarray, *, besides: int | None = None) -> int | None:
    """The slice with the lowest Dice among those with truth or prediction; None if there is none.

    A tumour's tapered ends score near 0 with every model and show a person nothing, so slices with less than 5 %
    of the largest slice's voxels (the larger of truth and prediction) count only if there is no other. Of equal
    slices, the one with more wrong voxels, then the lower one.

    prediction, truth: (D, H, W) bool. besides: a slice to leave out, because it is already shown.
    """
    p, t = _voxels_by_slice(prediction), _voxels_by_slice(truth)
    size = np.maximum(p, t)
    if besides is not None:
        size[besides] = 0
    if not size.any():
        return None
    common = _voxels_by_slice(prediction & truth)
    candidates = np.flatnonzero((size > 0) & (size >= _MINOR_SLICE * size.max()))
    return int(min(candidates, key=lambda k: (2 * common[k] / (p[k] + t[k]), -(p[k] + t[k] - 2 * common[k]), k)))


def _voxels_by_slice(mask: np.ndarray) -> np.ndarray:
    # count_nonzero of a whole contiguous slice is some 20 times as fast as a sum over two axes
    return np.array([np.count_nonzero(one) for one in mask], dtype=np.int64)


def _dice_text(prediction: np.ndarray, truth: np.ndarray) -> str:
    both = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return f"Dice {2 * np.count_nonzero(prediction & truth) / both:.3f}" if both else "both empty"


def shown_window(voxels: np.ndarray) -> tuple[float, float]:
    """Intensities shown as black and white: the 0.5 and 99.5 percentiles of the volume's foreground, sampled.

    Background is the most frequent value: 0 in a raw BraTS image, a negative constant in a z-scored one.
    """
    step = max(1, round((voxels.size / _WINDOW_SAMPLES) ** (1 / 3)))
    sample = voxels[step // 2 % len(voxels) :: step, ::step, ::step].ravel()
    values, counts = np.unique(sample, return_counts=True)
    foreground = sample[sample != values[counts.argmax()]]
    if not foreground.size:
        foreground = sample
    low, high = (float(value) for value in np.percentile(foreground, (0.5, 99.5)))
    return low, high if high > low else low + 1.0


def _head(result: ScoredCase, slices: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns that hold the head and everything drawn on it, the same for every panel."""
    shape = result.truth.shape[1:]
    drawn = np.zeros(shape, bool)
    for number in slices:
        plane = result.image.voxels[number]
        drawn |= (plane != plane[0, 0]) | result.prediction[number] | result.truth[number]
        for prompt in _prompts_on(result, number):
            corners = () if prompt.box is None else (prompt.box[:2], prompt.box[2:])
            for x, y in (*prompt.points, *corners):
                drawn[np.clip(int(y), 0, shape[0] - 1), np.clip(int(x), 0, shape[1] - 1)] = True
    extents = []
    for used, size in zip(np.nonzero(drawn), shape, strict=True):
        low, high = (int(used.min()), int(used.max()) + 1) if used.size else (0, size)
        extents.append(slice(max(0, low - _MARGIN_VOXELS), min(size, high + _MARGIN_VOXELS)))
    return extents[0], extents[1]


def _prompts_on(result: ScoredCase, number: int) -> list[Prompt]:
    return [prompt for prompt in result.prompts if prompt.key_slice == number]


def _contour(mask: np.ndarray, scale: int, *, inside: bool) -> np.ndarray:
    """A line one pixel wide along the edge of an enlarged mask, on its own side or on the other."""
    large = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    framed = np.pad(large, 1)  # some ten times as fast as scipy's erosion and dilation
    above, below, left, right = framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]
    return large & ~(above & below & left & right) if inside else (above | below | left | right) & ~large


def _draw_prompt(panel: Image.Image, prompt: Prompt, crop: tuple[slice, slice], scale: int) -> None:
    draw = ImageDraw.Draw(panel)
    top, left = (side.start for side in crop)
    if prompt.mask is not None:
        pixels = np.array(panel)
        line = _contour(prompt.mask[crop], scale, inside=False)
        diagonal = np.add.outer(np.arange(line.shape[0]), np.arange(line.shape[1]))
        pixels[line & (diagonal // 5 % 2 == 0)] = _PROMPT  # dashed, so that what is under it can be seen
        panel.paste(Image.fromarray(pixels))
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box  # inclusive voxels: the outline runs along their outer edges, inside the panel
        first = max((x0 - left) * scale - 1, 0), max((y0 - top) * scale - 1, 0)
        last = min((x1 + 1 - left) * scale, panel.width - 1), min((y1 + 1 - top) * scale, panel.height - 1)
        draw.rectangle((*first, *last), outline=_PROMPT, width=1)
    for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True):
        cx, cy = (x - left + 0.5) * scale, (y - top + 0.5) * scale
        arms, colour = (((9, 0), (0, 9)), _PROMPT) if label == 1 else (((6, 6), (6, -6)), _BACKGROUND)
        for fill, width in ((0, 5), (colour, 2)):  # first a dark rim, to be seen on bright tissue
            for dx, dy in arms:
                draw.line((cx - dx, cy - dy, cx + dx, cy + dy), fill=fill, width=width)


def _compose(result: ScoredCase, slices: Sequence[int], panels: Sequence[Image.Image]) -> Image.Image:
    """Caption above, a title on each panel, the legend below."""
    wide = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1)
    width = max(wide, _NARROWEST_PIXELS) + 2 * _PAD
    top, height = _TOP, panels[0].height
    canvas = Image.new("L", (width, top + height + _BOTTOM), 18)
    draw = ImageDraw.Draw(canvas)
    _fit(draw, (_PAD, _PAD), result.record.id, width - 2 * _PAD - 240, size=18)
    dice = f"volume: {_dice_text(result.prediction, result.truth)}"
    draw.text((width - _PAD, _PAD), dice, font=_font(18), fill=_WHITE, anchor="ra")
    left = (width - wide) // 2
    for number, panel in zip(slices, panels, strict=True):
        prompted = bool(_prompts_on(result, number))
        if number == slices[0]:
            title = f"key slice {number}" if prompted else f"not prompted, slice {number}"
        else:
            title = f"worst slice (prompted too) {number}" if prompted else f"worst slice {number}"
        dice = _dice_text(result.prediction[number], result.truth[number])
        _fit(draw, (left, _PAD + _LINE + 4), f"{title}: {dice}", panel.width, size=15)
        canvas.paste(panel, (left, top))
        left += panel.width + _GAP
    _legend(draw, result, width, top + height + _PAD)
    greys = [round(level * 255 / _WHITE) for level in range(_GREYS) for _ in range(3)]
    canvas.putpalette(greys + [channel for index in sorted(_COLOURS) for channel in _COLOURS[index]])
    return canvas


def _legend(draw: ImageDraw.ImageDraw, result: ScoredCase, width: int, y: int) -> None:
    truth = "truth" if result.truth.any() else "truth: region absent"
    prediction = "prediction" if result.prediction.any() else "prediction: empty"
    entries = [(_TRUTH, truth), (_PREDICTION, prediction)]
    if result.prompts:
        many = f" ({len(result.prompts)})" if len(result.prompts) > 1 else ""
        entries.append((_PROMPT, f"prompt: {result.record.case.prompt}{many}"))
    x = _PAD
    for colour, text in entries:
        draw.rectangle((x, y + 9, x + 22, y + 11), fill=colour)
        draw.text((x + 30, y), text, font=_font(15), fill=_WHITE)
        x += 30 + round(draw.textlength(text, font=_font(15))) + 24
    first, *others = sequences_of(result.record.case.modality)
    shown = f"image: {first}, " if others else ""
    draw.text((width - _PAD, y), f"{shown}slices 0-{len(result.truth) - 1}", font=_font(15), fill=_SOFT, anchor="ra")


def _fit(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, room: int, *, size: int) -> None:
    """Draw a text in a smaller size if there is too little room, and cut it where that is not enough."""
    while size > 11 and draw.textlength(text, font=_font(size)) > room:
        size -= 1
    while len(text) > 4 and draw.textlength(text, font=_font(size)) > room:
        text = text[:-4] + "..."
    draw.text(place, text, font=_font(size), fill=_WHITE)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
