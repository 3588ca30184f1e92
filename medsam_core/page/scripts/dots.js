// Dice of every case, a dot each, in a line per group: what a mean hides.
function dots(into) {
  const groups = data.groups.map((one) => ({
    name: data.words[one],
    places: data.group.flatMap((own, place) => (own === one && data.prompted[place] && dice.now[place] !== null ? [place] : [])),
  })).filter((group) => group.places.length);
  if (!groups.length) return;
  const LINE = 46, LEFT = 92, RIGHT = 16, BOTTOM = 26;
  const canvas = element("canvas", { role: "img", "aria-label": "Dice of every case by group; the table below has the figures" });
  const idle = `A dot is a case; the thick line is the median${data.baseline === null ? "" : `, the open diamond that of ${data.baseline}`}. A click opens a case.`;
  const caption = element("figcaption", {}, idle);
  into.append(canvas, caption);
  into.hidden = false;
  const median = (values) => {
    const sorted = values.filter((one) => one !== null && one !== undefined).sort((a, b) => a - b), half = sorted.length >> 1;
    return sorted.length ? (sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2) : null;
  };
  let drawn = []; // x, y and place of each dot
  const draw = () => {
    const width = into.clientWidth, height = groups.length * LINE + BOTTOM, ratio = devicePixelRatio || 1;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d"), ink = colour("--text"), soft = colour("--soft");
    const xOf = (value) => LEFT + value * (width - LEFT - RIGHT);
    pen.scale(ratio, ratio);
    pen.font = "13px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let tick = 0; tick <= 10; tick += 2) {
      pen.strokeStyle = colour("--rule");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(xOf(tick / 10), 0);
      pen.lineTo(xOf(tick / 10), height - BOTTOM);
      pen.stroke();
      pen.fillStyle = soft;
      pen.textAlign = "center";
      pen.fillText((tick / 10).toFixed(1), xOf(tick / 10), height - BOTTOM / 2);
    }
    drawn = [];
    groups.forEach(({ name, places }, line) => {
      const middle = line * LINE + LINE / 2, many = places.length > 100;
      pen.fillStyle = ink;
      pen.textAlign = "left";
      pen.fillText(name, 0, middle, LEFT - 8);
      for (const place of places) {
        // spread by a number that looks random and is always the same
        const x = xOf(dice.now[place]), y = middle + ((place * 0.61803398875) % 1 - 0.5) * (LINE - 18);
        const failed = word("outcome", place) === "FAIL";
        pen.globalAlpha = many ? 0.45 : 0.8;
        pen.fillStyle = pen.strokeStyle = failed ? colour("--fell") : colour("--link");
        pen.lineWidth = 1.6;
        pen.beginPath();
        if (failed) { // a cross: the form differs, too, not the colour alone
          pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y + 4); pen.moveTo(x - 4, y + 4); pen.lineTo(x + 4, y - 4);
          pen.stroke();
        } else {
          pen.arc(x, y, many ? 2.2 : 4, 0, 7);
          pen.fill();
        }
        drawn.push([x, y, place]);
      }
      pen.globalAlpha = 1;
      pen.strokeStyle = ink;
      const now = median(places.map((place) => dice.now[place])), before = median(places.map((place) => dice.before?.[place]));
      pen.lineWidth = 3;
      pen.beginPath();
      pen.moveTo(xOf(now), middle - 15);
      pen.lineTo(xOf(now), middle + 15);
      pen.stroke();
      if (before !== null) {
        pen.lineWidth = 1.6;
        pen.beginPath();
        for (const [dx, dy] of [[0, -6], [6, 0], [0, 6], [-6, 0], [0, -6]]) pen.lineTo(xOf(before) + dx, middle + dy);
        pen.stroke();
      }
    });
  };
  const nearest = (event) => {
    let best = null, least = 64;
    for (const [x, y, place] of drawn) {
      const far = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (far < least) [best, least] = [place, far];
    }
    return best;
  };
  canvas.addEventListener("pointermove", (event) => {
    const place = nearest(event);
    caption.textContent = place === null ? idle : `${data.id[place]}: Dice ${figure(dice.now[place])}${data.change[place] === null ? "" : ` (${signed(data.change[place])})`}`;
  });
  canvas.addEventListener("pointerleave", () => { caption.textContent = idle; });
  canvas.addEventListener("click", (event) => {
    const place = nearest(event);
    if (place !== null) location.hash = anchor(place);
  });
  new ResizeObserver(draw).observe(into);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
