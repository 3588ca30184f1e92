// MedsamViewer.open(element, sources): one case, or two side by side with linked cursors.

const HELP = [
  ["↑ ↓ or → ←", "next, previous slice"],
  ["Page Up, Page Down", "ten slices"],
  ["a, c, s", "these keys scroll the axial, coronal, sagittal planes"],
  ["k, w", "go to the key slice, to the worst slice"],
  ["t, p, o", "show or hide truth, prediction, prompt"],
  ["+, −", "fill the contours more, less"],
  ["3", "surfaces alone, or the planes again"],
  ["mouse", "wheel: slices; click: all planes go there; drag in 3-D: turn; right drag: contrast"],
  ["?", "this help"],
];
const STYLE = `
.medsam-viewer { display: flex; flex-direction: column; height: 100%; min-height: 320px; background: #000; color: #ddd;
  font: 13px/1.4 system-ui, sans-serif; position: relative; outline-offset: -2px; }
.medsam-bar, .medsam-status { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; padding: 5px 8px; background: #16191c; }
.medsam-bar button { font: inherit; color: #ddd; background: #2b3036; border: 1px solid #555; border-radius: 4px; padding: 2px 8px; cursor: pointer; }
.medsam-bar button[aria-pressed=false] { color: #999; text-decoration: line-through; }
.medsam-bar button i { display: inline-block; width: 14px; height: 3px; margin-right: 5px; vertical-align: middle; }
.medsam-bar label { display: flex; gap: 5px; align-items: center; } .medsam-bar input { width: 90px; }
.medsam-panes { flex: 1; display: flex; min-height: 0; gap: 2px; }
.medsam-pane { flex: 1; min-width: 0; display: flex; flex-direction: column; }
.medsam-name { padding: 2px 8px; background: #16191c; overflow-wrap: anywhere; }
.medsam-picture { flex: 1; min-height: 0; position: relative; overflow: hidden; }
.medsam-picture canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.medsam-above { pointer-events: none; }
.medsam-help { position: absolute; inset: 40px 10px auto; margin: auto; max-width: 560px; background: #16191c; border: 1px solid #777; border-radius: 6px; padding: 10px 16px; z-index: 2; }
.medsam-help dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; margin: 0; } .medsam-help dd { margin: 0; }
.medsam-help[hidden] { display: none; }
.medsam-fault { padding: 20px; }
@media (max-width: 700px) { .medsam-panes { flex-direction: column; } }
`;

const base = document.currentScript.src;
let library = null; // the promise of niivue.js

async function open(element, sources) {
  if (!document.getElementById("medsam-viewer-style")) {
    const style = make("style", { id: "medsam-viewer-style", textContent: STYLE });
    document.head.append(style);
  }
  const root = make("div", { className: "medsam-viewer", tabIndex: 0 });
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Viewer of a case; press ? for the keys");
  element.replaceChildren(root);
  try {
    if (!make("canvas").getContext("webgl2")) throw new Error("This browser has no WebGL 2, which draws the image; allow graphics acceleration.");
    if (!globalThis.niivue) library ??= loadScript(new URL("niivue.js", base).href);
    root.append(make("p", { className: "medsam-fault", textContent: "Loading …" }));
    await library?.catch((error) => { library = null; throw error; });
    const cases = [];
    for (const { script } of sources) cases.push(await loadCase(new URL(script, document.baseURI).href));
    const viewer = new Viewer(root, sources.map(({ name }) => name), cases);
    await viewer.start();
    return viewer;
  } catch (error) {
    root.replaceChildren(make("p", { className: "medsam-fault", textContent: `The case cannot be shown. ${error.message}` }));
    throw error;
  }
}

