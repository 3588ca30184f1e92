"""Predictors by name, by module:factory and by entry point, and a sentence for what cannot be one."""

import dataclasses
import sys

import pytest

from medsam_core.errors import CheckpointError, DataError, PredictorError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.choosing import PredictorRequest, available, choose
from tests.predictors.toys import BoxFiller

MODULE = """\
from medsam_core.errors import DataError
from tests.predictors.toys import BoxFiller

NUMBER = 3

def plain():
    return BoxFiller()

def with_request(request):
    made = BoxFiller()
    made.request = request
    return made

def optional_request(request=None):
    return with_request(request)

def any_number(*arguments):
    return with_request(*arguments)

def another_default(reach=3):
    made = BoxFiller()
    made.reach = reach
    return made

class Family:
    @staticmethod
    def make():
        return BoxFiller()

def failing():
    raise OSError("no GPU left")

def failing_in_a_sentence():
    raise DataError("weights.onnx: damaged.")

class Half:
    notes = []
    def encode(self, volume): ...

class WithoutIdentity(BoxFiller):
    identity = "me"

class WithOtherNotes(BoxFiller):
    def __init__(self):
        self.notes = ()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module with good and bad factories."""
    (tmp_path / "toy_models.py").write_text(MODULE)
    (tmp_path / "broken_models.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    yield "toy_models"
    for name in ("toy_models", "broken_models"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("factory", ["plain", "Family.make", "another_default"])
def test_a_factory_without_arguments(factory, module):
    made = choose(f"{module}:{factory}")()
    assert isinstance(made, Checked)
    assert made.identity.name == "box-filler"


@pytest.mark.parametrize("factory", ["with_request", "optional_request", "any_number"])
def test_a_factory_gets_the_request(factory, module):
    made = choose(f"{module}:{factory}", device="cpu", options={"a": "b"})()
    assert made.predictor.request == PredictorRequest(device="cpu", options={"a": "b"})


def test_another_argument_with_a_default_is_left_alone(module):
    assert choose(f"{module}:another_default")().predictor.reach == 3


def test_a_request_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PredictorRequest().device = "cpu"


def test_an_unknown_setting_is_no_setting(module):
    with pytest.raises(TypeError, match="devise"):
        choose(f"{module}:plain", devise="cpu")


def test_the_engine_by_name(small_checkpoint):
    made = choose("engine", checkpoint=str(small_checkpoint), device="cpu", precision="fp32")()
    identity = made.identity
    assert (identity.name, identity.version, identity.image_size) == ("engine", "0.1.0", 64)
    assert identity.sha256 == made.predictor.model.checkpoint.sha256
    assert made.notes is made.predictor.engine.notes


def test_the_engine_keeps_as_many_features_as_the_option_says(small_checkpoint):
    given = {"checkpoint": str(small_checkpoint), "device": "cpu", "precision": "fp32"}
    assert choose("engine", **given)().predictor.engine.feature_mib == 2048
    assert choose("engine", **given, options={"feature-mib": "7"})().predictor.engine.feature_mib == 7
    for options, said in (
        ({"feature-mib": "0"}, "got feature-mib '0'"),
        ({"feature": "7"}, "did you mean feature-mib"),
    ):
        with pytest.raises(PredictorError, match=said):
            choose("engine", **given, options=options)()


def test_an_error_of_the_engine_stays_its_own():
    with pytest.raises(CheckpointError, match="got no such file"):
        choose("engine", checkpoint="nowhere.pt", device="cpu")()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("engin", r"got an unknown name, expected one of engine, sam2, command, http.*\(did you mean engine\?\)"),
        ("zzz", r"expected one of engine, sam2, command, http, or module:factory; correct the name"),
        (":make", "got no module or no factory, expected module:factory"),
        ("toy_models:", "got no module or no factory"),
        (
            "no_such_module_here:make",
            r"the module no_such_module_here cannot be imported: ModuleNotFoundError \(No mod",
        ),
        ("broken_models:make", r"the module broken_models cannot be imported: .*nothing_of_this_name"),
        ("toy_models:plan", r"toy_models has no plan \(did you mean plain\?\), expected a function or a class"),
        ("toy_models:Family.mak", r"toy_models has no Family.mak \(did you mean make\?\)"),
        ("toy_models:NUMBER", "got a int, expected a function or a class"),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_cannot_be_found_is_one_sentence(spec, said):
    with pytest.raises(PredictorError, match=said) as caught:
        choose(spec)
    assert str(caught.value).startswith(f"predictor {spec}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("failing", r"its factory failed with OSError \(no GPU left\), expected a predictor"),
        ("Half", "got a Half without predict and identity, expected encode, predict, identity and notes"),
        ("WithoutIdentity", "got an identity of type str, expected a PredictorIdentity"),
        ("WithOtherNotes", "got notes of type tuple, expected a list"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(factory, said, module):
    make = choose(f"{module}:{factory}")
    with pytest.raises(PredictorError, match=said):
        make()


def test_a_sentence_of_a_factory_is_kept(module):
    with pytest.raises(DataError, match=r"^weights\.onnx: damaged\.$"):
        choose(f"{module}:failing_in_a_sentence")()


def test_an_installed_package_offers_predictors(module, tmp_path):
    info = tmp_path / "toy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[medsam_core.predictors]\nmy-toy = {module}:plain\nengine = no:where\n")
    assert available() == ("engine", "sam2", "command", "http", "my-toy")
    assert isinstance(choose("my-toy")().predictor, BoxFiller)
    with pytest.raises(
        PredictorError, match=r"expected one of .*, my-toy, or module:factory \(did you mean my-toy\?\)"
    ):
        choose("my-toi")


@pytest.mark.parametrize("predictor", ["command", "http"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"options": {"tiemout": "3"}}, r"got the option 'tiemout', expected one of .* \(did you mean timeout\?\)"),
        ({}, "expected one; give it, such as --medsam-predictor-(command|url)="),
        ({"image_size": 512}, "(got image_size 512, expected none|got no command line)"),
    ],
)
def test_options_that_cannot_be_followed(predictor, settings, said):
    with pytest.raises(PredictorError, match=said):
        choose(predictor, **settings)()
