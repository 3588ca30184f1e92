"""Stored JSON, decoded strictly: what does not have the expected shape gives one sentence that names file and field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from medsam_core.errors import MedsamError
from medsam_core.files import LARGEST_TEXT, read_input

T = TypeVar("T")

NON_FINITE = ("nan", "inf", "-inf")
"""How a number that is not finite is written: strict JSON has no words for it."""


class Malformed(Exception):
    """Content that is no JSON or does not have the expected shape; its text names the field, not the file."""


def parse(content: bytes | str) -> Any:
    """Built-in types from strict JSON text: NaN and Infinity are refused. Raises Malformed."""
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        raise Malformed("got JSON that is nested too deep") from None
    except (msgspec.MsgspecError, ValueError) as problem:  # ValueError: bytes that are no UTF-8
        raise Malformed(f"got text that is not JSON ({problem})") from None


def shape(data: Any, kind: type[T]) -> T:
    """Built-in types as a value of `kind`, a dataclass or the like; unknown keys are left out. Raises Malformed."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as problem:
        raise Malformed(_sentence(*_place(data, kind, str(problem)))) from None
    except RecursionError:
        raise Malformed("got JSON that is nested too deep") from None


def read_json(
    path: Path,
    kind: type[T],
    *,
    version: int | str,
    what: str,
    error: type[MedsamError],
    fix: str,
    prepare: Callable[[Any], Any] = lambda data: data,
) -> T:
    """A stored JSON object as a value of `kind`.

    version: the newest `schema` that can be read; a newer or unknown one is refused.
    what: what is expected, for the error, e.g. "a run header". fix: what to do about a damaged file.
    prepare: changes the built-in types before they are shaped. Raises `error` in one sentence.
    """
    content = read_content(path, what=what, error=error, fix=fix)
    try:
        data = parse(content)
        if not isinstance(data, dict):
            raise Malformed(f"got {_NAMES.get(type(data), type(data).__name__)}")
        check_version(path, data.get("schema"), version, error=error)
        return shape(prepare(data), kind)
    except Malformed as problem:
        raise error(f"{path}: {problem}, expected {what}; {fix}.") from None


def read_content(path: Path, *, what: str, error: type[MedsamError], fix: str, largest: int = LARGEST_TEXT) -> bytes:
    """The bytes of a file. Raises `error` in one sentence if it cannot be read or is larger than `largest`."""
    return read_input(path, largest=largest, what=what, error=error, fix=fix)


def check_version(path: Path, got: Any, newest: int | str, *, error: type[MedsamError]) -> None:
    """Raise `error` if a file's `schema` is newer than what can be read, or is no version at all."""
    if type(got) is not type(newest):
        raise Malformed(f"schema: got {got!r}")
    older = isinstance(got, int) and isinstance(newest, int) and 1 <= got <= newest
    if not older and got != newest:
        raise error(f"{path}: has schema {got!r}, this version reads up to {newest!r}; upgrade medsam-core.")


def finite_or_text(value: float) -> float | str:
    """A number as strict JSON can hold it: "nan", "inf" or "-inf" where it is not finite."""
    return value if value - value == 0 else str(float(value))


def number(value: Any) -> Any:
    """The inverse of `finite_or_text`, also inside mappings; anything else is left for `shape` to refuse."""
    if isinstance(value, dict):
        return {key: number(one) for key, one in value.items()}
    return float(value) if isinstance(value, str) and value in NON_FINITE else value


_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}


def _place(data: Any, kind: type, problem: str) -> tuple[str, tuple[str, ...]]:
    """What msgspec says without its place, and the place as keys: `cases`, `S1/t1ce/WT/box`, `prompted`.

    msgspec writes `[...]` where a key of a mapping belongs. The first key that fails by itself is the one.
    """
    said, _, path = problem.partition(" - at ")
    path = path.removeprefix("`key` in ").strip("`").removeprefix("$")  # a key may not fit, too
    steps = re.findall(r"\[\d+\]|\[\.\.\.\]|[^.\[\]]+", path)
    found: list[str] = []
    here = data
    for step in steps:
        if step == "[...]":
            step = next((key for key in here if _fails(_with(data, found, {key: here[key]}), kind)), step)
            data = _with(data, found, {step: here[step]}) if step in here else data
        found.append(step)
        try:
            here = here[int(step[1:-1])] if isinstance(here, list | tuple) else here[step]
        except (KeyError, TypeError, IndexError):  # `[...]` of a key that is no text
            break
    return said, tuple(found)


def _with(data: Any, place: list[str], value: Any) -> Any:
    """The data with another value at a place."""
    if not place:
        return value
    first, *rest = place
    if isinstance(data, list):
        index = int(first[1:-1])
        return [_with(one, rest, value) if number == index else one for number, one in enumerate(data)]
    return {**data, first: _with(data[first], rest, value)}


def _fails(data: Any, kind: type) -> bool:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError:
        return True
    return False


def _sentence(said: str, place: tuple[str, ...]) -> str:
    """`checkpoint.name: got int where str belongs` from "Expected `str`, got `int`" and its place."""
    field = ".".join(place).replace(".[", "[")
    found = re.fullmatch(r"Expected `(.+)`, got `(.+)`", said)
    missing = re.fullmatch(r"Object missing required field `(.+)`", said)
    if missing:
        return f"lacks the field {'.'.join(filter(None, (field, missing[1])))}"
    text = f"got {found[2]} where {found[1]} belongs" if found else f"got what does not fit ({said})"
    return f"{field}: {text}" if field else text
