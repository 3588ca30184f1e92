"""Any program as a predictor: it reads an npz and writes an npz, as in the CVPR25 interactive segmentation challenge.

`docs/adding-a-predictor.md` describes the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsam_core.errors import PredictorError
from medsam_core.inference.checkpoints import resolve
from medsam_core.predictors.contract import PackedPrediction, PredictorIdentity
from medsam_core.predictors.exchange import Scan, Unreadable, read_arrays, scan_of, write_input
from medsam_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    from medsam_core.data.volume import Volume
    from medsam_core.predictors.choosing import PredictorRequest

TIMEOUT_S = 600.0
SHARED = "All prompts of one mode share a label map, in which objects cannot overlap."
OPTIONS = ("command", "timeout", "together", "name", "version")
_LINES = 3  # of the program's last words in a sentence
_TAIL = 4096  # bytes


class CommandPredictor:
    """Runs a command line once for each prompt, or once for all prompts of one mode.

    Nothing is kept between calls, and no shell is involved: the line is split as a shell would split it.
    """

    identity: PredictorIdentity
    """sha256 is that of the files that the command line names; see `program_sha256`."""
    notes: list[str]
    """Always []."""

    def __init__(
        self,
        command: str,
        *,
        timeout_s: float = TIMEOUT_S,
        together: bool = False,
        name: str = "command",
        version: str = "",
    ) -> None:
        """Take the command line apart. Raises PredictorError for one that cannot work.

        command: with {input} or {input_dir}, and {output} or {output_dir}; {prompts} is the path of the JSON file.
        timeout_s: for one call of the program.
        together: one call for all prompts of one mode. Faster, but objects in one label map cannot overlap.
        version: of the program; "" for the first 12 hex digits of the command line's SHA-256.
        """
        try:
            self.arguments = shlex.split(command)
        except ValueError as error:
            raise PredictorError(
                f"predictor {name}: got a command line that cannot be split ({error}), expected closed quotes; "
                f"correct {command!r}."
            ) from None
        for wanted in ("{input}", "{output}"):
            folder = wanted.replace("}", "_dir}")
            if not any(wanted in one or folder in one for one in self.arguments):
                raise PredictorError(
                    f"predictor {name}: got the command line {command!r} without {wanted}, expected {wanted} or "
                    f"{folder} in it; write it where the program takes the path."
                )
        self.timeout_s = timeout_s
        self.together = together
        self.notes: list[str] = []
        self.identity = PredictorIdentity(
            name=name,
            version=version or hashlib.sha256(command.encode()).hexdigest()[:12],
            sha256=program_sha256(self.arguments, name),
            notes=(SHARED,) if together else (),
        )

    def encode(self, volume: Volume) -> Scan:
        """Pixels and spacing. Raises DataError for an image without contrast."""
        return scan_of(volume)

    def predict(self, encoded: Scan, prompts: Sequence[Prompt], *, protocol: str) -> list[PackedPrediction]:
        """One prediction for each prompt. Raises PredictorError if the program fails."""
        found: dict[int, PackedPrediction] = {}
        for places in _calls(prompts, together=self.together):
            labels = self._segs(encoded, [prompts[place] for place in places], protocol)
            found.update((place, PackedPrediction.of(labels == label)) for label, place in enumerate(places, 1))
        return [found[place] for place in range(len(prompts))]

    def _segs(self, scan: Scan, prompts: list[Prompt], protocol: str) -> np.ndarray:
        """(D, H, W) integers: i + 1 where the program found the object of prompt i."""
        with tempfile.TemporaryDirectory(prefix="medsam-", ignore_cleanup_errors=True) as folder:
            source, target = Path(folder, "inputs", "case.npz"), Path(folder, "outputs", "case.npz")
            write_input(source, scan, prompts, protocol)
            target.parent.mkdir()
            log = self._run(source, target)
            return self._read(target, scan.shape, len(prompts), log)

    def _run(self, source: Path, target: Path) -> str:
        """Run the program and return the end of what it wrote."""
        paths = {
            "{input}": source,
            "{output}": target,
            "{input_dir}": source.parent,
            "{output_dir}": target.parent,
            "{prompts}": source.with_suffix(".json"),
        }
        line = list(self.arguments)
        for word, path in paths.items():
            line = [argument.replace(word, str(path)) for argument in line]
        logs = [source.parents[1] / name for name in ("stderr", "stdout")]
        with logs[0].open("wb") as errors, logs[1].open("wb") as output:
            try:
                process = subprocess.Popen(
                    line, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
                )
            except OSError as error:
                raise self._error(
                    f"{line[0]}: cannot be started ({error.strerror}), expected a program; correct the path"
                ) from None
            try:
                late, code = False, process.wait(self.timeout_s)
            except subprocess.TimeoutExpired:
                late, code = True, 0
            finally:
                _end(process)
        said = _last_lines(logs[0]) or _last_lines(logs[1])
        if late:
            raise self._error(
                f"no answer after {self.timeout_s:g} s{said}, expected one; raise --medsam-predictor-timeout"
            )
        if code < 0:
            raise self._error(f"the end by signal {-code}{said}, expected exit code 0; correct the program")
        if code:
            raise self._error(f"exit code {code}{said}, expected 0; correct the program")
        return said

    def _read(self, target: Path, shape: tuple[int, int, int], count: int, log: str) -> np.ndarray:
        if not target.is_file():
            raise self._error(
                f"no output file{log}, expected an npz with 'segs' at {{output}}; let the program write it"
            )
        try:
            (segs,) = read_arrays(target, "segs")
        except Unreadable as problem:
            raise self._error(
                f"{problem}{log}, expected an npz with 'segs'; save integers with savez_compressed"
            ) from None
        if segs.shape != shape:
            raise self._error(
                f"segs of shape {segs.shape}, expected {shape} as imgs has; return them on the image's grid"
            )
        if segs.dtype.kind not in "iub":
            raise self._error(f"segs of {segs.dtype}, expected integers; threshold them and save them as uint8")
        low, high = int(segs.min()), int(segs.max())
        if low < 0 or high > count:
            raise self._error(
                f"segs with the value {low if low < 0 else high}, expected 0 to {count}; number the objects from 1 in "
                "the order of the prompts"
            )
        return segs

    def _error(self, problem: str) -> PredictorError:
        return PredictorError(f"predictor {self.identity.name}: got {problem}.")


def from_request(request: PredictorRequest) -> CommandPredictor:
    """The program of the option `command`. {checkpoint} and {device} in it become those of the request.

    Raises PredictorError for an unknown option, and for a setting that the command line has no place for.
    """
    request.known_options("command", OPTIONS)
    command = request.options.get("command", "")
    if not command:
        raise PredictorError(
            "predictor command: got no command line, expected one; give it, such as --medsam-predictor-command="
            "'python segment.py {input} {output}'."
        )
    if "{checkpoint}" in command and request.checkpoint is None:
        raise PredictorError(
            "predictor command: got {checkpoint} in the command line but no checkpoint, expected one; give "
            "--medsam-checkpoint."
        )
    request.refuse("command", "architecture", "image_size", "weights", "compiled")
    if "{checkpoint}" not in command:
        request.refuse("command", "checkpoint")
    else:
        command = command.replace("{checkpoint}", shlex.quote(str(resolve(request.checkpoint).path)))
    together = request.options.get("together", "no")
    if together not in ("yes", "no"):
        raise PredictorError(f"predictor command: got together {together!r}, expected yes or no; write one of them.")
    if "{device}" in command:
        from medsam_core.inference.devices import resolve_device  # imports torch

        command = command.replace("{device}", shlex.quote(str(resolve_device(request.device))))
    return CommandPredictor(
        command,
        timeout_s=request.number("command", "timeout", TIMEOUT_S),
        together=together == "yes",
        name=request.options.get("name", "command"),
        version=request.options.get("version", ""),
    )


def program_sha256(arguments: Sequence[str], name: str = "command") -> str:
    """SHA-256 (hex) of the files that a command line names.

    Of one file it is that of its content. Of several it is that of their SHA-256s, one a line, in the order of the
    command line; the FILE of --option=FILE counts. Where no word is a file's path, it is that of the program that PATH
    has for the first word. What these files use in turn, such as a container's image or a script's weights, is not part
    of it: name it in the line.
    Raises PredictorError if there is no such program.
    """
    files = [path for word in arguments for path in _files_in(word)]
    if not files:
        program = shutil.which(arguments[0])
        if program is None:
            raise PredictorError(
                f"predictor {name}: got {arguments[0]!r}, expected a program on PATH or a file; correct the command "
                "line."
            )
        files = [Path(program)]
    digests = []
    for file in files:
        try:
            with file.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
        except OSError as error:
            raise PredictorError(
                f"predictor {name}: {file}: cannot be read ({error.strerror}), expected a readable file because its "
                "SHA-256 identifies what was judged; change its permissions."
            ) from None
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _files_in(word: str) -> list[Path]:
    """The file that the word, or the part after its equals sign, is a path of; [] if there is none."""
    for text in (word, word.partition("=")[2]):
        with contextlib.suppress(OSError):  # a word may be too long for a path
            if text and Path(text).is_file():
                return [Path(text)]
    return []


def _calls(prompts: Sequence[Prompt], *, together: bool) -> list[list[int]]:
    """The places of the prompts that go into each call."""
    if not together:
        return [[place] for place in range(len(prompts))]
    modes = dict.fromkeys(prompt.mode for prompt in prompts)
    return [[place for place, prompt in enumerate(prompts) if prompt.mode == mode] for mode in modes]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything that it started; an orphan would keep a GPU."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _last_lines(log: Path) -> str:
    """The last words of a program as ` (line / line)`, "" if it wrote nothing."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({' / '.join(lines[-_LINES:])})" if lines else ""
