"""Mutation testing of medsam_core/metrics, in a copy: which changes of the code would no test notice?

    tox run -e mutation                            # about an hour on one core; a second run goes on where one stopped
    python tests/metrics/mutants.py SCRATCH        # the same with numpy, scipy, nibabel, hypothesis and mutmut 3.8.1

mutmut switches a mutant on after the package was imported and its tables were filled, so mutants of what runs at
import or is cached look alive. These are tried again, each in a process of its own, and only what lives then counts.
A kill is kept in SCRATCH until the function changes; what lived is tried again each time, against the tests as they
are now. Fails if fewer than 90 % were killed. docs/metrics.md lists the survivors and why they live.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
WANTED = 0.9
CONFIGURATION = """\
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p no:cacheprovider --hypothesis-profile=mutants"
filterwarnings = ["error"]
[tool.mutmut]
source_paths = ["medsam_core/metrics"]
pytest_add_cli_args_test_selection = ["tests/metrics"]
pytest_add_cli_args = ["-x"]
also_copy = ["medsam_core", "fixtures", "tests", "conftest.py"]
use_git_change_detection = false
"""
CONFTEST = '''\
"""The same examples for every mutant, whatever the load; the first failure is enough, the smallest is not asked for."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
'''
ELSEWHERE = {"comparison": "catalogue"}
"""Modules whose tests are in another's file."""
PATIENCE_S = 600
"""A mutant that takes longer, alone, hangs, which a person would notice: killed."""


def main() -> None:
    scratch = Path(sys.argv[1])
    lay_out(scratch)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", str(workers)], cwd=scratch, check=True)
    for module in sorted(path.stem for path in (scratch / "medsam_core/metrics").glob("[!_]*.py")):
        if run_alone("", module, scratch / "mutants") != 0:
            sys.exit(f"the tests of {module} fail without any mutant, so that a failure with one says nothing.")
    results = judge(scratch, workers)
    alive = [mutant for mutant, killed in results.items() if not killed]
    rate = 1 - len(alive) / len(results)
    print(f"{len(results)} mutants, {rate:.1%} killed, {len(alive)} alive:", *alive, sep="\n")
    sys.exit(not rate >= WANTED)


def lay_out(scratch: Path) -> None:
    """Copy what the tests need; what an earlier run found stays."""
    for folder in ("medsam_core", "tests/metrics", "fixtures/golden"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, scratch / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (scratch / "pyproject.toml").write_text(CONFIGURATION)
    (scratch / "conftest.py").write_text(CONFTEST)


def judge(scratch: Path, workers: int) -> dict[str, bool]:
    """Whether each mutant was killed, by mutmut or alone."""
    kept = scratch / "killed_alone.json"
    known = set(json.loads(kept.read_text())) if kept.exists() else set()
    results: dict[str, bool] = {}
    again: dict[str, str] = {}
    for path in sorted((scratch / "mutants/medsam_core/metrics").glob("*.meta")):
        module = path.name.removesuffix(".py.meta")
        source = hashlib.sha256((scratch / f"medsam_core/metrics/{module}.py").read_bytes()).hexdigest()[:12]
        for mutant, code in json.loads(path.read_text())["exit_code_by_key"].items():
            results[mutant] = code == 1 or f"{source} {mutant}" in known
            if not results[mutant]:
                again[mutant] = f"{source} {mutant}"
    print(f"{len(results)} mutants, {len(again)} to try alone", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        codes = pool.map(lambda mutant: run_alone(mutant, mutant.split(".")[2], scratch / "mutants"), again)
        for mutant, code in zip(again, codes, strict=True):
            results[mutant] = code in (1, 2, None)
            print("killed" if results[mutant] else f"alive, exit code {code}", mutant, flush=True)
            if results[mutant]:
                known.add(again[mutant])
                kept.write_text(json.dumps(sorted(known)))
    return results


def run_alone(mutant: str, module: str, folder: Path) -> int | None:
    """pytest's exit code for the module's tests, imported with the mutant in place: 1 and 2 are failures of tests and
    of their import. None: it hung."""
    tests = f"tests/metrics/test_{ELSEWHERE.get(module, module)}.py"
    command = [sys.executable, "-m", "pytest", "-x", "-q", tests]
    environment = os.environ | {"MUTANT_UNDER_TEST": mutant, "PYTHONPATH": str(folder)}
    try:
        found = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return None
    return found.returncode


if __name__ == "__main__":
    main()
