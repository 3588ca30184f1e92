"""Pages around the viewer: one case or two side by side, and the list of a run's cases."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>html, body, main {{ height: 100%; margin: 0; background: #000; }}</style>
<main id="viewer"></main>
<script src="{program}"></script>
<script>MedsamViewer.open(document.getElementById("viewer"), {sources}).then((viewer) => {{ window.viewer = viewer; }});
</script>
</html>
"""
INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }} body {{ font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 900px; margin: 0 auto; padding: 16px; }}
td, th {{ padding: 2px 12px 2px 0; text-align: left; overflow-wrap: anywhere; }} input {{ font: inherit; width: 100%; }}
</style>
<h1>{title}</h1>
{page}<p><input id="filter" type="search" placeholder="part of a case's name" aria-label="part of a case's name"></p>
<table><thead><tr><th>Dice</th><th>case</th></tr></thead><tbody id="cases">
{rows}
</tbody></table>
<script>
document.getElementById("filter").addEventListener("input", (event) => {{
  const part = event.target.value.toLowerCase();
  for (const row of document.getElementById("cases").rows) row.hidden = !row.textContent.toLowerCase().includes(part);
}});
</script>
</html>
"""


def standalone_page(title: str, sources: Mapping[str, str], *, program: str = "viewer/viewer.js") -> str:
    """The page's HTML.

    sources: name -> URL of a case's script, one or two. program: URL of viewer.js, with niivue.js beside it.
    """
    given = json.dumps([{"name": name, "script": script} for name, script in sources.items()])
    given = given.replace("<", "\\u003c")  # so that no name ends the script
    return PAGE.format(title=html.escape(title), program=html.escape(quote(program, safe="/:.~%")), sources=given)


def index_page(run: str, entries: Sequence[tuple[str, str, str]], *, page: str | None) -> str:
    """The list of a run's cases. entries: (Dice, URL, id) of each. page: URL of the run's page, None without one."""
    row = '<tr><td>{}<td><a href="{}">{}</a>'
    rows = "\n".join(row.format(*map(html.escape, entry)) for entry in entries)
    link = f'<p><a href="{html.escape(page)}">The page of the run</a></p>\n' if page else ""
    return INDEX.format(title=html.escape(f"{run}: cases, the worst first"), page=link, rows=rows)
