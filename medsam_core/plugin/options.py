"""The pytest options of a gate session, and how they become a Configuration."""

from __future__ import annotations

import os
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import OptionError

if TYPE_CHECKING:
    import pytest

    from medsam_core.plugin.configuration import Configuration

INI_FILES = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
UNREAD_INI = (
    "note: pytest read no configuration file, because it takes a path after a space for a test path; "
    "write --brats-root=DIR and --checkpoint=FILE with an equals sign"
)

# flag, default, metavar ("" for a switch), help
OPTIONS: tuple[tuple[str, Any, str, str], ...] = (
    ("--brats-root", None, "DIR", "the cohort: a BraTS 2018-2025 or MSD Task01 folder (default: the phantom cohort)"),
    ("--subjects", None, "ID,…", "score only these subjects"),
    ("--limit", None, "N", "score only the first N subjects"),
    ("--modality", "t1ce", "M,…", "the image that the model sees: t1ce, t1, t2 or flair (default: %(default)s)"),
    ("--regions", "WT,TC,ET", "R,…", "regions to prompt and score (default: %(default)s)"),
    ("--prompts", "box,point", "P,…", "prompt modes: box, point, points3, box+point, mask (default: %(default)s)"),
    ("--protocol", "bidirectional", "P,…", "bidirectional: propagate from the key slice both ways; forward: from the "
     "region's first slice to the end; slicewise: a prompt on every slice, no memory (default: %(default)s)"),
    ("--key-slice", "largest", "K", "the prompted slice of a region: largest, middle or first (default: %(default)s); "
     "the protocol forward always prompts the first, slicewise all"),
    ("--jitter", "0", "VOXELS", "move boxes and points by random amounts of up to this (default: %(default)s)"),
    ("--per-component", False, "", "one prompt for each connected component of a region, instead of one for all"),
    ("--seed", "0", "N", "seed of the jitter (default: %(default)s)"),
    ("--prompts-from", None, "FILE", "use exactly the prompts of another run: its prompts.json"),
    ("--labels", None, "NAME", "what the labels mean: brats2019, brats2023, brats2024, brats2024-ped or msd (default: "
     "as the files are named)"),
    ("--profile", "brats2019", "NAME", "definition of the metrics: brats2019, brats2023, brats2023-ssa, brats2023-ped, "
     "brats2023-men, brats2023-met or monai (default: %(default)s)"),
    ("--metrics", None, "M,…", "metrics in addition to dice, iou and those of the gates (default: sensitivity, "
     "precision and the volumes); docs/metrics.md lists all"),
    ("--checkpoint", None, "PATH|NAME", "the weights: a .pt or .safetensors file, or a name such as medsam2-latest or "
     "sam2.1-tiny (default: the embedded checkpoint)"),
    ("--medsam-predictor", None, "NAME", "what is judged: engine (default), sam2, command, http, the name of an "
     "installed predictor, or module:factory (docs/adding-a-predictor.md)"),
    ("--medsam-predictor-command", None, "LINE", "the program of the predictor command, such as "
     "'python segment.py {input} {output}'"),
    ("--medsam-predictor-url", None, "URL", "the service of the predictor http, such as http://127.0.0.1:8008"),
    ("--medsam-predictor-timeout", None, "SECONDS", "how long command or http may take for one call (default: 600)"),
    ("--medsam-predictor-options", None, "NAME=VALUE,…", "further settings that the predictor knows"),
    ("--medsam-postprocess", None, "STEP,…", "change the masks: fill-holes[:AREA], largest-component (default: "
     "neither)"),
    ("--architecture", None, "NAME", "the model, if it cannot be recognised from the weights: medsam2, sam2-tiny, "
     "sam2.1-small …; a wrong name lists all"),
    ("--image-size", None, "N", "side of the square image that the model sees (default: as the architecture says)"),
    ("--device", "auto", "D", "auto, cpu, cuda or cuda:N (default: %(default)s: cuda if there is a GPU)"),
    ("--precision", "auto", "P", "auto, fp32 or bf16 (default: %(default)s: bf16 on cuda, fp32 on cpu)"),
    ("--compile", False, "", "compile the model, which takes minutes and then makes it faster; checked against the "
     "model without compilation; not yet run on a GPU (docs/engine.md)"),
    ("--allow-no-gpu", False, "", "skip the gpu cases if there is no GPU, instead of ending with an error"),
    ("--gates", None, "FILE", "bounds that the scores must hold (default: benchmarks/gates/phantom.toml for phantoms)"),
    ("--baseline", None, "NAME", "baseline or run that relative bounds refer to (default: as the gates file says)"),
    ("--run-dir", None, "DIR", "where to write the run: scores, verdict, page.html (default: runs/<time>)"),
    ("--resume", None, "RUN", "continue this run directory: score only the missing cases"),
    ("--save-masks", False, "", "write every predicted mask as NIfTI, on the grid of its image"),
    ("--overlays", "4", "N|all", "keep pictures of the failed cases and the N worst others (default: %(default)s)"),
    ("--phantom-dir", None, "DIR", "where the phantom cohort is kept (default: pytest's cache)"),
    ("--phantom-subjects", "6", "N", "number of phantoms (default: %(default)s)"),
    ("--phantom-size", "40,160,160", "D,H,W", "slices, rows and columns of a phantom (default: %(default)s)"),
    ("--phantom-seed", "19", "N", "seed of the phantom cohort (default: %(default)s)"),
)  # fmt: skip


