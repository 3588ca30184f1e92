"""What the run's header says, as lists of names and values; what is long and seldom read is apart, to be folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medsam_core.header import RunHeader, ShardRun
from medsam_core.text import few

_FOLDED = ("settings", "decided", "environment", "command")
_LONG_LIST = 12


def configuration(header: RunHeader) -> dict[str, list[tuple[str, str]]]:
    """Heading → names and values; the heading "" is for what is always shown."""
    tree = header.to_json()
    folded = {key: tree.pop(key) for key in _FOLDED}
    tree["cases"] = len(tree.pop("plan"))
    if tree.pop("shards"):
        folded["shards"] = {f"shard {one.number}": _shard(one) for one in header.shards}
    found = {"": list(_flat(tree))}
    for key, value in folded.items():
        found[key] = list(_flat(value if isinstance(value, Mapping) else {key: value}))
    return found


def _shard(one: ShardRun) -> str:
    """When, where and on what a shard was scored."""
    seen = one.environment
    device = ", ".join(one.decided.workers) or one.device
    return ", ".join(filter(None, (one.created, seen.host, device, seen.gpu or seen.cpu)))


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key} ")
        elif isinstance(value, list | tuple):
            text = few([str(one) for one in value], _LONG_LIST) or "none"
            yield f"{before}{key}", f"{len(value)}: {text}" if len(value) > _LONG_LIST else text
        elif value is not None:
            yield f"{before}{key}", str(value)
