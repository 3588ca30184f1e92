"""A `Case`, and the `CaseRecord` of a scored one; `settings` says how cases are made and scored.

Plain values: nothing here reads an image or runs a model, so runs, gates and reports need no more than this module.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from medsam_core.data.regions import REGIONS
from medsam_core.decoding import Malformed, finite_or_text, number, shape
from medsam_core.errors import OptionError
from medsam_core.metrics.overlap import Counts
from medsam_core.modalities import IMAGES, listed
from medsam_core.prompts.corrections import StoredCorrection
from medsam_core.prompts.noise import PATTERN
from medsam_core.prompts.prompt import MODES, PROTOCOLS, StoredPrompt

SCOPES = ("volume", "region_slices", "key_slice")
"""Where the last mask is scored. With corrections `round0`, `round1`, … are scopes, too: the volume after as many."""
ScoreKey = Annotated[str, Meta(pattern="^[^/@]+/[^/@]+@(volume|region_slices|key_slice|round[0-9]+)$")]
"""`<profile>/<metric>@<scope>`."""
CONTROL_METRICS, CONTROL_SCOPES = ("dice", "iou"), ("volume", "key_slice")


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
