"""How the options of a session become a Configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam_core.errors import OptionError
from medsam_core.plugin.options import BY_NAME, ini_summary, value_of
from medsam_core.plugin.progress import progress_asked, progress_outside_tests

if TYPE_CHECKING:
    import pytest

    from medsam_core.plugin.configuration import Configuration

PHANTOMS = "medsam-phantoms"


def configuration_from(config: pytest.Config, run_dir: Path | None = None) -> Configuration:
    """Resolve the options. run_dir: on a worker of pytest-xdist, the one that the controller chose.

    Raises OptionError in a sentence that names the option.
    """
    from medsam_core.plugin.choice import choice_from
    from medsam_core.plugin.configuration import Configuration, PhantomCohort
    from medsam_core.plugin.ray_options import ray_options
    from medsam_core.prompts.noise import noises
    from medsam_core.settings import Settings
    from medsam_core.sharding import shard_named
    from medsam_core.viewer.selection import CHOICES

    def get(name: str) -> Any:
        return value_of(config, name)

    def words(name: str) -> tuple[str, ...]:
        return tuple((get(name) or "").replace(",", " ").split())

    def number(name: str, kind: type = int, least: float = 0) -> Any:
        return None if get(name) is None else _number(name, get(name), kind, least)

    progress_asked(config)  # a wrong word shows now, not after an hour
    settings = Settings(
        modalities=words("modality"),
        regions=words("regions"),
        prompts=words("prompts"),
        protocols=words("protocol"),
        key_slice=get("key-slice"),
        key_slices=number("key-slices", least=1),
        jitter_voxels=number("jitter", float),
        per_component=get("per-component"),
        seed=number("seed"),
        refine=number("refine"),
        refine_rule=get("refine-rule"),
        labels=get("labels"),
        profile=get("profile"),
        noises=noises(words("noise"), number("noise-seeds", least=1)),
        **({} if get("metrics") is None else {"metrics": words("metrics")}),
    )
    size = None
    if get("phantom-size") != "varied":
        size = tuple(_number("phantom-size", word, int, 0) for word in words("phantom-size"))
        if len(size) != 3:
            raise OptionError(
                f"{BY_NAME['phantom-size'].flag}: got {get('phantom-size')}, expected varied or three numbers D,H,W; "
                "e.g. 64,160,160."
            )
    phantom = PhantomCohort(
        directory=_path(config, get("phantom-dir")) or _phantom_directory(config),
        prepare=None if get("phantom-dir") else partial(_prepare_cache, config),
        progress=partial(progress_outside_tests, config, "phantoms"),
        subjects=number("phantom-subjects"),
        size=size,
        seed=number("phantom-seed"),
    )
    return Configuration(
        settings=settings,
        phantom=phantom,
        run_dir=run_dir or _run_dir(config),
        brats_root=_path(config, get("root")),
        segmentation=get("segmentation"),
        subjects=words("subjects"),
        limit=number("limit", least=1),
        shard=None if get("shard") is None else shard_named(get("shard")),
        checkpoint=get("checkpoint"),
        architecture=get("architecture"),
        image_size=number("image-size", least=32),
        weights=get("weights"),
        device=get("device"),
        precision=get("precision"),
        choice=choice_from(
            get("predictor"),
            {name: get(f"predictor-{name}") for name in ("command", "url", "timeout", "options")},
            get("postprocess"),
            config,
        ),
        compiled=get("compile"),
        gates=_path(config, get("gates")),
        baseline=get("baseline"),
        prompts_from=_path(config, get("prompts-from")),
        resume=get("resume") is not None,
        save_masks=get("save-masks"),
        overlays=None if get("overlays") == "all" else number("overlays"),
        viewer=_one_of("viewer", get("viewer"), CHOICES),
        allow_no_gpu=get("allow-no-gpu"),
        reading=_reading(get("reading")),
        ray=ray_options(get, number, _workers(config)),
        workers=_workers(config),
        worker=getattr(config, "workerinput", {}).get("medsam_worker"),
        command=_command(config),
        ini=ini_summary(config),
    )


def _reading(word: str) -> str:
    from medsam_core.plugin.configuration import READING

    if word not in READING:
        raise OptionError(f"--medsam-reading: got {word!r}, expected one of {', '.join(READING)}; choose one of them.")
    return word


def _command(config: pytest.Config) -> tuple[str, ...]:
    added = os.environ.get("PYTEST_ADDOPTS", "")
    return (*([f"PYTEST_ADDOPTS={added}"] if added else []), "pytest", *config.invocation_params.args)


def _workers(config: pytest.Config) -> int:
    """How many processes of xdist share the work, 0 without xdist."""
    worker = getattr(config, "workerinput", None)
    return int(worker["workercount"]) if worker else len(config.getoption("tx", None) or ())


def _one_of(name: str, word: str, words: Sequence[str]) -> str:
    if word not in words:
        raise OptionError(f"{BY_NAME[name].flag}: got {word!r}, expected one of {', '.join(words)}; correct it.")
    return word


def _number(name: str, text: str, kind: type, least: float) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not number >= least:
        noun = "whole number" if kind is int else "number"
        raise OptionError(f"{BY_NAME[name].flag}: got {text!r}, expected a {noun} ≥ {least}; correct it.")
    return number


def _path(config: pytest.Config, text: str | None) -> Path | None:
    return None if text is None else (config.invocation_params.dir / Path(text).expanduser()).resolve()


def _run_dir(config: pytest.Config) -> Path:
    given = [name for name in ("run-dir", "resume") if config.getoption(BY_NAME[name].key) is not None]
    if len(given) == 2:
        raise OptionError(
            "--medsam-run-dir and --medsam-resume: got both, expected one; --medsam-resume=RUN writes to RUN."
        )
    for name in given or ("resume", "run-dir"):  # the command line goes before the configuration file
        chosen = _path(config, value_of(config, name))
        if chosen is not None:
            return chosen
    return config.invocation_params.dir / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]


def _phantom_directory(config: pytest.Config) -> Path:
    """In pytest's cache."""
    try:
        return config.rootpath / config.getini("cache_dir") / "d" / PHANTOMS
    except ValueError:  # -p no:cacheprovider
        return config.rootpath / ".medsam" / "phantoms"


def _prepare_cache(config: pytest.Config) -> None:
    """Let pytest make its cache: only when a phantom is written, because most sessions need none."""
    cache = getattr(config, "cache", None)
    if cache is not None:
        cache.mkdir(PHANTOMS)
