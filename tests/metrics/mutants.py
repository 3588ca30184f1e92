"""Mutation testing of medsam_core/metrics, in a copy: which changes of the code would no test notice?

    tox run -e mutation                            # about an hour on one core; a second run goes on where one stopped
    python tests/metrics/mutants.py SCRATCH        # the same with numpy, scipy, nibabel, hypothesis and mutmut 3.8.1

mutmut switches a mutant on after the package was imported and its tables were filled, so mutants of what runs at
import look alive. These are tried again, each in a process of its own, and only what lives then counts.
mutmut changes functions alone; the tables of profiles, metrics and surfels are changed here, entry by entry. A kill is
kept in SCRATCH until its code changes; what lived is tried again each time, against the tests as they are now. Fails
if fewer than 90 % were killed. docs/metrics.md lists the survivors and why they live.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
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
also_copy = ["fixtures", "conftest.py", {others}]
use_git_change_detection = false
timeout_multiplier = 10.0
"""
CONFTEST = '''\
"""The same examples for every mutant, whatever the load; the first failure is enough, the smallest is not asked for."""

import sys

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def pytest_collection_modifyitems(items):
    """The slow ones last: most mutants are gone by then."""
    items.sort(key=lambda item: ("golden" in item.nodeid, getattr(item.function, "is_hypothesis_test", False)))


def pytest_sessionstart():
    """Forget what was cached before the mutant was switched on."""
    for name, module in list(sys.modules.items()):
        if name.startswith("medsam_core.metrics"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
'''
ELSEWHERE = {"comparison": "catalogue"}
"""Modules whose tests are in another's file."""
TABLES = ("profiles", "catalogue", "surfels", "overlap", "surface")
OVERLAPS = ("dice", "iou", "sensitivity", "specificity", "precision", "volumetric_similarity", "dice")
SWAPS = {"prediction": "truth", "truth": "prediction", "tp": "fp", "fp": "fn", "fn": "fp", "masd": "assd"}
SWAPS |= {"assd": "masd", "hd95_mm": "dice", "bias": "mean_absolute_error", "mean_absolute_error": "bias"}
SWAPS |= dict(itertools.pairwise(OVERLAPS))
"""What an entry may take for another."""
PATIENCE_S = 120
"""A mutant that needs more CPU seconds, alone, hangs, which a person would notice: killed."""


def main() -> None:
    scratch = Path(sys.argv[1])
    lay_out(scratch)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", str(workers)], cwd=scratch, check=True)
    for module in sorted(path.stem for path in (scratch / "medsam_core/metrics").glob("[!_]*.py")):
        if run_alone("", module, scratch / "mutants") != 0:
            sys.exit(f"the tests of {module} fail without any mutant, so that a failure with one says nothing.")
    results = judge(scratch, workers) | judge_tables(scratch)
    alive = [mutant for mutant, killed in results.items() if not killed]
    rate = 1 - len(alive) / len(results)
    print(f"{len(results)} mutants, {rate:.1%} killed, {len(alive)} alive:", *alive, sep="\n")
    sys.exit(not rate >= WANTED)


def lay_out(scratch: Path) -> None:
    """Copy what the tests need; what an earlier run found stays."""
    for folder in ("medsam_core", "tests/metrics", "fixtures/golden"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, scratch / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # not the mutated package itself: its mutants would be written anew each time
    beside = (path.relative_to(scratch) for path in (scratch / "medsam_core").iterdir() if path.name != "metrics")
    others = ", ".join(f'"{path}"' for path in sorted(beside))
    (scratch / "pyproject.toml").write_text(CONFIGURATION.replace("{others}", others))
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


def judge_tables(scratch: Path) -> dict[str, bool]:
    """Whether each mutant of a table was killed by the tests of its module or the golden scores."""
    folder, kept = scratch / "tables", scratch / "killed_tables.json"
    known = set(json.loads(kept.read_text())) if kept.exists() else set()
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("medsam_core", "tests", "fixtures", "conftest.py", "pyproject.toml"):
        (shutil.copytree if (scratch / part).is_dir() else shutil.copy)(scratch / part, ensured(folder) / part)
    results = {}
    for module in TABLES:
        path = folder / f"medsam_core/metrics/{module}.py"
        source = path.read_text()
        for name, mutated in table_mutants(source):
            key = f"{module}, {name}"
            results[key] = f"{hashlib.sha256(mutated.encode()).hexdigest()[:12]} {key}" in known
            if not results[key]:
                path.write_text(mutated)
                code = run_alone("", module, folder, "tests/metrics/test_golden.py")
                results[key] = code in (1, 2, 4, None)
                print("killed" if results[key] else f"alive, exit code {code}", key, flush=True)
            if results[key]:
                known.add(f"{hashlib.sha256(mutated.encode()).hexdigest()[:12]} {key}")
                kept.write_text(json.dumps(sorted(known)))
        path.write_text(source)
    return results


def table_mutants(source: str) -> Iterator[tuple[str, str]]:
    """Every entry outside functions, types and prose changed: (where and how, the module with that change)."""
    lines = source.splitlines(keepends=True)

    def visit(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
        if isinstance(node, ast.Constant) and not (isinstance(node.value, str) and " " in node.value):
            yield node, other(node.value)
        elif isinstance(node, ast.Attribute) and node.attr in SWAPS:
            yield node, f"{ast.unparse(node.value)}.{SWAPS[node.attr]}"
        for child in ast.iter_child_nodes(node):
            documents = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            aside = child is getattr(node, "annotation", None) or child in getattr(node, "decorator_list", ())
            if not (documents or aside or isinstance(child, (ast.FunctionDef, ast.Subscript))):
                yield from visit(child)

    for node, new in visit(ast.parse(source)):
        assert node.lineno == node.end_lineno, "an entry over several lines"
        line = lines[node.lineno - 1].encode()
        old = line[node.col_offset : node.end_col_offset].decode()
        changed = line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
        mutated = [*lines[: node.lineno - 1], changed.decode(), *lines[node.lineno :]]
        yield f"line {node.lineno}, column {node.col_offset + 1}: {old} -> {new}", "".join(mutated)


def other(value: object) -> str:
    """What stands for another value of the kind."""
    if value is None or isinstance(value, bool):
        return "0" if value is None else repr(not value)
    return repr(value + "x" if isinstance(value, str) else value + 1)  # type: ignore[operator]


def ensured(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_alone(mutant: str, module: str, folder: Path, *more: str) -> int | None:
    """pytest's exit code for the module's tests, imported with the mutant in place: 1 and 2 are failures of tests and
    of their import. None: it hung or crashed."""
    tests = f"tests/metrics/test_{ELSEWHERE.get(module, module)}.py"
    command = [sys.executable, "-m", "pytest", "-x", "-q", tests, *more]
    environment = os.environ | {"MUTANT_UNDER_TEST": mutant, "PYTHONPATH": str(folder)}
    found = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S + 1)),
    )
    return None if found.returncode in (-signal.SIGXCPU, -signal.SIGSEGV) else found.returncode


if __name__ == "__main__":
    main()
