"""Whole sessions in which a program or a service finds the masks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from medsam_core.runs import read_run
from tests.predictors.toys import said, scores

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
# MedSAM2's own flow in a separate process: it reads the challenge's npz, and asks sam2's predictor for the box
MEDSAM2 = """\
import sys
import numpy as np
import torch
from PIL import Image
from medsam_core.inference.model import load_model
from medsam_core.predictors.sam2_flow import Sam2Flow
from medsam_core.prompts.prompt import Prompt

model = load_model(device="cpu", precision="fp32")
size = model.architecture.image_size
case = np.load(sys.argv[1], allow_pickle=True)
frames = [np.array(Image.fromarray(one).convert("RGB").resize((size, size))) for one in case["imgs"]]
frames = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2) / 255.0)
frames -= torch.tensor([0.485, 0.456, 0.406])[:, None, None]
frames /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
(box,) = case["boxes"]
edges = [box[f"z_mid_{edge}"] for edge in ("x_min", "y_min", "x_max", "y_max")]
prompt = Prompt("box", box["z_mid"], box=tuple(map(float, edges)))
flow = Sam2Flow(model, frames=frames.float(), shape=case["imgs"].shape)
np.savez_compressed(sys.argv[2], segs=flow.mask(prompt, str(case["protocol"])).astype(np.uint8))
print(f"{len(frames)} slices, process {__import__('os').getpid()}")
"""
# the reference server around the toy; it is killed as by the system when it sees its second volume
SERVER = """\
import os, signal, sys
from medsam_core.predictors.choosing import choose
from medsam_core.predictors.reference_server import serve
import toy

class Served(toy.Toy):
    volumes = 0
    def encode(self, volume):
        Served.volumes += 1
        if Served.volumes == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(volume)

server = serve(Served())
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.slow
def test_medsam2s_flow_in_its_own_process_on_a_real_case(guest, pytester, real_cases, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    program = pytester.makepyfile(medsam2=MEDSAM2)
    command = f"{shlex.quote(sys.executable)} {program} {{input}} {{output}}"
    one = ("--medsam-limit=1", "--medsam-regions=WT", "--medsam-device=cpu")
    result = guest(
        "--medsam-predictor=command", f"--medsam-predictor-command={command}", *one, run_dir="run", root=real_cases
    )
    header = read_run(pytester.path / "run").header
    assert header.predictor.name == "command"
    (found,) = scores(pytester.path / "run").values()
    guest(*one, run_dir="engine", root=real_cases)
    (engine,) = scores(pytester.path / "engine").values()
    assert 0.3 < engine["brats2019/dice@volume"] < 1, said(result)
    assert found["brats2019/dice@volume"] == pytest.approx(engine["brats2019/dice@volume"], abs=1e-4)


@pytest.mark.slow
def test_sam2s_own_predictor_has_the_scores_of_the_engine(guest, pytester):
    one = ("--medsam-limit=1", "--medsam-prompts=box,point", "--medsam-device=cpu")
    guest(*one, run_dir="engine")
    result = guest("--medsam-predictor=sam2", *one, run_dir="sam2")
    result.stdout.fnmatch_lines(["predictor: sam2 1.1.0", "checkpoint: embedded (sha256 *), embedded, 320 px"])
    engine, sam2 = (scores(pytester.path / name) for name in ("engine", "sam2"))
    keys = [f"brats2019/dice@{scope}" for scope in ("volume", "region_slices", "key_slice")]
    assert len(engine) == 6
    for case, found in engine.items():
        assert [sam2[case][key] for key in keys] == pytest.approx([found[key] for key in keys], abs=1e-4), case
    assert max(found[keys[0]] for found in engine.values()) > 0.3


@contextmanager
def service(folder, dies_at: int):
    """The port of a server that is killed when it gets its `dies_at`th volume; 0 for never."""
    (folder / "server.py").write_text(SERVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    process = subprocess.Popen(
        [sys.executable, "server.py", str(dies_at)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_service_that_is_killed_in_the_middle_is_inconclusive_and_the_run_is_resumed_whole(guest, pytester):
    pytest.importorskip("httpx", reason="httpx is not installed: pip install 'medsam-core[http]'")
    asked = ("--medsam-predictor=http", "--medsam-predictor-url=http://127.0.0.1:{}")
    pytester.makepyfile(toy=pytester.path.joinpath("toy.py").read_text())
    with service(pytester.path, dies_at=2) as port:
        result = guest(*(one.format(port) for one in asked))
    assert result.ret == 10
    assert "predictor http at http://127.0.0.1:" in said(result)
    assert "from /predict in 4 attempts, expected an answer; see whether the service still runs" in said(result)
    result.stdout.fnmatch_lines(
        ["*INCONCLUSIVE: 3 of 6 cases scored*", "*INCONCLUSIVE 3 cases planned but not scored*"]
    )
    before = scores(pytester.path / "run")
    assert len(before) == 3

    with service(pytester.path, dies_at=0) as port:
        result = guest(*(one.format(port) for one in asked), "--medsam-resume=run", run_dir=None)
    assert result.ret == 0, said(result)
    result.stdout.fnmatch_lines(["predictor: http:toy 1", "*PASS: 6 of 6 cases scored*; predictor http:toy 1"])
    whole = scores(pytester.path / "run")
    assert {case: whole[case] for case in before} == before
    guest("--medsam-predictor=toy:Toy", run_dir="here")
    assert scores(pytester.path / "here") == whole
