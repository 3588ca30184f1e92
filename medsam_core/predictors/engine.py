"""This package's own engine as a predictor; torch is imported when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medsam_core import __version__
from medsam_core.errors import PredictorError
from medsam_core.predictors.checked import Checked
from medsam_core.predictors.contract import Predictor, PredictorIdentity
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume
    from medsam_core.inference import predictor as inference
    from medsam_core.inference.encoding import EncodedVolume
    from medsam_core.inference.model import LoadedModel
    from medsam_core.inference.predictions import Prediction
    from medsam_core.inference.rounds import Rounds
    from medsam_core.predictors.choosing import PredictorRequest


class EnginePredictor:
    """`medsam_core.inference.predictor.Predictor` with an identity."""

    engine: inference.Predictor
    """The engine itself."""
    several_slices = True
    """See `abilities.takes_several_slices`."""
    made_masks = True
    """See `abilities.takes_made_masks`."""
    three_sequences = True
    """See `abilities.takes_three_sequences`."""
    corrections = True
    """See `abilities.takes_corrections`."""

    def __init__(self, engine: inference.Predictor) -> None:
        self.engine = engine

    @property
    def identity(self) -> PredictorIdentity:
        """The name "engine", this package's version, and the SHA-256 of the checkpoint."""
        return identity_of(self.engine.model, "engine", __version__)

    @property
    def model(self) -> LoadedModel:
        """The loaded model."""
        return self.engine.model

    @property
    def notes(self) -> list[str]:
        """The engine's own."""
        return self.engine.notes

    def encode(self, volume: Volume) -> EncodedVolume:
        """See `inference.predictor.Predictor.encode`."""
        return self.engine.encode(volume)

    def predict(self, encoded: EncodedVolume, prompts: Sequence[Prompt], *, protocol: str) -> list[Prediction]:
        """See `inference.predictor.Predictor.predict`."""
        return self.engine.predict(encoded, list(prompts), protocol=protocol)

    def refine(self, encoded: EncodedVolume, prompts: Sequence[Prompt], *, protocol: str) -> Rounds:
        """See `inference.predictor.Predictor.refine`."""
        return self.engine.refine(encoded, list(prompts), protocol=protocol)


def identity_of(model: LoadedModel, name: str, version: str) -> PredictorIdentity:
    """The identity of a predictor that runs a loaded model."""
    return PredictorIdentity(
        name=name,
        version=version,
        sha256=model.checkpoint.sha256,
        image_size=model.architecture.image_size,
        notes=tuple(model.notes),
        checkpoint=model.checkpoint.name,
        architecture=model.architecture.name,
    )


def engine_of(predictor: Predictor, *, what: str) -> inference.Predictor:
    """The engine in a predictor. what: who needs it, for the sentence. Raises PredictorError if it is another one."""
    inner: Any = predictor
    while isinstance(inner, Checked):
        inner = inner.predictor
    if not isinstance(inner, EnginePredictor):
        raise PredictorError(
            f"{what}: got the predictor {predictor.identity.name}, expected engine, because only it has them; leave "
            "out --medsam-predictor and --medsam-postprocess."
        )
    return inner.engine


def from_request(request: PredictorRequest) -> EnginePredictor:
    """The engine for what a session asked. Raises CheckpointError, DeviceError, OptionError or PredictorError."""
    from medsam_core.inference.predictor import load_predictor

    request.known_options("engine", ("feature-mib", "graphs"))
    graphs = request.options.get("graphs", "off")
    if graphs not in ("on", "off"):
        raise PredictorError(f"predictor engine: got graphs {graphs!r}, expected on or off; correct the option.")
    engine = load_predictor(
        request.checkpoint,
        device=request.device,
        precision=request.precision,
        architecture=request.architecture,
        image_size=request.image_size,
        weights=request.weights,
        compiled=request.compiled,
        graphs=graphs == "on",
    )
    engine.feature_mib = int(request.number("engine", "feature-mib", engine.feature_mib))
    engine.threads = request.threads or engine.threads
    return EnginePredictor(engine)
