"""What goes to a program or a service and comes back, as npz files. Nothing that is read may hold a pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsam_core.inference.preprocessing import to_uint8
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume as programs and services get it."""

    pixels: np.ndarray
    """(D, H, W) uint8, by MedSAM2's rule for MRI, exactly what the engine sees before it resizes the slices."""
    spacing: np.ndarray
    """(3,) float64, mm between neighbouring voxels along (x, y, z)."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.pixels.shape
        return depth, height, width


class Unreadable(Exception):
    """An npz that cannot be used; the text says why, to be put after "got"."""


def scan_of(volume: Volume) -> Scan:
    """The volume's pixels and spacing. Raises DataError as `to_uint8` does."""
    return Scan(to_uint8(volume.voxels), np.array(volume.spacing_mm[::-1], np.float64))


def read_arrays(source: Path | bytes, *names: str) -> list[np.ndarray]:
    """The named arrays of an npz, without ever loading a pickle. Raises Unreadable."""
    try:
        opened = np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise Unreadable("a single array")
        with opened:
            missing = [name for name in names if name not in opened.files]
            if missing:
                raise Unreadable(f"an npz without {missing[0]!r} (it has {', '.join(opened.files[:8]) or 'nothing'})")
            return [opened[name] for name in names]
    except Unreadable:
        raise
    except Exception as error:  # arbitrary bytes can make zipfile and NumPy raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Unreadable(f"an unreadable npz ({reason[:120]})") from error


def prompts_as_json(prompts: Sequence[Prompt]) -> str:
    """A JSON list of what `Prompt.to_json` gives."""
    return json.dumps([prompt.to_json() for prompt in prompts])


def challenge_box(prompt: Prompt, depth: int, protocol: str) -> dict[str, int]:
    """A prompt with a box as the CVPR25 challenge writes it: whole voxels, both ends inclusive.

    The challenge takes z_min and z_max from the truth. Here they are the first and the last slice of the protocol.
    """
    assert prompt.box is not None
    seen = prompt.slices_seen(depth, protocol)
    x0, y0, x1, y1 = (round(edge) for edge in prompt.box)
    return {
        "z_min": seen.start,
        "z_max": seen.stop - 1,
        "z_mid": prompt.key_slice,
        "z_mid_x_min": x0,
        "z_mid_y_min": y0,
        "z_mid_x_max": x1,
        "z_mid_y_max": y1,
    }


def challenge_clicks(prompt: Prompt) -> tuple[dict[str, list[list[int]]], list[str]]:
    """A prompt's points as the CVPR25 challenge writes them, and their order: `{"fg": [[z, y, x]], "bg": []}, ["fg"]`.

    Whole voxels, in the order of the array's axes, as the challenge's evaluation script has them.
    """
    clicks: dict[str, list[list[int]]] = {"fg": [], "bg": []}
    order = ["fg" if label else "bg" for label in prompt.point_labels]
    for (x, y), kind in zip(prompt.points, order, strict=True):
        clicks[kind].append([prompt.key_slice, round(y), round(x)])
    return clicks, order


def objects(items: Sequence[Any]) -> np.ndarray:
    """(N,) object array of dicts or lists, which NumPy stores as a pickle, as the challenge's files have it."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def write_input(path: Path, scan: Scan, prompts: Sequence[Prompt], protocol: str) -> None:
    """Write the npz that a program reads, and in the same folder the same prompts as JSON.

    prompts: of one mode, so that `boxes` and `clicks` have an item for each of them.
    """
    depth = scan.shape[0]
    arrays: dict[str, Any] = {"imgs": scan.pixels, "spacing": scan.spacing, "protocol": np.array(protocol)}
    if prompts[0].box is not None:
        arrays["boxes"] = objects([challenge_box(prompt, depth, protocol) for prompt in prompts])
    if prompts[0].points:
        clicks = [challenge_clicks(prompt) for prompt in prompts]
        arrays["clicks"] = objects([one for one, _ in clicks])
        arrays["clicks_order"] = objects([order for _, order in clicks])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    stored = {
        "protocol": protocol,
        "shape": scan.shape,
        "spacing": scan.spacing.tolist(),
        "prompts": json.loads(prompts_as_json(prompts)),
    }
    path.with_suffix(".json").write_text(json.dumps(stored), encoding="utf-8")