class Viewer {
  constructor(root, names, cases) {
    this.root = root;
    this.cases = cases;
    this.settings = { truth: true, prediction: true, prompt: true, opacity: 0.15, view: "planes" };
    this.axis = AXIAL;
    this.following = false;
    const [first] = cases;
    this.cursor = this.centreOf(first.keySlice);
    this.buttons = {};
    this.status = make("span", { className: "medsam-where" });
    const panes = make("div", { className: "medsam-panes" });
    this.panes = cases.map((data, at) => {
      const picture = make("div", { className: "medsam-picture" });
      const head = make("div", { className: "medsam-name", textContent: titleOf(names[at], data) });
      const frame = make("div", { className: "medsam-pane" }, head, picture);
      panes.append(frame);
      return new Pane(picture, names[at], data, this.settings);
    });
    this.help = make("div", { className: "medsam-help", hidden: true }, make("dl", {}, ...HELP.flatMap(
      ([keys, text]) => [make("dt", { textContent: keys }), make("dd", { textContent: text })])));
    root.replaceChildren(this.bar(), panes, make("div", { className: "medsam-status" }, this.status), this.help);
  }

  bar() {
    const bar = make("div", { className: "medsam-bar" });
    for (const [name, key] of [["truth", "t"], ["prediction", "p"], ["prompt", "o"]]) {
      const button = this.button(name, key, () => this.toggle(name));
      const mark = make("i");
      mark.style.background = css(name);
      button.prepend(mark);
      button.setAttribute("aria-pressed", "true");
      this.buttons[name] = button;
      bar.append(button);
    }
    this.slider = make("input", { type: "range", min: 0, max: 100, value: 100 * this.settings.opacity });
    this.slider.addEventListener("input", () => this.fill(this.slider.value / 100));
    bar.append(make("label", {}, "fill", this.slider));
    bar.append(this.button("key slice", "k", () => this.goTo(this.cases[0].keySlice)));
    if (this.worst() !== null) bar.append(this.button("worst slice", "w", () => this.goTo(this.worst())));
    bar.append(this.button("3-D", "3", () => this.switchView()), this.button("keys", "?", () => this.switchHelp()));
    return bar;
  }

  button(text, key, action) {
    const button = make("button", { type: "button", title: `key ${key}` }, text);
    button.addEventListener("click", action);
    return button;
  }

  async start() {
    for (const pane of this.panes) await pane.start();
    const meshes = this.panes.flatMap((pane) => Object.values(pane.meshes));
    this.panes.forEach((pane) => pane.centre(meshes));
    for (const pane of this.panes) {
      pane.onMove = (_, voxel) => this.follow(() => this.moveTo(voxel, pane));
      pane.onTurn = () => this.follow(() => this.others(pane).forEach((other) => other.turnLike(pane)));
    }
    this.onKey = (event) => this.key(event);
    for (const kind of ["keydown", "keyup"]) this.root.addEventListener(kind, this.onKey, true);
    this.resized = new ResizeObserver(() => this.follow(() => this.panes.forEach((pane) => pane.layOut())));
    this.panes.forEach((pane) => this.resized.observe(pane.element));
    this.follow(() => this.moveTo(this.cursor));
    this.root.focus({ preventScroll: true });
  }

  others(pane) {
    return this.panes.filter((other) => other !== pane);
  }

  // Panes that are moved tell so in turn; that must not move the others again.
  follow(action) {
    if (this.following) return;
    this.following = true;
    try { action(); } finally { this.following = false; }
  }

  moveTo(voxel, except = null) {
    this.cursor = voxel.map((one, axis) => clamp(one, 0, this.cases[0].shape[axis] - 1));
    this.panes.forEach((pane) => { if (pane !== except) pane.moveTo(this.cursor); });
    this.describe();
  }

  goTo(slice) {
    this.follow(() => this.moveTo(this.centreOf(slice)));
  }

  scroll(step) {
    this.follow(() => this.moveTo(this.cursor.map((one, axis) => (axis === this.axis ? one + step : one))));
  }

  // The middle of the truth in a slice, else of the prediction, else of the image.
  centreOf(slice) {
    const [data] = this.cases;
    for (const mask of [data.truth, data.prediction]) {
      const middle = mask && middleOf(mask, data, slice);
      if (middle) return middle;
    }
    return [slice, ...[1, 2].map((axis) => data.origin[axis] + (data.size[axis] >> 1))];
  }

