"""Style and script of `ab.html`."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5f6b76; --paper: #fff; --band: #f4f6f8; --line: #d8dee4;
  --pass: #13713a; --fail: #b3261e; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b0; --paper: #14171a; --band: #1d2226;
  --line: #343b42; --pass: #1e7f47; --fail: #c43a31; --open: #946200; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1280px; padding: 16px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 20px; margin: 0 0 12px; } h2 { font-size: 17px; margin: 28px 0 8px; } h3 { font-size: 15px; margin: 0; }
.banner { color: #fff; border-radius: 8px; padding: 14px 18px; } .banner strong { font-size: 26px; display: block; }
.banner ul { margin: 8px 0 0; padding-left: 20px; }
.PASS { background: var(--pass); } .FAIL { background: var(--fail); } .INCONCLUSIVE { background: var(--open); }
.tag { color: #fff; border-radius: 4px; padding: 1px 7px; font-size: 12px; font-weight: 600; }
.wide { overflow-x: auto; margin-top: 12px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--band); } td.n { text-align: right; white-space: nowrap; } a { color: inherit; }
.soft { color: var(--soft); } summary { cursor: pointer; margin-top: 16px; }
.case { border-top: 1px solid var(--line); padding: 12px 0; } .case p { margin: 0 0 8px; color: var(--soft); }
.case:target { background: var(--band); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 12px; }
figure { margin: 0; } figure img { width: 100%; display: block; border-radius: 4px; }
figcaption { color: var(--soft); font-size: 13px; }
button { font: inherit; padding: 4px 14px; margin-top: 8px; cursor: pointer; color: inherit; background: var(--band);
  border: 1px solid var(--line); border-radius: 4px; }
.viewer { height: min(80vh, 640px); margin-top: 8px; }
@media print { button, .viewer { display: none; } .case { break-inside: avoid; } }
"""

SCRIPT = """
const loaded = new Map();
const load = source => {
  if (!loaded.has(source)) loaded.set(source, new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = source; script.onload = done; script.onerror = () => failed(new Error(source));
    document.head.append(script);
  }));
  return loaded.get(source);
};
let open = null;
document.addEventListener("click", async event => {
  const button = event.target.closest("button.open");
  if (!button) return;
  const place = button.nextElementSibling, own = open && open.button === button;
  if (open) { open.viewer.close(); open.place.hidden = true; open.button.textContent = "viewer"; open = null; }
  if (own) return;
  place.hidden = false;
  try {
    await load("new/viewer/viewer.js");
    const viewer = await MedsamViewer.open(place, [
      {name: "old", script: button.dataset.old}, {name: "new", script: button.dataset.new}]);
    open = {viewer, place, button};
    button.textContent = "close viewer";
  } catch (problem) {
    place.textContent = `The viewer cannot be opened: ${problem.message}`;
  }
});
"""
