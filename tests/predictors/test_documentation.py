"""The examples of docs/adding-a-predictor.md, run with small stand-ins for onnxruntime and transformers."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam_core.errors import PromptError
from medsam_core.predictors.choosing import choose
from medsam_core.prompts.prompt import Prompt
from medsam_core.testing import check_predictor
from tests.predictors.toys import SHAPE, volume

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-predictor.md"
SIZE = 128


def examples():
    """File name -> text of each example that is a module."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return {re.match(r"# (\w+)\.py\n", block)[1]: block for block in blocks}


def logits_of(points, labels):
    """(SIZE / 4, SIZE / 4) float32, positive in the box, or around the point."""
    points, labels = np.asarray(points).reshape(-1, 2) / 4, np.asarray(labels).reshape(-1)
    (x0, y0), (x1, y1) = points[:2] if labels[0] == 2 else (points[0] - 3, points[0] + 3)
    ys, xs = np.mgrid[: SIZE // 4, : SIZE // 4]
    return np.where((xs >= x0) & (xs <= x1) & (ys >= y0) & (ys <= y1), 5, -5).astype(np.float32)


class OnnxSession:
    def __init__(self, path, providers):
        assert Path(path).is_file()
        assert providers

    def get_inputs(self):
        return [types.SimpleNamespace(shape=[1, 3, SIZE, SIZE])]

    def run(self, names, inputs):
        assert names == ["logits", "iou"]
        assert inputs["image"].shape == (1, 3, SIZE, SIZE)
        assert inputs["image"].dtype == inputs["points"].dtype == np.float32
        assert inputs["labels"].dtype == np.int64
        assert inputs["points"].shape[:2] == inputs["labels"].shape
        return logits_of(inputs["points"], inputs["labels"])[None, None], np.array([[0.75]], np.float32)


class VideoModel:
    config = types.SimpleNamespace(image_size=SIZE)

    @classmethod
    def from_pretrained(cls, folder):
        assert Path(folder).is_dir()
        return cls()

    def to(self, device):
        assert device == "cpu"
        return self

    def eval(self):
        return self

    def propagate_in_video_iterator(self, session, start, steps, *, reverse):
        assert session.obj_with_new_inputs == [1]
        inputs = session.inputs[start]
        assert inputs["point_coords"].shape[:2] == (1, 1)
        assert inputs["point_labels"].dtype == torch.int32
        logits = torch.from_numpy(logits_of(inputs["point_coords"], inputs["point_labels"]))[None, None]
        last = max(start - steps, 0) if reverse else min(start + steps, len(session.video) - 1)
        for index in range(start, last - 1, -1) if reverse and start else range(start, last + 1) if not reverse else ():
            yield types.SimpleNamespace(frame_idx=index, pred_masks=logits)


class VideoSession:
    def __init__(self, *, video, video_height, video_width, inference_device, dtype):
        assert video.shape[1:] == (3, SIZE, SIZE)
        assert video_height > 0
        assert video_width > 0
        assert inference_device == "cpu"
        assert dtype is torch.float32  # the package's own default is a text, with which it fails
        self.video = video

    def reset_tracking_data(self):
        self.inputs, self.obj_with_new_inputs = {}, []

    def obj_id_to_idx(self, number):
        return number - 1

    def add_point_inputs(self, place, index, inputs):
        assert place == 0
        self.inputs[index] = inputs


def module(name, **attributes):
    made = types.ModuleType(name)
    made.__dict__.update(attributes)
    return made


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The examples as modules, with stand-ins for what they import and files where they look for weights."""
    for name, text in examples().items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    modeling = "transformers.models.sam2_video.modeling_sam2_video"
    stand_ins = [
        module("onnxruntime", InferenceSession=OnnxSession, __version__="0"),
        module("transformers", Sam2VideoModel=VideoModel, __version__="0", __path__=[]),
        module("transformers.models", __path__=[]),
        module("transformers.models.sam2_video", __path__=[]),
        module(modeling, Sam2VideoInferenceSession=VideoSession),
    ]
    for one in stand_ins:
        monkeypatch.setitem(sys.modules, one.__name__, one)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    yield tmp_path
    for name in examples():
        sys.modules.pop(name, None)


CHECKPOINTS = {"my_onnx": "model.safetensors", "my_transformers": "."}


def test_the_page_has_these_examples():
    assert examples().keys() == CHECKPOINTS.keys()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_example_follows_the_contract(name, installed):
    check_predictor(choose(f"{name}:make", checkpoint=str(installed / CHECKPOINTS[name])))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_example_refuses_a_mask_in_a_sentence(name, installed):
    predictor = choose(f"{name}:make", checkpoint=str(installed / CHECKPOINTS[name]))()
    prompt = Prompt("mask", 0, mask=np.ones(SHAPE[1:], bool))
    with pytest.raises(PromptError, match="got a mask prompt, expected a box or points"):
        predictor.predict(predictor.encode(volume()), [prompt], protocol="slicewise")
