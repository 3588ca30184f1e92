"""The pytest options of the plugin: `--medsam-NAME` on the command line, `medsam_name` in pytest's configuration file.

All of them begin with `medsam`, so that the plugin can be installed beside any other plugin and conftest.py.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medsam_core.errors import OptionError

INI_FILES = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
UNREAD_INI = (
    "note: pytest read no configuration file, because it takes a path after a space for a test path; "
    "write --medsam-root=DIR and --medsam-checkpoint=FILE with an equals sign"
)
PATHS, PATH_OR_NAME = ("DIR", "FILE", "RUN"), "PATH|NAME"  # metavars
TITLE = (
    "MedSAM-2 regression gate (each option is also a key of pytest's configuration file, such as medsam_root; the "
    "command line goes before it)"
)
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class Option:
    """One option: a row of `OPTIONS`."""

    name: str
    """Without prefix: `checkpoint`."""
    default: str | bool | None
    """What it is if nobody gives it; a switch is False."""
    metavar: str
    """Stands for the value in --help; "" for a switch."""
    text: str
    """The help; {default} stands for the default."""
    alone: str = ""
    """The value where the option stands without one; "" if it needs one."""

    @property
    def flag(self) -> str:
        """`--medsam-checkpoint`."""
        return f"--medsam-{self.name}"

    @property
    def key(self) -> str:
        """`medsam_checkpoint`: in a configuration file, and where pytest keeps the value."""
        return "medsam_" + self.name.replace("-", "_")

    @property
    def help(self) -> str:
        """For --help."""
        return self.text.format(default=self.default)

    @property
    def arguments(self) -> dict[str, Any]:
        """For argparse, beyond flag, default, help and dest."""
        if not self.metavar:
            return {"action": "store_true"}
        return {"metavar": self.metavar, **({"nargs": "?", "const": self.alone} if self.alone else {})}


OPTIONS: tuple[Option, ...] = (
    Option("root", None, "DIR", "the cohort: a folder of BraTS, MSD, nnU-Net, BIDS … subjects, see docs/data.md "
     "(default: the phantom cohort)"),
    Option("segmentation", None, "NAME", "the truth where a data set has several: automated (UPENN-GBM) or "
     "hd-glio-auto (LUMIERE) (default: the data set's own)"),
    Option("subjects", None, "ID,…", "score only these subjects"),
    Option("limit", None, "N", "score only the first N subjects"),
    Option("shard", None, "I/N", "score only part I of N of the subjects, for `medsam-core merge`; the exit code is 11 "
     "if nothing is wrong (docs/scale.md)"),
    Option("modality", "t1ce", "M,…", "the image that the model sees: t1ce, t1, t2 or flair, or three as its "
     "colours, such as t1ce+t2+flair (default: {default})"),
    Option("regions", "WT,TC,ET", "R,…", "regions to prompt and score: WT, TC, ET, NETC, SNFH, RC, CC, ED, GTV, as "
     "far as the labels have them (default: {default})"),
    Option("prompts", "box,point", "P,…", "prompt modes: box, point, points3, box+point, mask, box-to-mask (the "
     "model's mask of the box is the prompt), recist (the same from five points on the longest diameter) (default: "
     "{default})"),
    Option("protocol", "bidirectional", "P,…", "bidirectional: propagate from the key slice both ways; forward: from "
     "the region's first slice to the end; slicewise: a prompt on every slice, no memory (default: {default})"),
    Option("key-slice", "largest", "K", "the prompted slice of a region: largest, middle or first (default: "
     "{default}); the protocol forward always prompts the first, slicewise all"),
    Option("key-slices", "1", "K", "how many slices of an object are prompted in one track, spread evenly over its "
     "slices, that of --medsam-key-slice among them (default: {default})"),
    Option("jitter", "0", "VOXELS", "move boxes and points by random amounts of up to this (default: {default})"),
    Option("per-component", False, "", "one prompt for each connected component of a region, instead of one for all"),
    Option("seed", "0", "N", "seed of the jitter (default: {default})"),
    Option("noise", None, "LEVEL,…", "score each box and point again with noise: jitterN moves edges and points by up "
     "to N voxels, sideN edges by up to N percent of the side, expandN outward by up to N voxels (docs/prompting.md)"),
    Option("noise-seeds", "1", "N", "how often each level of noise is drawn, by seeds 1 to N (default: {default})"),
    Option("refine", "0", "N", "correct every mask N times: a click into its largest error, then track again, with "
     "the scores of every round; see docs/prompting.md (default: {default})"),
    Option("refine-rule", "volume", "RULE", "where the click is: volume, in the largest error of all, or slice, one of "
     "each kind on the slice with most errors (default: {default})"),
    Option("prompts-from", None, "FILE", "use exactly the prompts of another run: its prompts.json"),
    Option("labels", None, "NAME", "what the labels mean: brats2019, brats2023, brats2024, brats2024-ped, "
     "msd, brats-men-rt, hd-glio, or written out as 1=oedema,2=core,3=enhancing "
     "(default: as the files are named)"),
    Option("profile", "brats2019", "NAME", "definition of the metrics: brats2019, brats2023, brats2024-gli, "
      "brats2025-seg, monai …; docs/metrics.md lists all (default: {default})"),
    Option("metrics", None, "M,…", "metrics in addition to dice, iou and those of the gates (default: sensitivity, "
     "precision and the volumes); docs/metrics.md lists all"),
    Option("checkpoint", None, "PATH|NAME", "the weights: a .pt or .safetensors file, or a name such as "
     "medsam2-latest or sam2.1-tiny (default: the embedded checkpoint)"),
    Option("predictor", None, "NAME", "what is judged: engine (default), sam2, command, http, the name of an installed "
      "predictor, or module:factory (docs/adding-a-predictor.md)"),
    Option("predictor-command", None, "LINE", "the program of the predictor command, such as 'python segment.py "
      "{{input}} {{output}}'"),
    Option("predictor-url", None, "URL", "the service of the predictor http, such as http://127.0.0.1:8008"),
    Option("predictor-timeout", None, "SECONDS", "how long command or http may take for one call (default: 600)"),
    Option("predictor-options", None, "NAME=VALUE,…", "further settings that the predictor knows"),
    Option("postprocess", None, "STEP,…", "change the masks: fill-holes[:AREA], largest-component (default: neither)"),
    Option("architecture", None, "NAME", "the model, if it cannot be recognised from the weights: medsam2, sam2-tiny, "
     "sam2.1-small …; a wrong name lists all"),
    Option("image-size", None, "N", "side of the square image that the model sees, needed where the checkpoint does "
     "not say it: 512 for MedSAM2, 1024 for SAM 2 (default: as the checkpoint says)"),
    Option("weights", None, "NAME", "model or ema, where a checkpoint holds both (default: model)"),
    Option("device", "auto", "D", "auto, cpu, cuda or cuda:N (default: {default}: cuda if there is a GPU)"),
    Option("precision", "auto", "P", "auto, fp32 or bf16 (default: {default}: bf16 on cuda, fp32 on cpu)"),
    Option("compile", False, "", "compile the model, which takes minutes and then makes it faster; checked against "
     "the model without compilation; not yet run on a GPU (docs/engine.md)"),
    Option("allow-no-gpu", False, "", "skip the gpu cases if there is no GPU, instead of ending with an error"),
    Option("reading", "auto", "WHERE", "where files are read and masks scored: processes (beside the model), threads "
     "(likewise, in one process), here (in turn with the model), auto (default: processes on a GPU, else here)"),
    Option("ray", None, "ADDRESS", "score the subjects in actors of Ray: without ADDRESS on this machine, auto on the "
     "cluster that it belongs to, or HOST:PORT; needs medsam-core[ray], see docs/scale.md", alone="local"),
    Option("ray-actors", None, "N", "how many actors (default: one for each free GPU, or CPU where no GPU is used)"),
    Option("ray-gpus", None, "SHARE", "GPUs for each actor, such as 0.5, or 0 for none (default: 1 if Ray has GPUs)"),
    Option("ship-data", False, "", "send the subjects' files to Ray's actors, which cannot read the session's paths"),
    Option("gates", None, "FILE", "bounds that the scores must hold (default: benchmarks/gates/phantom.toml for "
     "phantoms)"),
    Option("baseline", None, "PATH|NAME", "baseline or run that relative bounds refer to (default: as the gates file "
     "says)"),
    Option("run-dir", None, "DIR", "where to write the run: scores, verdict, page.html (default: runs/<time>)"),
    Option("resume", None, "RUN", "continue this run directory: score only the missing cases"),
    Option("save-masks", False, "", "write every predicted mask as NIfTI, on the grid of its image"),
    Option("overlays", "4", "N|all", "keep pictures of the failed cases, the N worst others, and the N that "
     "fell most below the baseline (default: {default})"),
    Option("viewer", "worst", "WORD", "of which cases the viewer has data: worst (default: the failed ones, and as "
     "many of the worst and of the most fallen as --medsam-overlays says), all, or none (docs/viewer.md)"),
    Option("progress", "auto", "WORD", "how many subjects are done, and the time left: auto (default: on a terminal, "
     "unless -q), on (in a log, too), off"),
    Option("phantom-dir", None, "DIR", "where the phantom cohort is kept (default: pytest's cache)"),
    Option("phantom-subjects", "6", "N", "number of phantoms (default: {default})"),
    Option("phantom-size", "varied", "D,H,W", "slices, rows and columns of every phantom (default: {default}, six "
     "different grids and files)"),
    Option("phantom-seed", "19", "N", "seed of the phantom cohort (default: {default})"),
)  # fmt: skip
BY_NAME = {option.name: option for option in OPTIONS}
NEVER_REPEATED = ("run-dir", "resume", "shard")
"""By a rerun: it must not write over the run that it repeats, and one case needs no shard."""
FORMER = {"--brats-root": "root", **{f"--{option.name}": option.name for option in OPTIONS if option.name != "root"}}


def declare(parser: pytest.Parser) -> None:
    """Declare every option, under one heading, and its key in the configuration file."""
    group = parser.getgroup("medsam", TITLE)
    for option in OPTIONS:
        group.addoption(option.flag, default=None, help=option.help, dest=option.key, **option.arguments)
        parser.addini(option.key, f"see {option.flag}", default=None)


def value_of(config: pytest.Config, name: str) -> Any:
    """The option's value: of the command line, else of the configuration file, else the default.

    Paths of the configuration file are absolute. Raises OptionError for a key whose value cannot be understood.
    """
    option = BY_NAME[name]
    given = config.getoption(option.key)
    if given is None:
        given = ini_values(config).get(name)
    return option.default if given is None else given


def ini_values(config: pytest.Config) -> dict[str, str | bool]:
    """What the configuration file says: name → value. On an xdist worker what the controller read.

    Raises OptionError as `value_of` does.
    """
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        return dict(worker["medsam_ini"])
    base = config.inipath.parent if config.inipath else config.invocation_params.dir
    found = {}
    for option in OPTIONS:
        try:
            value = config.getini(option.key)
        except TypeError:
            raise OptionError(
                f"{option.key} in {_ini_name(config)}: expected a string; write {option.key} = "
                f'"{option.metavar or "true"}".'
            ) from None
        if value is not None:
            found[option.name] = _ini_value(option, value, base, _ini_name(config))
    return found


def _ini_value(option: Option, value: Any, base: Path, file: str) -> str | bool:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value).strip()
    if not option.metavar:
        if text.lower() not in (*YES, *NO):
            raise OptionError(f"{option.key} in {file}: got {text!r}, expected true or false; correct it.")
        return text.lower() in YES
    if not text:
        raise OptionError(f"{option.key} in {file}: got nothing, expected {option.metavar}; give it or delete the key.")
    path = base / Path(text).expanduser()
    if option.metavar in PATHS or (option.metavar == PATH_OR_NAME and path.exists()):
        return str(path.absolute())  # relative to the file, wherever pytest was started
    return text


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath else "-o"


def ini_summary(config: pytest.Config) -> str:
    """Which options the configuration file set, and which of them the command line overrode; "" if none."""
    found = ini_values(config)
    over = [name for name in found if config.getoption(BY_NAME[name].key) is not None]
    used = [f"{BY_NAME[name].key} = {value}" for name, value in found.items() if name not in over]
    parts = [", ".join(used)] if used else []
    if over:
        flags = ", ".join(BY_NAME[name].flag for name in over)
        parts.append(f"the command line goes before it with {flags}")
    return f"{_ini_name(config)}: {'; '.join(parts)}" if parts else ""


def refuse_former_names(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Raise pytest.UsageError if `args` hold an option by its name of earlier versions that nobody else declares."""
    namespace = copy.copy(config.known_args_namespace)
    _, unknown = parser.parse_known_and_unknown_args([word for word in args if word != "--help"], namespace)
    for word in unknown:
        flag, equals, value = word.partition("=")
        if flag in FORMER:
            new = BY_NAME[FORMER[flag]].flag
            raise pytest.UsageError(
                f"{flag}: is not an option, expected {new}: the options of medsam-core begin with --medsam-; "
                f"write {new}{equals}{value}"
            )


def ini_unread(config: pytest.Config) -> bool:
    """Whether pytest read no configuration file although there is one: the case of UNREAD_INI."""
    directory = config.invocation_params.dir
    return config.inipath is None and any((directory / name).exists() for name in INI_FILES)
