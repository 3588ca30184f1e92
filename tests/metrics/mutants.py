"""Mutation testing of medsam_core/metrics: which changes of the code would no test notice?

    tox run -e mutation                            # some 15 minutes of a core; continues where an earlier run stopped
    tox run -e mutation -- overlap surface         # these modules alone

mutmut changes functions, one mutant each. The tables of profiles, metrics and surfels, which it leaves alone, are
changed here, entry by entry; prose and types are not. Each mutant runs in a separate process, forked before the package
was imported, and is killed if a test of its module or of the golden scores fails. Kills are kept until the module or
the mutant changes; what lived is tried again each time, against the tests as they are now. Fails if fewer than 90 %
were killed. docs/metrics.md lists the survivors and why they live.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.machinery
import itertools
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType

# what every mutant needs, before the forks
import hypothesis.extra.numpy  # noqa: F401
import pytest
import scipy.ndimage
import scipy.spatial  # noqa: F401
from mutmut.mutation.file_mutation import mutate_file_contents

ROOT = Path(__file__).parents[2]
WANTED = 0.9
MODULES = ("overlap", "surface", "lesionwise", "profiles", "surfels", "masks", "catalogue", "mask_pair",
           "propagation", "iou_calibration", "lesion_pairs", "joined_lesions", "numbering", "boxes")  # fmt: skip
ELSEWHERE = {"mask_pair": "catalogue", "boxes": "numbering"}
"""Modules with their tests in another module's file."""
OFFICIAL = ("lesion_pairs", "joined_lesions")
"""Modules whose changes the official tables of 2024 and 2025 test too."""
TABLES = ("profiles", "catalogue", "surfels", "overlap", "surface")
OVERLAPS = ("dice", "iou", "sensitivity", "specificity", "precision", "volumetric_similarity", "dice")
SWAPS = {"prediction": "truth", "truth": "prediction", "tp": "fp", "fp": "fn", "fn": "fp", "masd": "assd"}
SWAPS |= {"assd": "masd", "hd95_mm": "dice", "bias": "mean_absolute_error", "mean_absolute_error": "bias"}
SWAPS |= dict(itertools.pairwise(OVERLAPS))
"""What a mutant puts in the place of an entry."""
PATIENCE_S = 120
"""A mutant that needs more CPU seconds hangs; a person would notice, so it counts as killed."""
KILLED = (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR, -signal.SIGXCPU)
"""A test failed; a test's import failed; conftest's did; out of patience."""
CONFIGURATION = """\
[tool.pytest.ini_options]
addopts = "--import-mode=importlib --assert=plain -p no:cacheprovider --hypothesis-profile=mutants"
filterwarnings = ["error"]
[tool.mutmut]
source_paths = ["medsam_core/metrics"]
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


def pytest_collection_modifyitems(items):
    """The slow ones last: most mutants are gone by then."""
    slow = ("golden", "official")
    items.sort(key=lambda item: (any(name in item.nodeid for name in slow),
                                 getattr(item.function, "is_hypothesis_test", False)))
'''


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    module: str
    name: str
    """What was changed."""
    source: str
    """The module with the change."""
    function: str = ""
    """The name that mutmut gave the mutant; "" for a change of a table."""

    @property
    def key(self) -> str:
        """The mutant in one line, with a hash of its source."""
        return f"{self.module}: {self.name} ({hashlib.sha256(self.source.encode()).hexdigest()[:12]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=Path, help="a separate folder; the medsam_core in it is replaced")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of {', '.join(MODULES)}; default: all")
    options = parser.parse_args()
    scratch, modules = options.scratch.resolve(), options.modules or MODULES
    if (scratch / "medsam_core").resolve() == ROOT / "medsam_core" or not set(modules) <= set(MODULES):
        parser.error(
            f"got {scratch} and {', '.join(modules)}, expected a folder outside of the checkout and known modules"
        )
    lay_out(scratch)
    os.chdir(scratch)  # where mutmut looks for its configuration
    for module in modules:
        plain = Mutant(module, "", (ROOT / f"medsam_core/metrics/{module}.py").read_text())
        if finish(start(plain, scratch))[1] != 0:
            sys.exit(f"the tests of {module} fail without any mutant, so that a failure with one says nothing.")
    kept = scratch / "killed.json"
    killed = set(json.loads(kept.read_text())) if kept.exists() else set()
    mutants = {mutant.key: mutant for module in modules for mutant in mutants_of(module)}
    todo = [mutant for key, mutant in mutants.items() if key not in killed]
    print(f"{len(mutants)} mutants, {len(todo)} to try", flush=True)
    for mutant, code in run(todo, scratch):
        print("killed" if code in KILLED else f"alive, exit code {code}", mutant.key, flush=True)
        if code in KILLED:
            killed.add(mutant.key)
            kept.write_text(json.dumps(sorted(killed), indent=0))
    alive = [key for key in mutants if key not in killed]
    rate = 1 - len(alive) / len(mutants)
    print(f"{len(mutants)} mutants, {rate:.1%} killed, {len(alive)} alive:", *alive, sep="\n")
    for module in modules:
        of_module = [key for key in mutants if key.startswith(f"{module}: ")]
        print(f"{module}: {sum(key in killed for key in of_module)} of {len(of_module)} killed")
    sys.exit(not rate >= WANTED)


def lay_out(scratch: Path) -> None:
    """Copy what the tests need. Nothing is compiled there, so that no mutant meets the remains of another."""
    for folder in ("medsam_core", "tests/metrics", "fixtures/golden"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, scratch / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (scratch / "pyproject.toml").write_text(CONFIGURATION)
    (scratch / "conftest.py").write_text(CONFTEST)


def mutants_of(module: str) -> Iterator[Mutant]:
    """mutmut's mutants of the functions share one source, which holds them all; a table's have one each."""
    source = (ROOT / f"medsam_core/metrics/{module}.py").read_text()
    mutated = mutate_file_contents(f"medsam_core/metrics/{module}.py", source)
    for name in mutated.mutant_names:
        yield Mutant(module, name, mutated.code, f"medsam_core.metrics.{module}.{name}")
    if module in TABLES:
        for name, code in table_mutants(source):
            yield Mutant(module, name, code)


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
    """Another value of the same kind, as source text."""
    if value is None or isinstance(value, bool):
        return "0" if value is None else repr(not value)
    return repr(value + "x" if isinstance(value, str) else value + 1)  # type: ignore[operator]


def run(mutants: list[Mutant], scratch: Path) -> Iterator[tuple[Mutant, int]]:
    """Every mutant with its exit code (below 0: the signal that ended it), as many at a time as there are cores."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    running: dict[int, Mutant] = {}
    for mutant in mutants:
        if len(running) == workers:
            pid, code = finish()
            yield running.pop(pid), code
        running[start(mutant, scratch)] = mutant
    while running:
        pid, code = finish()
        yield running.pop(pid), code


