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

# flag, default, metavar ("" for a switch), help
OPTIONS: tuple[tuple[str, Any, str, str], ...] = (
    ("--brats-root", None, "DIR", "cohort: a BraTS 2018-2025 or MSD Task01 folder (default: the phantom cohort)"),
    ("--subjects", None, "ID,…", "only these subjects"),
    ("--limit", None, "N", "only the first N subjects"),
    ("--modality", "t1ce", "M,…", "what the model sees: t1ce, t1, t2, flair (default: %(default)s)"),
    ("--regions", "WT,TC,ET", "R,…", "regions to prompt and score (default: %(default)s)"),
    ("--prompts", "box,point", "P,…", "prompt modes: box, point, points3, box+point, mask (default: %(default)s)"),
    (
        "--protocol",
        "bidirectional",
        "P,…",
        "bidirectional: from the key slice both ways; forward: from the region's first slice to the end; "
        "slicewise: a prompt on every slice, no memory (default: %(default)s)",
    ),
    ("--key-slice", "largest", "K",
     "slice that is prompted: largest, middle, first (default: %(default)s); the "
     "protocol forward always takes the first, slicewise all"),
    ("--jitter", "0", "VOXELS", "seeded uniform jitter of boxes and points (default: none)"),
    ("--per-component", False, "", "prompt every connected component of a region by itself"),
    ("--seed", "0", "N", "seed of the jitter (default: %(default)s)"),
    ("--prompts-from", None, "FILE", "replay exactly the prompts of another run's prompts.json"),
    ("--labels", None, "NAME", "label convention: brats2019, brats2023, brats2024, brats2024-ped, "
     "msd (default: detected from the cohort's layout)"),
    ("--profile", "brats2019", "NAME", "metric definitions: brats2019, brats2023, brats2023-ssa, brats2023-ped, "
     "brats2023-men, brats2023-met, monai (default: %(default)s)"),
    ("--metrics", None, "M,…", "metrics to score beside dice and iou, and those that the gates ask for "
     "(default: also sensitivity, precision and the volumes); docs/metrics.md lists all"),
    ("--checkpoint", None, "PATH|NAME", "weights: a .pt or .safetensors file, or a name such as medsam2-latest or "
     "sam2.1-tiny (default: the embedded checkpoint)"),
    ("--architecture", None, "NAME", "override the architecture that is recognised from the weights: "
     "medsam2, sam2-tiny, sam2.1-small …; a wrong name lists them"),
    ("--image-size", None, "N", "override the side of the square image that the model sees"),
    ("--device", "auto", "D", "auto, cpu, cuda or cuda:N (default: %(default)s: cuda if there is one)"),
    ("--precision", "auto", "P", "auto, fp32 or bf16 (default: %(default)s: bf16 on cuda, fp32 on cpu)"),
    ("--compile", False, "", "compile the model for speed, checked against itself uncompiled; takes minutes once; not "
     "yet run on a GPU (docs/engine.md)"),
    ("--allow-no-gpu", False, "", "skip the gpu cases where there is no GPU, instead of ending with an error"),
    ("--gates", None, "FILE", "thresholds (default: benchmarks/gates/phantom.toml for the phantom cohort)"),
    ("--baseline", None, "NAME", "what relative bounds refer to: a baseline or a run (default: the gates file's)"),
    ("--run-dir", None, "DIR", "where the run is written (default: runs/<time>)"),
    ("--resume", None, "RUN", "go on in this run directory: score only what it lacks"),
    ("--save-masks", False, "", "write every predicted mask as NIfTI on the image's own grid"),
    ("--overlays", "4", "N|all", "pictures of the N worst cases beside the failed ones (default: %(default)s)"),
    ("--phantom-dir", None, "DIR", "where the phantom cohort is kept (default: pytest's cache)"),
    ("--phantom-subjects", "6", "N", "size of the phantom cohort (default: %(default)s)"),
    ("--phantom-size", "40,160,160", "D,H,W", "voxels of a phantom (default: %(default)s)"),
    ("--phantom-seed", "19", "N", "seed of the phantom cohort (default: %(default)s)"),
)  # fmt: skip


def add_options(parser: pytest.Parser) -> None:
    """Declare every option under the heading `medsam`."""
    group = parser.getgroup("medsam", "MedSAM-2 regression gate")
    for flag, default, metavar, text in OPTIONS:
        if metavar:
            group.addoption(flag, default=default, metavar=metavar, help=text, dest=_destination(flag))
        else:
            group.addoption(flag, action="store_true", default=default, help=text, dest=_destination(flag))


