"""A `Case`, the `Settings` by which cases are made and scored, and the `CaseRecord` of a scored case.

Plain values: nothing here reads an image or runs a model, so runs, gates and reports need no more than this module.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from medsam_core.data.regions import CONVENTIONS, NESTED, REGIONS, convention_named
from medsam_core.decoding import Malformed, finite_or_text, number, shape
from medsam_core.errors import OptionError
from medsam_core.metrics import METRICS, PROFILES
from medsam_core.metrics.overlap import Counts
from medsam_core.modalities import IMAGES, listed, sequences_of
from medsam_core.prompts.corrections import RULES, StoredCorrection
from medsam_core.prompts.noise import PATTERN, Noise
from medsam_core.prompts.prompt import KEY_SLICES, MODES, PROTOCOLS, StoredPrompt

SCOPES = ("volume", "region_slices", "key_slice")
"""Where the last mask is scored. With corrections `round0`, `round1`, … are scopes, too: the volume after as many."""
ScoreKey = Annotated[str, Meta(pattern="^[^/@]+/[^/@]+@(volume|region_slices|key_slice|round[0-9]+)$")]
"""`<profile>/<metric>@<scope>`."""
CONTROL_METRICS, CONTROL_SCOPES = ("dice", "iou"), ("volume", "key_slice")
DEFAULT_METRICS = ("dice", "iou", "sensitivity", "precision", "volume_ml", "truth_volume_ml", "volume_difference_ml")


@dataclass(frozen=True, order=True)
class Case:
    """One subject × modality × region × prompt mode × protocol × noise: what one test of the gate scores."""

    subject: str
    """The subject's id, such as `Brats18_2013_21_1`."""
    modality: str
    """One of IMAGES: a modality, or three joined by +."""
    region: str
    """One of `data.regions.REGIONS`."""
    prompt: str
    """The prompt mode, one of `prompts.prompt.MODES`."""
    protocol: str = "bidirectional"
    """One of `prompts.prompt.PROTOCOLS`."""
    noise: Annotated[str, Meta(pattern=f"^({PATTERN})?$")] = ""
    """The word of a `prompts.noise.Noise`, such as `jitter3-seed1`; "" for the exact prompt."""

    @property
    def id(self) -> str:
        """Stable, readable and sortable: `Brats18_2013_21_1/t1ce/WT/box`.

        The protocol is added unless it is bidirectional, then the noise unless the prompt is exact.
        """
        protocol = () if self.protocol == "bidirectional" else (self.protocol,)
        noise = (self.noise,) if self.noise else ()
        return "/".join((self.subject, self.modality, self.region, self.prompt, *protocol, *noise))

    @property
    def noise_level(self) -> str:
        """The noise without its seed, `jitter3`; "" for the exact prompt."""
        return self.noise.partition("-")[0]

    @property
    def exact(self) -> Case:
        """The same case with the exact prompt."""
        return dataclasses.replace(self, noise="")

    @classmethod
    def from_id(cls, identity: str) -> Case | None:
        """The case with that `id`; None for an id that no case has."""
        parts = identity.split("/")
        noise = parts.pop() if re.fullmatch(PATTERN, parts[-1]) else ""
        words = [*parts] if parts and parts[-1] in PROTOCOLS else [*parts, "bidirectional"]
        if len(words) < 5 or any(
            word not in CASE_WORDS[name] for name, word in zip(CASE_WORDS, words[-4:], strict=True)
        ):
            return None
        modality, region, prompt, protocol = words[-4:]
        return cls("/".join(words[:-4]), modality, region, prompt, protocol, noise)

    def to_json(self) -> dict[str, Any]:
        """Its fields; `noise` only if the prompt has some."""
        return {name: value for name, value in vars(self).items() if name != "noise" or value}


CASE_WORDS = {"modality": IMAGES, "region": REGIONS, "prompt": MODES, "protocol": PROTOCOLS}
"""What each part of a case may be; the subject and the noise are free."""


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


def check_choices(what: str, chosen: Sequence[str], known: Sequence[str]) -> None:
    """Raise OptionError if `chosen` is empty, has a repetition, or holds a word that is not in `known`.

    what: what is chosen, for the error's text; only a "label convention" may be empty.
    """
    if not chosen and what != "label convention":
        raise OptionError(f"{what}: got none, expected at least one of {listed(known)}; name one.")
    for one in chosen:
        if one not in known:
            raise OptionError(f"unknown {what} {one!r}: expected one of {listed(known)}; correct the spelling.")
    if len(set(chosen)) != len(chosen):
        raise OptionError(f"{what}: got {', '.join(chosen)} with a repetition, expected each once; remove it.")