  worst() {
    return this.cases.map((data) => data.worstSlice).find((slice) => slice !== null) ?? null;
  }

  toggle(name) {
    this.settings[name] = !this.settings[name];
    this.buttons[name].setAttribute("aria-pressed", String(this.settings[name]));
    this.redraw();
  }

  fill(opacity) {
    this.settings.opacity = clamp(opacity, 0, 1);
    this.slider.value = 100 * this.settings.opacity;
    this.redraw();
  }

  switchView() {
    this.settings.view = this.settings.view === "3d" ? "planes" : "3d";
    this.follow(() => this.panes.forEach((pane) => pane.layOut()));
  }

  switchHelp() {
    this.help.hidden = !this.help.hidden;
  }

  redraw() {
    this.follow(() => this.panes.forEach((pane) => pane.show()));
  }

  describe() {
    const slice = this.cursor[0];
    const dice = this.cases.map((data, at) => {
      const found = sliceDice(data, slice);
      const who = this.panes.length > 1 ? `${this.panes[at].name} ` : "";
      return `${who}Dice of the slice ${found === null ? "–" : found.toFixed(3)}`;
    });
    const mm = positionOf(this.cases[0].affine, this.cursor).map((one) => one.toFixed(1)).join(", ");
    const place = `slice ${slice} of 0–${this.cases[0].shape[0] - 1}`;
    const keys = this.axis === AXIAL ? "" : ` · the keys scroll the ${PLANES[this.axis]} planes`;
    this.status.textContent = `${place} · ${dice.join(" · ")} · ${mm} mm (RAS)${keys}`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    if (event.target === this.slider && event.key.startsWith("Arrow")) return;
    event.stopPropagation(); // NiiVue has other keys
    const button = event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ");
    if (event.type !== "keydown" || button) return;
    const action = this.actions()[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  actions() {
    const scrolls = (axis) => () => { this.axis = axis; this.describe(); };
    return {
      ArrowUp: () => this.scroll(1), ArrowRight: () => this.scroll(1),
      ArrowDown: () => this.scroll(-1), ArrowLeft: () => this.scroll(-1),
      PageUp: () => this.scroll(10), PageDown: () => this.scroll(-10),
      a: scrolls(AXIAL), c: scrolls(CORONAL), s: scrolls(SAGITTAL),
      k: () => this.goTo(this.cases[0].keySlice),
      w: () => { if (this.worst() !== null) this.goTo(this.worst()); },
      t: () => this.toggle("truth"), p: () => this.toggle("prediction"), o: () => this.toggle("prompt"),
      "+": () => this.fill(this.settings.opacity + 0.1), "=": () => this.fill(this.settings.opacity + 0.1),
      "-": () => this.fill(this.settings.opacity - 0.1),
      3: () => this.switchView(),
      "?": () => this.switchHelp(), Escape: () => { this.help.hidden = true; },
    };
  }

  close() {
    this.resized.disconnect();
    this.panes.forEach((pane) => pane.close());
    this.root.remove();
  }
}

function titleOf(name, data) {
  const coarse = data.coarse ? " · the image is shown coarser than it is" : "";
  return `${name ? `${name}: ` : ""}${data.id}${data.missing ? ` · ${data.missing}` : ""}${coarse}`;
}

function middleOf(mask, data, slice) {
  const [, height, width] = data.size;
  const start = (slice - data.origin[0]) * height * width;
  let count = 0, rows = 0, columns = 0;
  for (let at = 0; at < height * width; at++) {
    if (!mask[start + at]) continue;
    count++;
    rows += Math.floor(at / width);
    columns += at % width;
  }
  return count ? [slice, Math.round(rows / count) + data.origin[1], Math.round(columns / count) + data.origin[2]] : null;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

globalThis.MedsamViewer = { add, open };
