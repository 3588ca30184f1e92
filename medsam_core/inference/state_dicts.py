"""Find the state dict in what a file holds, and take the prefixes off its names. Torch is imported when first needed.

Trainers wrap it: sam2's writes {"model": …, "optimizer": …}, others add moving averages under "ema", Lightning writes
{"state_dict": …} with the name of an attribute before every key, torch.compile and DataParallel add prefixes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import CheckpointError, OptionError
from medsam_core.inference.transformers_names import PATCH as TRANSFORMERS_PATCH
from medsam_core.text import counted, few

if TYPE_CHECKING:
    import torch

PATCH = "image_encoder.trunk.patch_embed.proj.weight"
"""A tensor that every model of sam2 has."""
CHOICES = ("model", "ema")
"""What --medsam-weights can choose."""

_KEYS = {
    "model": ("model", "state_dict", "model_state_dict", "module"),
    "ema": ("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema"),
}
_COMPILED = "_orig_mod."  # torch.compile puts it wherever a module was compiled
_COUNTER = "n_averaged"  # an integer in the state dict of torch's AveragedModel


@dataclass(frozen=True, eq=False)
class StateDict:
    """A state dict as it stands in a file."""

    tensors: dict[str, torch.Tensor]
    notes: tuple[str, ...] = ()
    """What was taken, one sentence each."""
    part: str | None = None
    """"ema" if the averages were taken although the file also holds the model; else None."""


def find_state_dict(content: Any, path: Path, choice: str | None) -> StateDict:
    """The state dict in a file's content: itself, or under a key such as "model", "state_dict" or "ema".

    choice: one of CHOICES; None for "model" where there is one. Raises CheckpointError if there is none or not the
    chosen one, OptionError for another choice.
    """
    if choice is not None and choice not in CHOICES:
        raise OptionError(f"--medsam-weights: got {choice!r}, expected one of {', '.join(CHOICES)}; choose one.")
    if not isinstance(content, Mapping):
        raise _without_model(path, type(content).__name__)
    places = _places(content)
    if not places and any(map(_is_tensor, content.values())):
        if choice == "ema":
            raise CheckpointError(
                f"checkpoint {path}: got only one set of weights, expected ema weights; leave out --medsam-weights=ema."
            )
        return StateDict(_table(content, path))
    if not places:
        raise _without_model(path, ", ".join(map(str, list(content)[:4])) or "an empty dict")
    kind = choice or next(iter(places))
    if kind not in places:
        raise CheckpointError(
            f"checkpoint {path}: got weights only under {next(iter(places.values()))!r}, expected {kind} weights; "
            f"leave out --medsam-weights={kind}."
        )
    key = places[kind]
    table = _table(_innermost(content[key]), path)
    if len(places) == 2:
        other = next(one for one in places if one != kind)
        note = (
            f"{path.name} holds weights under {places['model']!r} and under {places['ema']!r}: {key!r} was taken; "
            f"--medsam-weights={other} takes the other."
        )
        return StateDict(table, (note,), kind if kind == "ema" else None)
    return StateDict(table, () if key == "model" else (f"The weights of {path.name} are those under {key!r}.",))


def without_prefixes(found: StateDict, path: Path) -> StateDict:
    """The state dict with sam2's own names, and a note that names the prefix that was left out.

    A prefix is whatever precedes the name of a tensor that every model has; names without it stay. Raises
    CheckpointError if there are several models, or if two names become one.
    """
    tensors = {name.replace(_COMPILED, ""): value for name, value in found.tensors.items()}
    prefixes = {
        name.removesuffix(patch)
        for name in tensors
        for patch in (PATCH, TRANSFORMERS_PATCH)
        if name == patch or name.endswith(f".{patch}")
    }
    if len(prefixes) > 1:
        shown = few([prefix or "no prefix" for prefix in sorted(prefixes)])
        raise CheckpointError(
            f"checkpoint {path}: got {len(prefixes)} models in one state dict (under {shown}), expected one; "
            "save the one to be judged."
        )
    prefix = next(iter(prefixes), "")
    bare = {name.removeprefix(prefix): value for name, value in tensors.items()}
    if len(bare) != len(found.tensors):
        raise CheckpointError(
            f"checkpoint {path}: got {counted(len(found.tensors), 'tensor')} with {len(bare)} different names once "
            f"the prefix {prefix or _COMPILED} is left out, expected as many; save module.state_dict()."
        )
    if prefix:
        bare.pop(_COUNTER, None)
    left_out = [one for one in (prefix, _COMPILED if tensors.keys() != found.tensors.keys() else "") if one]
    if not left_out:
        return found
    note = f"The names in {path.name} have the prefix {' and '.join(left_out)}, which was left out."
    return StateDict(bare, (*found.notes, note), found.part)


def _places(content: Mapping[Any, Any]) -> dict[str, str]:
    """The kind of weights → the key under which they are; tables with tensors go before those of settings."""
    keys = [(kind, key) for kind, known in _KEYS.items() for key in reversed(known) if _is_table(content.get(key))]
    holding = [(kind, key) for kind, key in keys if any(map(_is_tensor, _innermost(content[key]).values()))]
    return dict(holding or keys)


def _innermost(table: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The table of tensors in one such as {"decay": 0.999, "module": {…}}."""
    tables = [one for one in table.values() if _is_table(one)]
    return tables[0] if len(tables) == 1 and not any(map(_is_tensor, table.values())) else table


def _table(table: Mapping[Any, Any], path: Path) -> dict[str, torch.Tensor]:
    if not table or not all(isinstance(name, str) and _is_tensor(value) for name, value in table.items()):
        raise CheckpointError(
            f"checkpoint {path}: got a model that is not a table of tensors, expected a state dict; "
            "save module.state_dict()."
        )
    return dict(table)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _without_model(path: Path, got: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path}: got {got} without a model, expected {{'model': state_dict}} as SAM 2 and MedSAM2 are "
        "published; save it like that, or as .safetensors."
    )