def start(mutant: Mutant, scratch: Path) -> int:
    """The process that runs the mutant's tests."""
    code = compiled(mutant.source)  # before the fork, since the mutants of a module's functions share it
    pid = os.fork()
    if pid:
        return pid
    exit_code = -1
    try:
        exit_code = tested(mutant, code, scratch)
    finally:
        os._exit(exit_code & 0xFF)


@lru_cache(maxsize=2)
def compiled(source: str) -> CodeType:
    return compile(source, "mutant.py", "exec", dont_inherit=True)


def finish(pid: int = -1) -> tuple[int, int]:
    pid, status = os.waitpid(pid, 0)
    return pid, os.waitstatus_to_exitcode(status)


def tested(mutant: Mutant, code: CodeType, scratch: Path) -> int:
    """pytest's exit code with the mutant in place of its module."""
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S + 1))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.chdir(scratch)
    sys.path.insert(0, str(scratch))
    sys.dont_write_bytecode = True
    os.environ["MUTANT_UNDER_TEST"] = mutant.function
    read = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return code if fullname == f"medsam_core.metrics.{mutant.module}" else read(loader, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    tests = f"tests/metrics/test_{ELSEWHERE.get(mutant.module, mutant.module)}.py"
    golden = ["tests/metrics/test_official.py"] if mutant.module in OFFICIAL else []
    return int(pytest.main(["-x", "-q", tests, "tests/metrics/test_golden.py", *golden]))


if __name__ == "__main__":
    main()
