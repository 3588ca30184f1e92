"""dataset.json, with which the decathlon, nnU-Net and their look-alikes describe a folder: its channels and its labels.

What it says is obeyed: the order of the channels and the meaning of the labels are nowhere else. What is not understood
is not guessed: then the images or the label convention are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam_core.data.regions import CONVENTIONS, NESTED, TISSUES, LabelConvention, convention_named
from medsam_core.decoding import Malformed, parse
from medsam_core.errors import DataError
from medsam_core.files import read_input

NAME = "dataset.json"

_CHANNELS = {
    "t1": r"t1(w|n|weighted|native|pre|nonenhanced)?",
    "t1ce": r"(ct1|t1w?(ce|c|gd|gad|gado|gadolinium|post|postcontrast|contrast|contrastenhanced|km)|cet1w?|t1post)",
    "t2": r"t2(w|weighted)?",
    "flair": r"(t2w?)?(flair|f)|fl|fla",
}
"""Modality -> its names in lower case, without signs."""
_TISSUES = (
    ("cavity", r"cavity|resection|\brc\b"),
    ("core", r"non[ -]?enhanc|necro|\bncr?\b|\bnetc?\b|\bnec\b|cyst|\bcc\b|core"),
    ("oedema", r"o?edema\w*|\bed\b|snfh|hyperintens|infiltrat|\bpe\b"),
    ("enhancing", r"enhanc|\bet\b|\bat\b|\bce\b|active"),
    ("tumour", r"tumou?r|glioma|lesion|\bwt\b|gtv|gross"),
)
"""Short name of a tissue, and what in a label's name means it; the first that is found counts."""
_BACKGROUND = re.compile(r"background|bg|back ground|unlabell?ed|healthy( tissue| brain)?|normal( tissue)?|none|clear")
_REGIONS = {"WT": r"whole|\bwt\b|complete", "TC": r"core|\btc\b", "ET": r"enhanc|\bet\b"}


@dataclass(frozen=True)
class Description:
    """What a dataset.json says."""

    path: Path
    channels: tuple[str, ...]
    """As written, in their order; () if it names none."""
    modalities: Mapping[str, int]
    """Modality -> channel, of the channels that are understood."""
    convention: str | None
    """The label convention, named or written out (see `regions.convention_named`); None where it is not understood."""
    unclear: str = ""
    """The label's name that is not understood; "" if there is none."""

    @property
    def other_channels(self) -> list[str]:
        """Channels that are none of the modalities."""
        return [name for place, name in enumerate(self.channels) if place not in self.modalities.values()]


def read_description(path: Path) -> Description:
    """The file as a Description; one about something else has neither channels nor a convention.

    Raises DataError if it is no JSON object, or names its channels or labels in a way that contradicts itself.
    """
    try:
        data = parse(read_input(path, what="a description of the data set (JSON)", error=DataError))
    except Malformed as problem:
        raise _bad(path, str(problem)) from None
    if not isinstance(data, dict):
        raise _bad(path, "got no JSON object")
    channels = _channels(path, data)
    modalities: dict[str, int] = {}
    for place, name in enumerate(channels):
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        modality = next((known for known, names in _CHANNELS.items() if re.fullmatch(names, plain)), None)
        if modality in modalities:
            raise _bad(path, f"names two channels that are both {modality} ({', '.join(channels)})")
        if modality is not None:
            modalities[modality] = place
    convention, unclear = _convention(path, data.get("labels"))
    return Description(path, channels, modalities, convention, unclear)