def given_options(config: pytest.Config) -> str:
    """The options that differ from their defaults, as one would type them: for the rerun line of a failed case.

    With an equals sign: pytest takes a path after a space for a test path and looks for its configuration there.
    """
    words: list[str] = []
    for flag, default, metavar, _ in OPTIONS:
        value = config.getoption(_destination(flag))
        if value != default and flag not in ("--run-dir", "--resume"):
            words.append(f"{flag}={value}" if metavar else flag)
    return shlex.join(words)


def configuration_from(config: pytest.Config, run_dir: Path | None = None) -> Configuration:
    """Resolve the options. run_dir: the controller's choice, on an xdist worker.

    Raises OptionError in a sentence that names the option.
    """
    from medsam_core.cases import Settings
    from medsam_core.plugin.configuration import Configuration, PhantomCohort

    def get(flag: str) -> Any:
        return config.getoption(_destination(flag))

    chosen = {} if get("--metrics") is None else {"metrics": _words(get("--metrics"))}
    settings = Settings(
        modalities=_words(get("--modality")),
        regions=_words(get("--regions")),
        prompts=_words(get("--prompts")),
        protocols=_words(get("--protocol")),
        key_slice=get("--key-slice"),
        jitter_voxels=_number("--jitter", get("--jitter"), float),
        per_component=get("--per-component"),
        seed=_number("--seed", get("--seed"), int),
        labels=get("--labels"),
        profile=get("--profile"),
        **chosen,
    )
    size = tuple(_number("--phantom-size", word, int) for word in _words(get("--phantom-size")))
    if len(size) != 3:
        raise OptionError(
            f"--phantom-size: got {get('--phantom-size')}, expected three numbers D,H,W; e.g. 64,160,160."
        )
    return Configuration(
        settings=settings,
        phantom=PhantomCohort(
            directory=_phantom_directory(config, get("--phantom-dir")),
            subjects=_number("--phantom-subjects", get("--phantom-subjects"), int),
            size=size,
            seed=_number("--phantom-seed", get("--phantom-seed"), int),
        ),
        run_dir=run_dir or _run_dir(config, get("--run-dir"), get("--resume")),
        brats_root=_path(config, get("--brats-root")),
        subjects=_words(get("--subjects") or ""),
        limit=None if get("--limit") is None else _number("--limit", get("--limit"), int, least=1),
        checkpoint=get("--checkpoint"),
        architecture=get("--architecture"),
        image_size=None if get("--image-size") is None else _number("--image-size", get("--image-size"), int, least=32),
        device=get("--device"),
        precision=get("--precision"),
        compiled=get("--compile"),
        gates=_path(config, get("--gates")),
        baseline=get("--baseline"),
        prompts_from=_path(config, get("--prompts-from")),
        resume=get("--resume") is not None,
        save_masks=get("--save-masks"),
        overlays=None if get("--overlays") == "all" else _number("--overlays", get("--overlays"), int),
        allow_no_gpu=get("--allow-no-gpu"),
        workers=_workers(config),
        command=(*_from_environment(), "pytest", *config.invocation_params.args),
    )


def _from_environment() -> tuple[str, ...]:
    """The options that pytest takes from the environment, as a shell would be told them."""
    added = os.environ.get("PYTEST_ADDOPTS", "")
    return (f"PYTEST_ADDOPTS={added}",) if added else ()


def _workers(config: pytest.Config) -> int:
    """How many processes of xdist share the work, 0 without it."""
    worker = getattr(config, "workerinput", None)
    return int(worker["workercount"]) if worker else len(config.getoption("tx", None) or ())


def _destination(flag: str) -> str:
    return "medsam_" + flag.strip("-").replace("-", "_")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _number(flag: str, text: str, kind: type, *, least: float = 0) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not number >= least:
        noun = "whole number" if kind is int else "number"
        raise OptionError(f"{flag}: got {text!r}, expected a {noun} ≥ {least}; mend the option.")
    return number


def _path(config: pytest.Config, text: str | None) -> Path | None:
    return None if text is None else (config.invocation_params.dir / Path(text).expanduser()).resolve()


def _run_dir(config: pytest.Config, run_dir: str | None, resume: str | None) -> Path:
    if run_dir is not None and resume is not None:
        raise OptionError("--run-dir and --resume: got both, expected one; --resume RUN goes on in RUN.")
    chosen = _path(config, resume if resume is not None else run_dir)
    if chosen is not None:
        return chosen
    return config.invocation_params.dir / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _phantom_directory(config: pytest.Config, given: str | None) -> Path:
    chosen = _path(config, given)
    if chosen is not None:
        return chosen
    cache = getattr(config, "cache", None)
    if cache is not None:
        return Path(cache.mkdir("medsam-phantoms"))
    return config.rootpath / ".medsam" / "phantoms"