@dataclass(frozen=True)
class CaseRecord:
    """A scored case: its scores, its prompts, and everything needed to judge it later without the images."""

    case: Case
    scores: Mapping[ScoreKey, float]
    """`"<profile>/<metric>@<scope>"` → value, e.g. `"brats2019/dice@volume"`; units as in `metrics.METRICS`."""
    key_slices: tuple[Annotated[int, Meta(ge=0)], ...]
    """The prompted axial slices. () if the region is absent: nothing was prompted, the prediction is empty, and the
    profile's rule for two empty masks gives the scores."""
    grade: str | None = None
    """The subject's grade, "HGG" or "LGG"; None if unknown."""
    site: str | None = None
    """The subject's site as the data set writes it; None if unknown."""
    labels: str = ""
    """The name of the label convention that the truth was read with."""
    seconds: float | None = None
    """Wall time of the subject's reading, encoding, tracking and scoring, divided equally among its cases."""
    data: Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")] = ""
    """BLAKE2b (16 hex digits) of image voxels, label map and spacing: other data under the same names shows."""
    overlay: str | None = None
    """Path of the overlay inside the run directory."""
    mask: str | None = None
    """Path of the predicted mask inside the run directory."""
    mask_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of that file as it was scored; None without one, and in runs that did not keep it."""
    diagnosis: str | None = None
    """Why the case broke a gate, if it did."""
    prompts: tuple[StoredPrompt, ...] = ()
    """What the model was given, as `Prompt.to_json` writes it: enough to replay it."""
    notes: tuple[str, ...] = ()
    """What was unusual about the subject's files or the segmentation, one sentence each."""
    controls: Mapping[str, Mapping[ScoreKey, float]] = field(default_factory=dict)
    """The scores of each control (`controls.CONTROLS`), as `score_controls` gives them; {} if nothing was prompted."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """The voxels behind the scores, by scope; {} in a run of schema 1, which did not keep them."""
    spacing_mm: tuple[float, float, float] | None = None
    """(dz, dy, dx) of the masks; None in a run of schema 1."""
    corrections: tuple[StoredCorrection | None, ...] = ()
    """Of each round its clicks, None where nothing was wrong; (), and not in the file, in a run without corrections."""

    @property
    def id(self) -> str:
        """The case's id."""
        return self.case.id

    @property
    def prompted(self) -> bool:
        """False if the region is absent from the truth: the model was given no prompt."""
        return bool(self.key_slices)

    def score(self, metric: str, scope: str = "volume", profile: str | None = None) -> float:
        """One score, e.g. `record.score("dice")`.

        profile: None for the one that the record was scored with.
        Raises OptionError if the run did not compute it.
        """
        key = score_key(profile or self._profile(), metric, scope)
        if key not in self.scores:
            raise OptionError(f"{self.id}: no score {key!r}, this run has {', '.join(self.scores)}; choose one.")
        return self.scores[key]

    def rounds(self, metric: str = "dice", profile: str | None = None) -> tuple[float, ...]:
        """The scores of one metric in round 0, 1, …; () in a run without corrections or without this metric."""
        keys = (score_key(profile or self._profile(), metric, f"round{number}") for number in itertools.count())
        return tuple(self.scores[key] for key in itertools.takewhile(self.scores.__contains__, keys))

    def unbeaten_controls(self, metric: str = "dice", scope: str = "volume", profile: str | None = None) -> list[str]:
        """The names of the controls that the model does not beat, sorted; [] if there are no controls.

        metric: `dice` or `iou`. scope: `volume` or `key_slice`. profile: as in `score`.
        To beat a control is to score more; a NaN beats nothing. Raises OptionError if the run did not compute the
        model's score.
        """
        key = score_key(profile or self._profile(), metric, scope)
        own = self.score(metric, scope, profile) if self.controls else 0.0
        return [name for name, scores in sorted(self.controls.items()) if key in scores and not own > scores[key]]

    def _profile(self) -> str:
        """The profile of the scores, of which a run has one; "" without scores."""
        return next(iter(self.scores), "").split("/", 1)[0]

    def to_json(self) -> dict[str, Any]:
        """Built-in types only, for strict JSON: a score that is not finite becomes the string nan, inf or -inf."""
        scores = {key: finite_or_text(value) for key, value in self.scores.items()}
        stored = {"id": self.id, **dataclasses.asdict(self), "case": self.case.to_json(), "scores": scores}
        if not self.corrections:
            stored.pop("corrections")
        return stored

    @classmethod
    def from_json(cls, data: Any) -> CaseRecord:
        """The record that `to_json` gave; keys it does not know (of a newer version) are left out.

        Raises Malformed, naming the field, for anything else.
        """
        if isinstance(data, dict):
            data = data | {name: number(data[name]) for name in ("scores", "controls") if name in data}
        record = shape(data, cls)
        for part, known in CASE_WORDS.items():
            got = getattr(record.case, part)
            if got not in known:
                raise Malformed(f"case.{part}: got {got!r} where one of {listed(known)} belongs")
        return record


def is_scope(word: str) -> bool:
    """Whether a word is one of SCOPES or a round, `round3`."""
    return word in SCOPES or re.fullmatch("round(0|[1-9][0-9]*)", word) is not None


def check_scope(word: str) -> None:
    """Raise OptionError for a word that is no scope."""
    if not is_scope(word):
        check_choices("scope", (word,), (*SCOPES, "round0", "round1", "…"))


def score_key(profile: str, metric: str, scope: str) -> str:
    """The key of a score in a record: `brats2019/dice@volume`."""
    return f"{profile}/{metric}@{scope}"
