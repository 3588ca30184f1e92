// Starts the parts, and follows the address: #case=… opens a case, #gates unfolds the gates.
for (const tile of document.querySelectorAll(".tile")) {
  tile.dataset.place = placeOf.get(decodeURIComponent(tile.hash.slice("#case=".length)));
}
if (rows.length) buildTable();
const figureOfDots = document.getElementById("dots");
if (figureOfDots && dice) dots(figureOfDots);

function follow() {
  if (location.hash.startsWith("#case=")) {
    let id = "";
    try {
      id = decodeURIComponent(location.hash.slice("#case=".length));
    } catch {
      return; // no address of a case
    }
    if (placeOf.has(id)) showCase(placeOf.get(id));
  } else {
    if (panel.open) panel.close();
    if (location.hash === "#gates") document.querySelector("#gates details")?.setAttribute("open", "");
  }
}
addEventListener("hashchange", follow);
addEventListener("beforeprint", () => document.querySelectorAll("main details").forEach((one) => { one.open = true; }));
follow();
