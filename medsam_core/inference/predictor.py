"""From a volume and prompts to masks: `load_predictor(checkpoint).predict(volume, prompts)`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
import torch

from medsam_core.errors import OptionError, PromptError
from medsam_core.inference import ambient
from medsam_core.inference.compilation import Checked, Compiled
from medsam_core.inference.devices import autocast, halving_on_exhaustion
from medsam_core.inference.encoding import EncodedVolume, encode_images
from medsam_core.inference.fixed_heads import supports
from medsam_core.inference.fixed_steps import EXACT, FixedStep, FixedSteps
from medsam_core.inference.model import LoadedModel, load_model
from medsam_core.inference.plan import Plan
from medsam_core.inference.predictions import Prediction, PredictionBuilder
from medsam_core.inference.propagation import Propagation
from medsam_core.inference.replay import Replayed
from medsam_core.inference.rounds import Rounds, content_of
from medsam_core.inference.tracking import Tracker
from medsam_core.prompts.prompt import PROTOCOLS, Prompt, objects_of

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume
    from medsam_core.inference.architectures import Architecture

    Image = Volume | np.ndarray | EncodedVolume

Item = TypeVar("Item")


class Predictor:
    """Tracks prompts through volumes with one model; keeps nothing from one volume to the next."""

    model: LoadedModel
    batch_size: int
    """How many tracks (a prompt in one direction) advance together. Results depend on it only by rounding."""
    encoder_batch: int
    """How many slices are encoded together."""
    feature_mib: int
    """How much of the device's memory a volume's features may take."""
    notes: list[str]
    """Sentences for a report: the model's notes, one for each batch that was halved for want of memory, and one for
    what the process was set to (`inference/ambient.py`)."""
    plan: Plan
    """How tracks advance."""
    threads: int
    """How many threads torch uses for the model's work: as many as when this was made."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        batch_size: int | None = None,
        encoder_batch: int | None = None,
        feature_mib: int = 2048,
        compiled: bool = False,
        plan: Plan | None = None,
    ) -> None:
        """batch_size: None for 64 on CUDA, and for 4 on the CPU, where more need more memory and gain nothing.

        encoder_batch: None for 16 on CUDA, 4 on the CPU.
        compiled: whether the image encoder and the tracking step go through `torch.compile` (on CUDA into graphs).
            Each is checked against the plain function on first use (`inference/compilation.py`). Takes minutes, once.
        plan: how tracks advance; None for what the device and `compiled` ask for.
        """
        cuda = model.device.type == "cuda"
        self.model = model
        self.batch_size = batch_size or (64 if cuda else 4)
        self.encoder_batch = encoder_batch or (16 if cuda else 4)
        self.feature_mib = feature_mib
        self.notes = list(model.notes)
        self.threads = torch.get_num_threads()
        if found := ambient.differences():
            self.notes.append(ambient.sentence(found))
        self.plan = plan or Plan.for_device(model.device, compiled=compiled)
        self._encoder: Checked | None = None
        self.fixed: FixedSteps | None = None
        self._prepare(compiled)

    @ambient.set_aside()
    def _prepare(self, compiled: bool) -> None:
        copy = Compiled if compiled else Replayed if self.plan.replayed else None
        given = self.model.device, self.model.precision, self.notes
        if copy:
            self._encoder = copy(encode_images, "image encoder", *given)
        if not self.plan.fixed:
            return
        if not supports(self.model.architecture):
            self.notes.append(
                f"tracking step: {self.model.architecture.name} is not built like SAM 2's published models; every step "
                "has its own shape, which is slow on a GPU"
            )
            return
        step = FixedStep(self.model, narrow_values=self.plan.narrow_values)
        self.fixed = FixedSteps(step, copy(step, "tracking step", *given, exact=EXACT) if copy else None)

    def encode(self, volume: Volume | np.ndarray) -> EncodedVolume:
        """The volume, prepared for `predict`: pass this instead of the volume to share its features between calls.

        volume: a Volume or an array (D, H, W) of one modality. A slice is encoded on first use. The `channels` of a
            Volume, if it has some, are the red, green and blue of what the model sees.
        Raises DataError for another shape, NaN or infinity, or a constant image.
        """
        voxels = np.asarray(getattr(volume, "voxels", volume))
        with ambient.set_aside():
            return EncodedVolume(
                voxels,
                self.model,
                self.encoder_batch,
                self.feature_mib,
                self.notes,
                self._encoder,
                channels_last=self.fixed is not None,
                channels=getattr(volume, "channels", ()),
            )

    @overload
    def predict(
        self, volume: Image, prompts: Prompt, *, protocol: str = ..., keep_logits: bool = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self, volume: Image, prompts: Sequence[Prompt], *, protocol: str = ..., keep_logits: bool = ...
    ) -> list[Prediction]: ...

    def predict(
        self,
        volume: Image,
        prompts: Prompt | Sequence[Prompt],
        *,
        protocol: str = "bidirectional",
        keep_logits: bool = False,
    ) -> Prediction | list[Prediction]:
        """One prediction for a prompt, or a list with one for each of several.

        Prompts do not influence one another, unless they are on several slices of one object (`Prompt.object_id`). Then
        the object is tracked once, from the first of them (with `forward` from the lowest slice), and the prediction of
        each is that of the object.

        volume: a Volume, an array (D, H, W), or what `encode` made of one.
        prompts: [] gives [].
        protocol: `bidirectional` tracks from the key slice to both ends, `forward` to the last slice only,
            `slicewise` segments the key slice alone, without memory.
        keep_logits: whether predictions keep their low-resolution logits.
        Raises PromptError for a prompt outside of the volume or two prompts of one object on one slice, OptionError
        for another protocol, for several slices of an object with `slicewise`, or for a volume that another model
        encoded.
        """
        asked = [prompts] if isinstance(prompts, Prompt) else list(prompts)
        encoded = self._checked(volume, asked, protocol)
        if not asked:
            return []
        objects = objects_of(asked, protocol)
        with self.working():
            contents = [tuple(map(content_of, one)) for one in objects]
            distinct = dict(zip(contents, objects, strict=True))
            builder = PredictionBuilder([*distinct.values()], encoded, protocol, keep_logits=keep_logits)
            self._run(Tracker(encoded, self.fixed), [*distinct.values()], builder)
            found_by = dict(zip(distinct, builder.predictions(), strict=True))
            of_prompt = {
                id(prompt): found_by[key] for key, one in zip(contents, objects, strict=True) for prompt in one
            }
            predictions = [replace(of_prompt[id(prompt)], prompt=prompt) for prompt in asked]
        return predictions[0] if isinstance(prompts, Prompt) else predictions

    def refine(
        self, volume: Image, prompts: Sequence[Prompt], *, protocol: str = "bidirectional", keep_logits: bool = False
    ) -> Rounds:
        """As `predict`, but the objects can be corrected afterwards, round by round.

        Every slice's memory and logits stay on the device until the rounds are dropped: at 512 pixels 0.2 MB for each
        slice of an object. Raises what `predict` raises, and OptionError for `slicewise`, which has no memory.
        """
        if protocol == "slicewise":
            raise OptionError(
                "protocol slicewise: got it with corrections, expected bidirectional or forward because this protocol "
                "has no memory, so a correction would change its own slice alone; choose another protocol."
            )
        asked = list(prompts)
        return Rounds(self, self._checked(volume, asked, protocol), asked, protocol, keep_logits=keep_logits)

    def _checked(self, volume: Image, asked: Sequence[Prompt], protocol: str) -> EncodedVolume:
        """The encoded volume. Raises OptionError or PromptError for what cannot be asked of it."""
        if protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise OptionError(f"protocol: got {protocol!r}, expected one of {known}; choose one of them.")
        encoded = volume if isinstance(volume, EncodedVolume) else self.encode(volume)
        if encoded.model is not self.model:
            raise OptionError(
                "volume: got one encoded by another model, expected this predictor's own; encode it with this one."
            )
        for prompt in asked:
            _check_inside(prompt, encoded.shape)
        return encoded

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """The context of the model's work: settings of the process aside, in the model's precision."""
        with ambient.set_aside(self.threads) as found:
            if found and (note := ambient.sentence(found)) not in self.notes:
                self.notes.append(note)
            # one context around everything: autocast drops its cast weights when the outermost context ends
            with autocast(self.model.device, self.model.precision):
                yield

    def _run(self, tracker: Tracker, objects: list[tuple[Prompt, ...]], builder: PredictionBuilder) -> None:
        propagation = Propagation(tracker, self.in_batches, self.notes)
        known = propagation.see(objects, builder)
        propagation.follow(builder.tracks(), known, builder)

    def in_batches(self, items: list[Item], run: Callable[[list[Item]], None]) -> None:
        """Run the items in batches of `batch_size`, smaller ones where the device's memory does not suffice."""
        while items:
            batch, items = items[: self.batch_size], items[self.batch_size :]

            def pieces(size: int, batch: list[Item] = batch) -> None:
                for i in range(0, len(batch), size):
                    run(batch[i : i + size])

            _, self.batch_size = halving_on_exhaustion(pieces, self.batch_size, self.notes)


