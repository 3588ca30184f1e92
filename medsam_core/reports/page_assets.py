"""The page's style and script: inlined, so that a run directory can be zipped and opened anywhere, offline."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5f6b76; --paper: #fff; --band: #f4f6f8; --line: #d8dee4;
  --pass: #13713a; --fail: #b3261e; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --paper: #14171a; --band: #1d2226;
  --line: #343b42; --pass: #1e7f47; --fail: #c43a31; --open: #946200; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1280px; padding: 16px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0 0 12px; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 28px 0 8px; }
.banner { color: #fff; border-radius: 8px; padding: 14px 18px; } .banner strong { font-size: 26px; display: block; }
.banner ul { margin: 8px 0 0; padding-left: 20px; }
.PASS { background: var(--pass); } .FAIL { background: var(--fail); } .INCONCLUSIVE { background: var(--open); }
.tag { color: #fff; border-radius: 4px; padding: 1px 7px; font-size: 12px; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--band); font-weight: 600; white-space: nowrap; } td.n, th.n { text-align: right; }
#cases { width: 100%; } #cases th { position: sticky; top: 0; }
#cases th button { all: unset; cursor: pointer; } #cases th button:focus-visible { outline: 2px solid currentColor; }
#cases th[aria-sort=ascending] button::after { content: " ▲"; }
#cases th[aria-sort=descending] button::after { content: " ▼"; }
#cases img { width: 240px; display: block; border-radius: 4px; } #cases .why { color: var(--soft); font-size: 13px; }
td.id { overflow-wrap: anywhere; min-width: 16em; } .soft { color: var(--soft); }
details { margin-top: 6px; } details dl { margin: 4px 0 8px 18px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; }
input { font: inherit; padding: 4px 8px; margin: 0 0 8px; width: 22em; max-width: 100%; color: inherit;
  background: var(--band); border: 1px solid var(--line); border-radius: 4px; }
"""

SCRIPT = """
const table = document.getElementById("cases");
if (table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(one => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const figures = head.classList.contains("n");
    const rows = [...body.rows].map(row => [figures ? Number(key(row)) : key(row), row]);
    rows.sort(([a], [b]) => (figures ? a - b : a.localeCompare(b)) * (down ? -1 : 1));
    body.append(...rows.map(([, row]) => row));
  }));
  document.getElementById("filter").addEventListener("input", event => {
    const words = event.target.value.toLowerCase().split(/\\s+/);
    for (const row of body.rows)
      row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  });
}
"""
