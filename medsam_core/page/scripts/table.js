// The table of the cases: pages of rows, sorted and filtered over all of them.
const rows = data.id.map((id, place) => ({
  place, id, subject: word("subject", place), modality: word("modality", place), region: word("region", place),
  prompt: word("prompt", place), protocol: word("protocol", place), noise: word("noise", place), outcome: word("outcome", place),
  dice: dice?.now[place] ?? null, before: dice?.before?.[place] ?? null, change: data.change[place],
  iou: score("iou", "volume")?.now[place] ?? null, key: score("dice", "key_slice")?.now[place] ?? null,
  cause: causeOf(place), grade: word("grade", place), site: word("site", place), seconds: data.seconds[place],
}));
const values = (column) => [...new Set(rows.map((row) => row[column]))];
const varies = (column) => values(column).length > 1;
const RANK = { FAIL: 0, INCONCLUSIVE: 1, PASS: 2, "–": 3 };
const CHANGES = {
  "fell by over 0.05": (value) => value < -0.05, "fell": (value) => value <= -VISIBLE,
  "rose": (value) => value >= VISIBLE, "rose by over 0.05": (value) => value > 0.05,
  "as before": (value) => Math.abs(value) < VISIBLE,
};

const number = (title, field, digits, more = {}) => ({
  title, field, hozAlign: "right", headerHozAlign: "right", cssClass: "n", sorter: "number", minWidth: 76,
  sorterParams: { alignEmptyValues: "bottom" }, formatter: (cell) => figure(cell.getValue(), digits), ...more,
});
const text = (title, field, more = {}) => ({ title, field, sorter: "string", minWidth: 76, formatter: "plaintext", ...more });

function columns() {
  return [
    text("case", "id", { minWidth: 140, widthGrow: 5, variableHeight: true, responsive: 0, formatter: (cell) =>
      element("a", { href: anchor(cell.getData().place) }, cell.getValue()) }),
    text("outcome", "outcome", { minWidth: 114, responsive: 0, formatter: (cell) => tag(cell.getValue()),
      sorter: (one, other) => RANK[one] - RANK[other] }),
    ...(varies("modality") ? [text("modality", "modality")] : []),
    text("region", "region", { responsive: 4 }), text("prompt", "prompt", { responsive: 4 }),
    ...(varies("protocol") ? [text("protocol", "protocol", { minWidth: 110 })] : []),
    ...(varies("noise") ? [text("noise", "noise", { minWidth: 130, formatter: (cell) => cell.getValue() || "exact" })] : []),
    number("Dice", "dice", 3, { responsive: 0 }),
    ...(data.baseline === null ? [] : [
      number("change", "change", 3, { minWidth: 96, responsive: 1, formatter: (cell) => changed(cell.getValue()) }),
      number("before", "before", 3, { responsive: 5 })]),
    number("IoU", "iou", 3, { responsive: 6 }), number("key slice", "key", 3, { minWidth: 104, responsive: 5 }),
    ...(varies("cause") ? [text("cause", "cause", { minWidth: 150, responsive: 2 })] : []),
    ...(varies("grade") ? [text("grade", "grade", { responsive: 7 })] : []),
    ...(varies("site") ? [text("site", "site", { responsive: 7 })] : []),
    number("seconds", "seconds", 1, { minWidth: 98, responsive: 8 }),
  ];
}

function choice(name, title, options) {
  return element("label", {}, title, element("select", { name }, element("option", { value: "" }, "all"),
    ...options.map((one) => element("option", { value: one }, one === "–" && name === "outcome" ? "– under no gate" : one || "none"))));
}

function filters(apply) {
  const form = document.getElementById("filters");
  const chosen = ["modality", "region", "prompt", "protocol", "noise", "outcome", "cause", "grade", "site"];
  form.append(
    element("label", {}, "search", element("input", { type: "search", name: "words", placeholder: "subject, WT box …", autocomplete: "off" })),
    ...chosen.filter((column) => varies(column) || ["region", "prompt", "outcome"].includes(column))
      .map((column) => choice(column, column, column === "cause" ? values(column).filter(Boolean).sort() : values(column))),
    ...(data.baseline === null ? [] : [choice("change", `change against ${data.baseline}`, Object.keys(CHANGES))]),
    element("button", { type: "reset" }, "Reset"),
  );
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => apply(wanted(new FormData(form))));
  form.addEventListener("reset", () => setTimeout(() => apply(() => true)));
}

/** From what is chosen to whether a row is wanted. */
function wanted(chosen) {
  const words = (chosen.get("words") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const equal = [...chosen].filter(([name, value]) => value && !["words", "change"].includes(name));
  const moved = CHANGES[chosen.get("change")];
  return (row) => equal.every(([name, value]) => row[name] === value)
    && (!moved || (row.change !== null && moved(row.change)))
    && words.every((one) => `${row.id} ${row.outcome} ${row.cause} ${row.grade} ${row.site}`.toLowerCase().includes(one));
}

function buildTable() {
  const made = new Tabulator("#table", {
    data: rows, columns: columns(), index: "place", layout: "fitColumns", responsiveLayout: "hide", pagination: true,
    paginationSize: 25, paginationSizeSelector: [25, 50, 100, 500], paginationCounter: "rows", headerSortTristate: true,
    placeholder: "No case fits the filters.", columnDefaults: { resizable: false },
  });
  const count = document.getElementById("count");
  const say = () => { count.textContent = `${made.getDataCount("active")} of ${rows.length} case${rows.length === 1 ? "" : "s"}`; };
  made.on("rowClick", (event, row) => {
    if (!event.target.closest("a") && !String(getSelection())) location.hash = anchor(row.getData().place);
  });
  made.on("tableBuilt", () => {
    sequence = () => made.getData("active").map((row) => row.place);
    filters((wants) => {
      made.setFilter(wants);
      say();
    });
    say();
    performance.mark("cases-shown");
  });
  return made;
}