def _check_inside(prompt: Prompt, shape: tuple[int, int, int]) -> None:
    depth, height, width = shape
    if prompt.key_slice >= depth:
        problem = f"got slice {prompt.key_slice}, expected one of the volume's {depth}"
    elif prompt.mask is not None and prompt.mask.shape != (height, width):
        problem = f"got a mask of {prompt.mask.shape}, expected {(height, width)}"
    else:
        corners = () if prompt.box is None else (prompt.box[:2], prompt.box[2:])
        outside = [at for at in (*corners, *prompt.points) if not (0 <= at[0] < width and 0 <= at[1] < height)]
        if not outside:
            return
        problem = f"got (x, y) = {outside[0]}, expected a place within its {width} x {height} voxels"
    raise PromptError(f"prompt {prompt.mode!r} on slice {prompt.key_slice}: {problem}; use a prompt of this volume.")


def load_predictor(
    checkpoint: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    architecture: str | Architecture | None = None,
    image_size: int | None = None,
    weights: str | None = None,
    batch_size: int | None = None,
    compiled: bool = False,
    graphs: bool = False,
) -> Predictor:
    """A Predictor for weights by path or name (None: the embedded ones); see `load_model` and `Predictor`.

    graphs: whether to record CUDA graphs (`inference/replay.py`); without effect on the CPU and with `compiled`.
    """
    model = load_model(
        checkpoint,
        device=device,
        precision=precision,
        architecture=architecture,
        image_size=image_size,
        weights=weights,
    )
    plan = Plan.for_device(model.device, compiled=compiled, graphs=graphs)
    return Predictor(model, batch_size=batch_size, compiled=compiled, plan=plan)
