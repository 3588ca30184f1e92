"""The `Settings` by which cases are made, prompted and scored. Plain values, as in `cases`."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsam_core.cases import Case, check_choices
from medsam_core.data.regions import CONVENTIONS, NESTED, REGIONS, convention_named
from medsam_core.errors import OptionError
from medsam_core.metrics import METRICS, PROFILES
from medsam_core.modalities import IMAGES, sequences_of
from medsam_core.prompts.corrections import RULES
from medsam_core.prompts.noise import Noise
from medsam_core.prompts.prompt import KEY_SLICES, MODES, PROTOCOLS

DEFAULT_METRICS = ("dice", "iou", "sensitivity", "precision", "volume_ml", "truth_volume_ml", "volume_difference_ml")


@dataclass(frozen=True)
class Settings:
    """How cases are made, prompted and scored: the same for every case of a run, and written into the run.

    Raises OptionError for an unknown or repeated choice, a number of key slices below 1 or above 1 with `slicewise`, or
    a jitter that is negative or not finite, or noises that are none, repeated, move no prompt, or come with a jitter.
    """

    modalities: tuple[str, ...] = ("t1ce",)
    """Of IMAGES, each once."""
    regions: tuple[str, ...] = NESTED
    """Of `data.regions.REGIONS`, each once."""
    prompts: tuple[str, ...] = ("box", "point")
    """Prompt modes, of `prompts.prompt.MODES`, each once."""
    protocols: tuple[str, ...] = ("bidirectional",)
    """Of `prompts.prompt.PROTOCOLS`, each once."""
    key_slice: str = "largest"
    """`largest`, `middle` or `first` slice of the region; the protocol `forward` always takes `first`."""
    key_slices: int = 1
    """How many slices of an object are prompted in one track, ≥ 1; see `simulation.key_slices_of`."""
    jitter_voxels: float = 0.0
    """Half-width of the uniform jitter of boxes and points, ≥ 0."""
    per_component: bool = False
    """One prompt for each connected component of the region instead of one for the whole region."""
    seed: int = 0
    """Of the jitter."""
    labels: str | None = None
    """The name of a label convention; None for each subject's own."""
    profile: str = "brats2019"
    """The name of the profile that defines the scores, one of `metrics.PROFILES`."""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    """Names of `metrics.METRICS`, each once."""
    noises: tuple[str, ...] = ()
    """Words of `prompts.noise.Noise`, each once: what is scored in addition to the exact prompts."""
    refine: int = 0
    """How many rounds of corrections follow the first mask, ≥ 0; left out of a stored run where it is 0."""
    refine_rule: str = "volume"
    """Where the next correction is, one of `prompts.corrections.RULES`; left out of a stored run without them."""

    def __post_init__(self) -> None:
        for image in self.modalities:
            sequences_of(image)
        for what, chosen, known in (
            ("modality", self.modalities, IMAGES),
            ("region", self.regions, REGIONS),
            ("prompt mode", self.prompts, MODES),
            ("protocol", self.protocols, PROTOCOLS),
            ("key slice", (self.key_slice,), KEY_SLICES),
            ("profile", (self.profile,), tuple(PROFILES)),
            ("metric", self.metrics, tuple(METRICS)),
            ("rule of corrections", (self.refine_rule,), RULES),
            ("label convention", (self.labels,) if self.labels else (), tuple(CONVENTIONS)),
        ):
            if what == "label convention" and "=" in "".join(chosen):
                convention_named(chosen[0])  # the labels themselves, as 1=oedema,2=core,3=enhancing
            else:
                check_choices(what, chosen, known)
        if self.key_slices < 1:
            raise OptionError(
                f"key slices: got {self.key_slices}, expected a whole number from 1 on; correct --medsam-key-slices."
            )
        if self.key_slices > 1 and "slicewise" in self.protocols:
            raise OptionError(
                f"key slices: got {self.key_slices} with the protocol slicewise, expected 1 because it prompts every "
                "slice and has no memory; leave out --medsam-key-slices or this protocol."
            )
        self._check_refine()
        if not self.jitter_voxels >= 0 or not np.isfinite(self.jitter_voxels):
            raise OptionError(
                f"jitter: got {self.jitter_voxels}, expected a finite number ≥ 0; correct --medsam-jitter."
            )
        self._check_noises()

    def _check_noises(self) -> None:
        for word in self.noises:
            noise = Noise.of(word)
            if self.noises.count(word) > 1:
                raise OptionError(f"noise: got {word} twice, expected each once; remove it.")
            if not any(noise.changes(mode) for mode in self.prompts):
                moved = "a box or a point" if noise.kind == "jitter" else "a box"
                raise OptionError(
                    f"noise: got {noise.level} with the prompt modes {', '.join(self.prompts)}, expected one with "
                    f"{moved}, because nothing else is moved; choose another --medsam-prompts or leave it out."
                )
        if self.noises and self.jitter_voxels:
            raise OptionError(
                f"noise: got {self.noises[0]} and a jitter of {self.jitter_voxels:g}, expected one of them, because "
                "the noise is compared with exact prompts; leave out --medsam-jitter."
            )

    def _check_refine(self) -> None:
        if self.refine < 0:
            raise OptionError(
                f"corrections: got {self.refine}, expected a whole number from 0 on; correct --medsam-refine."
            )
        if self.refine and "slicewise" in self.protocols:
            raise OptionError(
                f"corrections: got {self.refine} with the protocol slicewise, expected 0 because it has no memory, so "
                "a correction would change its own slice alone; leave out --medsam-refine or this protocol."
            )
        if self.refine and self.per_component:
            raise OptionError(
                f"corrections: got {self.refine} with one prompt for each component, expected one object for each case "
                "because a correction is of one object; leave out --medsam-refine or --medsam-per-component."
            )

    @property
    def round_scopes(self) -> tuple[str, ...]:
        """`round0` to `round<refine>`; () without corrections."""
        return tuple(f"round{number}" for number in range(self.refine + 1)) if self.refine else ()

    def cases(self, subject: str) -> tuple[Case, ...]:
        """Every case of one subject under these settings, in a fixed order; a noise only where it moves the prompt."""
        parts = itertools.product(self.modalities, self.regions, self.prompts, self.protocols)
        words = {mode: ("", *(one for one in self.noises if Noise.of(one).changes(mode))) for mode in self.prompts}
        return tuple(Case(subject, *part, noise) for part in parts for noise in words[part[2]])

    def to_json(self) -> dict[str, Any]:
        """Its fields; what concerns noise and corrections only where there are some."""
        left_out = set() if self.noises else {"noises"}
        left_out |= set() if self.refine else {"refine", "refine_rule"}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}
