"""A run's header for tests that need no session."""

from typing import Any

from medsam_core.decoding import shape
from medsam_core.header import RunHeader


def made_header(plan: Any = (), /, **changes: Any) -> RunHeader:
    """What a session would write for that plan, with some keys changed; both in built-in types."""
    return shape(built_in(plan) | changes, RunHeader)


def built_in(plan: Any = ()) -> dict[str, Any]:
    """The same in built-in types."""
    return {
        "schema": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "command": ["pytest"],
        "settings": {"profile": "brats2019", "key_slice": "largest", "jitter_voxels": 0.0, "regions": ["WT"]},
        "checkpoint": {"name": "embedded", "sha256": "c" * 64, "architecture": "embedded", "image_size": 320},
        "device": "cpu",
        "precision": "fp32",
        "cohort": {
            "layouts": ["brats2018"],
            "labels": ["brats2019"],
            "subjects": sorted({case.split("/")[0] for case in plan}),
            "fingerprint": "f" * 64,
            "root": "phantoms",
        },
        "plan": list(plan),
        "gates": None,
        "prompts_from": None,
        "environment": {"torch": "2.13.0", "sam2": "1.1.0", "commit": "a" * 40, "gpu": None, "cpu": "a CPU"},
    }