def _channels(path: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels in their order, of nnU-Net's `channel_names` or the decathlon's `modality`."""
    found: list[tuple[str, ...]] = []
    for key in ("channel_names", "modality"):
        named = data.get(key)
        if isinstance(named, list):
            named = {str(place): name for place, name in enumerate(named)}
        if not isinstance(named, dict) or not named:
            continue
        try:
            places = {int(place): str(name) for place, name in named.items()}
        except ValueError:
            places = {}
        if sorted(places) != list(range(len(named))):
            raise _bad(path, f"{key} has the keys {', '.join(map(str, named))}, not 0 to {len(named) - 1}")
        found.append(tuple(places[place] for place in sorted(places)))
    if len(set(found)) > 1:
        raise _bad(path, "channel_names and modality name different channels")
    return found[0] if found else ()


def _convention(path: Path, labels: Any) -> tuple[str | None, str]:
    """The convention of the labels, and the first name that is not understood."""
    if not isinstance(labels, dict) or not labels:
        return None, ""
    named: dict[str, Any] = labels
    if all(str(key).strip().lstrip("-").isdecimal() for key in labels):
        named = {f"{name} ({value})": int(value) for value, name in labels.items()}
    if any(isinstance(value, list) for value in named.values()):
        return _of_regions(path, named)
    meanings: dict[int, str] = {}
    for name, value in named.items():
        plain = re.sub(r" \(-?\d+\)$", "", name).lower().replace("_", " ").replace("/", " ").strip()
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise _bad(path, f"the label {name!r} has the value {value!r}, not a number") from None
        if number == 0 or _BACKGROUND.fullmatch(plain):
            if number != 0 or not (_BACKGROUND.fullmatch(plain) or not _tissue(plain)):
                raise _bad(path, f"the label {name!r} has the value {number}, and 0 is the background")
            continue
        if number in meanings:
            raise _bad(path, f"two labels have the value {number}")
        tissue = _tissue(plain)
        if tissue is None or not 0 < number < 256:
            return None, name
        meanings[number] = tissue
    return _name(meanings), ""


def _tissue(plain: str) -> str | None:
    return next((tissue for tissue, words in _TISSUES if re.search(words, plain)), None)


def _of_regions(path: Path, named: Mapping[str, Any]) -> tuple[str | None, str]:
    """nnU-Net's training on regions: each is a list of the values in it."""
    regions: dict[str, set[int]] = {}
    for name, value in named.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) for one in values):
            raise _bad(path, f"the region {name!r} has values that are no whole numbers")
        plain = name.lower().replace("_", " ")
        if values == [0]:
            continue
        region = next((key for key, words in _REGIONS.items() if re.search(words, plain)), None)
        if region is None or region in regions:
            return None, name
        regions[region] = set(values)
    whole, core, enhancing = (regions.get(key, set()) for key in ("WT", "TC", "ET"))
    if not enhancing or not enhancing <= core <= whole:
        return None, ", ".join(named)
    tissues = {value: "enhancing" if value in enhancing else "core" if value in core else "oedema" for value in whole}
    return _name(tissues), ""


def _name(tissues: Mapping[int, str]) -> str | None:
    """The named convention with these tissues, or the labels written out."""
    if not tissues:
        return None
    written = ",".join(f"{value}={tissues[value]}" for value in sorted(tissues))
    made = convention_named(written)
    known = (known.name for known in CONVENTIONS.values() if "ET" in known.regions and same_meaning(known, made))
    return next(known, written)


def agree(one: str, other: str) -> bool:
    """Whether two conventions, by name or written out, mean the same by the same values."""
    return same_meaning(convention_named(one), convention_named(other))


def same_meaning(one: LabelConvention, other: LabelConvention) -> bool:
    """Whether two conventions know the same values and make the same WT, TC and ET of them.

    Regions of one tissue are left out: labels that are written out have none.
    """
    nested = ({region: made.regions.get(region) for region in NESTED} for made in (one, other))
    return one.known == other.known and next(nested) == next(nested)


def _bad(path: Path, got: str) -> DataError:
    tissues = ", ".join(TISSUES)
    return DataError(
        f"{path}: {got}, expected the channels as channel_names or modality, and labels with a value for each tissue "
        f"({tissues}); correct it or move it elsewhere."
    )
