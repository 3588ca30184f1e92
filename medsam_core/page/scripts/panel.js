// The panel of one case, opened by its anchor: picture, curve, scores, cause, prompt, controls, rerun.
const panel = document.getElementById("panel");
let opened = null; // the place of the shown case
let sequence = () => data.id.map((_, place) => place); // the cases in the table's order
let closeViewer = null;

function section(title, ...children) {
  return [element("h3", {}, title), ...children];
}

function table(titles, lines, name) {
  const head = titles.map((title, column) => element("th", { scope: "col", class: column ? "n" : null }, title));
  const rows = lines.map((line) => element("tr", {}, ...line.map((cell, column) =>
    element(column ? "td" : "th", { class: column ? "n" : null, scope: column ? null : "row" }, cell))));
  return element("div", { class: "wide" }, element("table", { class: "plain", "aria-label": name },
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}

function scoreTable(place, scope) {
  const own = data.scores.filter((one) => one.scope === scope && (one.now[place] !== null || one.before?.[place] != null));
  const lines = own.map((one) => {
    const digits = one.unit ? 2 : one.metric.includes("components") ? 0 : 3;
    const now = one.now[place], before = one.before?.[place] ?? null;
    const change = now === null || before === null ? null : now - before;
    const line = [one.unit ? `${one.name}, ${one.unit}` : one.name, figure(now, digits)];
    return data.baseline === null ? line : [...line, figure(before, digits), changed(change, one.better, digits)];
  });
  const name = { volume: "whole volume", region_slices: "slices with the region", key_slice: "key slice" }[scope] ?? scope;
  return lines.length ? table(data.baseline === null ? [name, "now"] : [name, "now", data.baseline, "change"], lines, name) : null;
}

function scoreTables(place) {
  const rest = scoreTable(place, "region_slices");
  return [element("div", { class: "side" }, scoreTable(place, "volume"), scoreTable(place, "key_slice")),
    rest && element("details", {}, element("summary", {}, "on the slices with the region"), rest)];
}

function controlTable(place) {
  if (!data.controls.length || !data.prompted[place] || !dice) return null;
  const lines = data.controls.map(({ name, scores }) => {
    const value = scores.volume[place], own = dice.now[place];
    const beaten = value === null || own === null ? "–" : own > value ? "✔ beaten" : "✖ not beaten";
    return [name, figure(value), figure(scores.key_slice[place]), beaten];
  });
  return table(["control, without a model", "Dice, volume", "Dice, key slice", ""], lines, "controls");
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

function rerun(place) {
  const chosen = { subjects: "subject", modality: "modality", regions: "region", prompts: "prompt", protocol: "protocol" };
  const words = Object.entries(chosen).map(([option, column]) => quoted(`--medsam-${option}=${word(column, place)}`));
  return [data.rerun, ...words].join(" ");
}

async function copy(text, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const area = element("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    panel.append(area); // within the dialog: nothing outside of it can be selected
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "Copied" : "Copy it by hand";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

let viewerScript = null; // the promise of the viewer's own script, loaded once

function loadViewer() {
  viewerScript ??= new Promise((resolve, reject) => {
    const script = element("script", { src: data.viewer, load: resolve, error: () => reject(new Error("the viewer's script is not there")) });
    document.head.append(script);
  });
  return viewerScript;
}

function viewerPart(place) {
  const source = data.viewers[place];
  if (!source) return [];
  const into = element("div", { class: "viewer" }), said = element("p", { class: "note", role: "status" });
  const button = element("button", { type: "button", id: "open-viewer", click: async () => {
    button.disabled = true;
    said.textContent = "Loading the volume …";
    try {
      await loadViewer();
      const viewer = await MedsamViewer.open(into, [{ name: "prediction", script: source }]);
      if (opened === place) closeViewer = () => viewer.close();
      else viewer.close();
      said.textContent = "";
    } catch (problem) {
      said.textContent = `The viewer cannot be opened: ${problem.message}.`;
      button.disabled = false;
    }
  } }, "Open the volume");
  return [element("p", {}, button), said, into];
}

function facts(place) {
  const found = [
    ["prompt", data.asked[place]], ["labels", word("labels", place)], ["grade", word("grade", place)],
    ["site", word("site", place)], ["seconds", data.seconds[place] === null ? "" : figure(data.seconds[place], 1)],
  ].filter(([, value]) => value);
  return element("dl", {}, ...found.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]));
}

function picture(place) {
  const url = data.pictures[place];
  if (!url) {
    const small = document.querySelector(`.tile[href="${CSS.escape(anchor(place))}"] img`);
    if (small) return element("img", { class: "whole", src: small.src, alt: small.alt });
    return element("p", { class: "note" }, "The run kept no picture of this case; --medsam-overlays=all keeps one of every case.");
  }
  const alt = `${data.id[place]}: truth (green), prediction (magenta) and prompt (yellow)`;
  const image = element("img", { class: "whole", src: url, alt, error: () => {
    const small = document.querySelector(`.tile[data-place="${place}"] img`);
    image.replaceWith(small ? element("img", { class: "whole", src: small.src, alt }) : element("p", { class: "note" }, "The picture is not beside the page any more."));
  } });
  return element("a", { href: url }, image);
}

/** What is shown of a case with rounds of corrections; nothing for one without. */
function roundsPart(place) {
  const rounds = data.rounds[place];
  return rounds ? [...section("Corrections"), element("div", { class: "plot", id: "rounds" })] : [];
}

function drawPanel(place) {
  const order = sequence(), at = order.indexOf(place);
  const go = (step) => element("button", { type: "button", disabled: at < 0 || !(at + step in order), "aria-label": step < 0 ? "previous case" : "next case",
    click: () => { location.hash = anchor(order[at + step]); } }, step < 0 ? "← previous" : "next →");
  const why = [...data.why[place].map((one) => data.words[one]), word("cause", place)].filter(Boolean);
  const command = rerun(place);
  const copyButton = element("button", { type: "button", id: "copy", click: () => copy(command, copyButton) }, "Copy");
  const change = data.change[place];
  panel.replaceChildren(
    element("div", { class: "head" }, tag(word("outcome", place)), element("h2", { id: "panel-title", tabindex: "-1" }, data.id[place]),
      go(-1), go(1), element("button", { type: "button", id: "close", click: () => panel.close() }, "Close")),
    element("div", { class: "body" },
      element("p", {}, `Dice ${figure(dice?.now[place])}`, ...(change === null ? [] : [" (", changed(change), ` against ${data.baseline})`])),
      why.length ? element("ul", {}, ...why.map((text) => element("li", {}, text))) : null,
      picture(place),
      ...viewerPart(place),
      ...section("Slice by slice"),
      data.curves[place] ? element("div", { class: "plot", id: "curve" })
        : element("p", { class: "note" }, data.prompted[place] ? "The run kept no counts by slice of this case." : "The region is absent and nothing was predicted."),
      ...roundsPart(place),
      ...section("Scores", ...scoreTables(place)),
      ...section("Prompt", facts(place)),
      controlTable(place),
      ...(data.notes[place].length ? section("Notes", element("ul", {}, ...data.notes[place].map((one) => element("li", {}, data.words[one])))) : []),
      ...section("Score this case again", element("p", { class: "note" }, "In the folder where the run was started; it writes a run of its own."),
        element("div", { class: "copy" }, element("pre", { id: "rerun", tabindex: "0" }, command), copyButton)),
    ));
}

function showCase(place) {
  if (closeViewer) closeViewer();
  closeViewer = null;
  opened = place;
  drawPanel(place);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  const curve = document.getElementById("curve"), rounds = document.getElementById("rounds");
  if (curve) sliceCurve(curve, place);
  if (rounds) roundCurve(rounds, place, data.rounds[place]);
  document.getElementById("panel-title").focus({ preventScroll: true });
}

panel.addEventListener("close", () => {
  if (closeViewer) closeViewer();
  closeViewer = null;
  opened = null;
  panel.replaceChildren();
  if (location.hash.startsWith("#case=")) history.replaceState(null, "", location.pathname + location.search);
});
panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
panel.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea, .viewer") || event.altKey || event.ctrlKey || event.metaKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], order = sequence();
  const next = step && order[order.indexOf(opened) + step];
  if (next !== undefined && step) location.hash = anchor(next);
});
