"""`medsam-core checkpoints`: the checkpoints that are known by name. Downloads nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "checkpoints",
        help="list the checkpoints that are known by name",
        description="List the checkpoints that --medsam-checkpoint knows by name: image size, file size, source, "
        "SHA-256 where it is known, and the licence of the weights. Nothing is downloaded.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with whole hashes and revisions")


def run(arguments: argparse.Namespace) -> int:
    """Print a line per checkpoint, or a JSON list of objects."""
    from medsam_core.text import aligned

    known = _known()
    if arguments.json:
        print(json.dumps(known, indent=2))
        return 0
    rows = [("name", "px", "MB", "licence", "sha256", "from")]
    for one in known:
        megabytes = "" if one["size_bytes"] is None else f"{one['size_bytes'] / 1e6:.0f}"
        source = one["file"]
        if one["repository"]:
            source = f"{one['repository']} {one['file']} at {one['revision'][:7]}"
        hashed = one["sha256"][:12] or "unknown"
        rows.append((one["name"], str(one["image_size"]), megabytes, one["licence"], hashed, source))
    print("\n".join(aligned(rows, right=(1, 2))))
    print(
        "\npx: side of the image that the model was trained for. Licences are those of the weights, as their pages say."
    )
    print("MedSAM2 is bowang-lab's, not Medical-SAM2 (MedSAM-2 by Zhu et al.).")
    return 0


def _known() -> list[dict[str, Any]]:
    """The embedded checkpoint and every one of NAMES."""
    from medsam_core.inference.architectures import ARCHITECTURES
    from medsam_core.inference.checkpoints import EMBEDDED_NAME, resolve
    from medsam_core.inference.published import NAMES, Source

    own = resolve()
    size = own.path.stat().st_size
    embedded = Source("", "", own.path.name, ARCHITECTURES["embedded"].name, own.sha256, size, "Apache-2.0")
    return [
        {
            "name": name,
            "architecture": source.architecture,
            "image_size": source.image_size,
            **{field.name: getattr(source, field.name) for field in dataclasses.fields(source)},
        }
        for name, source in {EMBEDDED_NAME: embedded, **NAMES}.items()
    ]
