"""A page with nothing but the viewer of one case, or of two side by side."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
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


def standalone_page(title: str, sources: Mapping[str, str], *, program: str = "viewer/viewer.js") -> str:
    """The page's HTML.

    sources: name -> URL of a case's script, one or two. program: URL of viewer.js, with niivue.js beside it.
    """
    given = json.dumps([{"name": name, "script": script} for name, script in sources.items()])
    given = given.replace("<", "\\u003c")  # so that no name ends the script
    return PAGE.format(title=html.escape(title), program=html.escape(quote(program, safe="/:.~%")), sources=given)