def given_options(config: pytest.Config) -> str:
    """The options that differ from their defaults, as one would type them: for the rerun line of a failed case.

    They have an equals sign because pytest takes a path after a blank for the path of a test.
    """
    words: list[str] = []
    for flag, default, metavar, _ in OPTIONS:
        value = config.getoption(destination(flag))
        if value != default and flag not in ("--run-dir", "--resume"):
            words.append(f"{flag}={value}" if metavar else flag)
    return shlex.join(words)


def configuration_from(config: pytest.Config, run_dir: Path | None = None) -> Configuration:
    """Resolve the options. run_dir: on an xdist worker, the one that the controller chose.

    Raises OptionError in a sentence that names the option.
    """
    from medsam_core.cases import Settings
    from medsam_core.plugin.choice import choice_from
    from medsam_core.plugin.configuration import Configuration, PhantomCohort

    def get(flag: str) -> Any:
        return config.getoption(destination(flag))

    def words(flag: str) -> tuple[str, ...]:
        return tuple((get(flag) or "").replace(",", " ").split())

    def number(flag: str, kind: type = int, least: float = 0) -> Any:
        return None if get(flag) is None else _number(flag, get(flag), kind, least)

    settings = Settings(
        modalities=words("--modality"),
        regions=words("--regions"),
        prompts=words("--prompts"),
        protocols=words("--protocol"),
        key_slice=get("--key-slice"),
        jitter_voxels=number("--jitter", float),
        per_component=get("--per-component"),
        seed=number("--seed"),
        labels=get("--labels"),
        profile=get("--profile"),
        **({} if get("--metrics") is None else {"metrics": words("--metrics")}),
    )
    size = tuple(_number("--phantom-size", word, int, 0) for word in words("--phantom-size"))
    if len(size) != 3:
        raise OptionError(
            f"--phantom-size: got {get('--phantom-size')}, expected three numbers D,H,W; e.g. 64,160,160."
        )
    phantom = PhantomCohort(
        directory=_path(config, get("--phantom-dir")) or _phantom_directory(config),
        subjects=number("--phantom-subjects"),
        size=size,
        seed=number("--phantom-seed"),
    )
    return Configuration(
        settings=settings,
        phantom=phantom,
        run_dir=run_dir or _run_dir(config, get("--run-dir"), get("--resume")),
        brats_root=_path(config, get("--brats-root")),
        subjects=words("--subjects"),
        limit=number("--limit", least=1),
        checkpoint=get("--checkpoint"),
        architecture=get("--architecture"),
        image_size=number("--image-size", least=32),
        device=get("--device"),
        precision=get("--precision"),
        choice=choice_from(
            get("--medsam-predictor"),
            {name: get(f"--medsam-predictor-{name}") for name in ("command", "url", "timeout", "options")},
            get("--medsam-postprocess"),
            config,
        ),
        compiled=get("--compile"),
        gates=_path(config, get("--gates")),
        baseline=get("--baseline"),
        prompts_from=_path(config, get("--prompts-from")),
        resume=get("--resume") is not None,
        save_masks=get("--save-masks"),
        overlays=None if get("--overlays") == "all" else number("--overlays"),
        allow_no_gpu=get("--allow-no-gpu"),
        workers=_workers(config),
        command=_command(config),
    )


def ini_unread(config: pytest.Config) -> bool:
    """Whether pytest read no configuration file although there is one: the case of UNREAD_INI."""
    directory = config.invocation_params.dir
    return config.inipath is None and any((directory / name).exists() for name in INI_FILES)


def _command(config: pytest.Config) -> tuple[str, ...]:
    added = os.environ.get("PYTEST_ADDOPTS", "")
    return (*([f"PYTEST_ADDOPTS={added}"] if added else []), "pytest", *config.invocation_params.args)


def _workers(config: pytest.Config) -> int:
    """How many processes of xdist share the work, 0 without xdist."""
    worker = getattr(config, "workerinput", None)
    return int(worker["workercount"]) if worker else len(config.getoption("tx", None) or ())


def destination(flag: str) -> str:
    """The name under which pytest keeps an option's value."""
    return "medsam_" + flag.strip("-").removeprefix("medsam-").replace("-", "_")


def _number(flag: str, text: str, kind: type, least: float) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not number >= least:
        noun = "whole number" if kind is int else "number"
        raise OptionError(f"{flag}: got {text!r}, expected a {noun} ≥ {least}; correct it.")
    return number


def _path(config: pytest.Config, text: str | None) -> Path | None:
    return None if text is None else (config.invocation_params.dir / Path(text).expanduser()).resolve()


def _run_dir(config: pytest.Config, run_dir: str | None, resume: str | None) -> Path:
    if run_dir is not None and resume is not None:
        raise OptionError("--run-dir and --resume: got both, expected one; --resume RUN writes to RUN.")
    chosen = _path(config, run_dir if resume is None else resume)
    return chosen or config.invocation_params.dir / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _phantom_directory(config: pytest.Config) -> Path:
    cache = getattr(config, "cache", None)
    return config.rootpath / ".medsam" / "phantoms" if cache is None else Path(cache.mkdir("medsam-phantoms"))
