// The page's data, and small things that all parts need. Text from the data becomes text nodes only, never HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const word = (column, place) => data.words[data[column][place]];
const score = (metric, scope) => data.scores.find((one) => one.metric === metric && one.scope === scope);
const dice = score("dice", "volume");
const placeOf = new Map(data.id.map((id, place) => [id, place]));
const SIGNS = { PASS: "✔", FAIL: "✖", INCONCLUSIVE: "◆" };
const VISIBLE = 0.0005; // a change below it is none: three digits are shown

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function signed(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
}

/** A change in figures, with a sign and a triangle beside the colour. better: "higher", "lower" or "neither". */
function changed(value, better = "higher", digits = 3) {
  const text = signed(value, digits);
  if (value === null || value === undefined || better === "neither" || Math.abs(value) < VISIBLE) return element("span", {}, text);
  const worse = (value < 0) === (better === "higher");
  return element("span", { class: worse ? "fell" : "rose" }, `${text} ${value < 0 ? "▼" : "▲"}`);
}

function tag(outcome) {
  if (!SIGNS[outcome]) return element("span", {}, outcome);
  return element("span", { class: `tag ${outcome}` }, element("span", { "aria-hidden": "true" }, SIGNS[outcome]), ` ${outcome}`);
}

const anchor = (place) => "#case=" + encodeURIComponent(data.id[place]).replaceAll("%2F", "/");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const causeOf = (place) => word("cause", place).split(":")[0];
