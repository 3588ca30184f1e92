"""`medsam-core checkpoints`, as typed."""

import json

from medsam_core.cli import main
from medsam_core.inference.checkpoints import embedded_path, sha256_of
from medsam_core.inference.published import NAMES


def test_the_table_has_name_image_size_megabytes_licence_hash_and_source(capsys):
    assert main(["checkpoints"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {"embedded", *NAMES} < lines.keys()
    assert lines["medsam2-latest"].split(maxsplit=3)[:3] == ["medsam2-latest", "512", "156"]
    assert "CC BY-SA 4.0  c92743b99f00  wanglab/MedSAM2 MedSAM2_latest.pt at e4a6f35" in lines["medsam2-latest"]
    assert "CC BY-SA 4.0  unknown" in lines["medsam2-us-heart"]
    assert "Apache-2.0" in lines["sam2.1-base+"]


def test_json_has_everything_whole(capsys):
    assert main(["checkpoints", "--json"]) == 0
    known = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert known.keys() == {"embedded", *NAMES}
    assert known["sam2.1-large"] == {
        "name": "sam2.1-large",
        "architecture": "sam2.1-large",
        "image_size": 1024,
        "repository": "facebook/sam2.1-hiera-large",
        "revision": "665f8e2ad61cf5f53d65644ff27c8ee525124610",
        "file": "sam2.1_hiera_large.pt",
        "sha256": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        "size_bytes": 898083611,
        "licence": "Apache-2.0",
    }
    assert (known["medsam2-2411"]["sha256"], known["medsam2-2411"]["size_bytes"]) == ("", None)
    assert known["embedded"]["sha256"] == sha256_of(embedded_path())
