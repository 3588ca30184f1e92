"""The docs against the repository: links resolve, and the commands that they name exist."""

from __future__ import annotations

import argparse
import configparser
import re
import subprocess
from pathlib import Path

import pytest

from medsam_core.cli import COMMANDS, parser
from medsam_core.plugin.options import OPTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README_WORDS = 700

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings: lower case, no punctuation, a hyphen for each space."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links in the text of `page` that lead to no file, or to no heading of a Markdown file."""
    links = [link for link in _LINK.findall(_FENCE.sub("", text)) if not re.match(r"[a-z]+:", link)]
    return [link for link in links if not _leads_somewhere(page, text, *link.partition("#")[::2])]


def _leads_somewhere(page: Path, text: str, place: str, anchor: str) -> bool:
    target = (page.parent / place).resolve() if place else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors(text if target == page else target.read_text(encoding="utf-8"))


def unknown_environments(text: str) -> set[str]:
    """Names after `tox … -e` that tox.ini does not define."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    known = {section.removeprefix("testenv:") for section in tox.sections()}
    return set(re.findall(r"\btox (?:run )?-e\s+([\w-]+)", text)) - known


def unknown_commands(text: str) -> set[str]:
    """Words after `medsam-core` in code that are no command."""
    code = "\n".join([*_FENCE.findall(text), *re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))])
    indented = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    return set(re.findall(r"\bmedsam-core ([a-z]+)", f"{code}\n{indented}")) - set(COMMANDS)


def options_of(command: str) -> set[str]:
    """What `medsam-core COMMAND` and its sub-commands know."""
    return _known(_subcommands(parser())[command])


def _known(command: argparse.ArgumentParser) -> set[str]:
    return set(command._option_string_actions).union(*map(_known, _subcommands(command).values()))


def _subcommands(command: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [one.choices for one in command._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def unknown_options(text: str) -> set[str]:
    """Options in code that their command does not have: `--medsam-NAME` anywhere, others after `medsam-core COMMAND`.

    A command ends with its line, unless that ends with a backslash, and at ` -- `, after which options are pytest's.
    """
    code = "\n".join([*_FENCE.findall(text), *re.findall(r"`([^`]+)`", _FENCE.sub("", text))])
    code = re.sub(r"\\\n\s*", " ", code)
    found = set(re.findall(r"--medsam-[a-z][a-z-]*", code)) - {option.flag for option in OPTIONS}
    for command, rest in re.findall(r"\bmedsam-core ([a-z]+)\b([^\n]*)", code):
        given = re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", re.split(r" -- |[|;&#`]", rest)[0])
        if command in COMMANDS:
            found |= set(given) - options_of(command)
    return found


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_command_of_a_page_exists(page):
    text = page.read_text(encoding="utf-8")
    assert broken_links(page, text) == []
    assert unknown_environments(text) == set()
    assert unknown_commands(text) == set()
    assert unknown_options(text) == set()


def test_the_scripts_of_docs_can_be_read_by_bash():
    scripts = [
        script
        for page in PAGES
        for script in re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]
    assert len(scripts) >= 2
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/nowhere.md)", ["docs/nowhere.md"]),
        ("[a](docs/gates.md#nothing)", ["docs/gates.md#nothing"]),
        ("![a](docs/nothing.png)", ["docs/nothing.png"]),
        ("# Here\n\n[a](#there)", ["#there"]),
        ("# Here, `--now`!\n\n[a](#here---now) [b](docs/gates.md#see-it-fail) [c](https://example.org/x)", []),
        ("```\n# a comment\n[a](nowhere.md)\n```\n[b](#a-comment)", ["#a-comment"]),
    ],
)
def test_a_broken_link_is_found(text, expected):
    assert broken_links(ROOT / "README.md", text) == expected


def test_an_unknown_environment_is_found():
    assert unknown_environments("`tox -e gate`, `python -m tox -e nothing -- -k x`, tox run -e\nnever") == {
        "nothing",
        "never",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`--medsam-root` and `--medsam-rot=DIR`", {"--medsam-rot"}),
        ("```\nmedsam-core run --shard=1/8 \\\n  --run-dirs=x -n 2 -- -x --maxfail=1\n```", {"--run-dirs"}),
        ("`medsam-core merge part-* -o whole --force`", {"--force"}),
        ("`medsam-core judge RUN --json | jq --arg x`, `git commit --amend`", set()),
    ],
)
def test_an_unknown_option_is_found(text, expected):
    assert unknown_options(text) == expected


def test_an_unknown_command_is_found():
    text = (
        "`medsam-core judge RUN`, `medsam-core jugde RUN`\n\n    medsam-core lists x\n\n```\nmedsam-core scores\n```\n"
    )
    assert unknown_commands(text) == {"jugde", "lists", "scores"}
