// Small line charts of a case, by uPlot.
function chart(into, title, xs, series, options = {}) {
  const soft = colour("--soft"), rule = colour("--rule");
  const axis = { stroke: soft, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
  const scales = { x: { time: false }, y: { range: options.range ?? ((_, low, high) => [Math.min(0, low), Math.max(1, high)]) } };
  const axes = [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200], label: options.x, size: 34, labelSize: 18 }, { ...axis, label: options.y, size: 46, labelSize: 18 }];
  if (series.some((one) => one.scale === "voxels")) {
    scales.voxels = { range: (_, low, high) => [0, (high || 1) * 1.05] };
    axes.push({ ...axis, grid: { show: false }, side: 1, scale: "voxels", label: "voxels", size: 56, labelSize: 18 });
  }
  const marks = options.marks ?? [];
  const plot = new uPlot(
    {
      width: Math.max(260, into.clientWidth), height: options.height ?? 220, scales, axes,
      cursor: { drag: { x: false, y: false } },
      series: [{ label: options.x }, ...series.map(({ values, ...own }) => own)],
      hooks: {
        draw: [(drawn) => {
          const pen = drawn.ctx;
          pen.save();
          pen.strokeStyle = soft;
          pen.setLineDash([6, 5]);
          for (const mark of marks) {
            const x = drawn.valToPos(mark, "x", true);
            pen.beginPath();
            pen.moveTo(x, drawn.bbox.top);
            pen.lineTo(x, drawn.bbox.top + drawn.bbox.height);
            pen.stroke();
          }
          pen.restore();
        }],
      },
    },
    [xs, ...series.map((one) => one.values)],
    into,
  );
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", title);
  return plot;
}

/** Dice of each slice, with the voxels of truth and prediction; the key slices are dashed lines. */
function sliceCurve(into, place) {
  const [first, thousandths, truth, prediction] = data.curves[place];
  const values = thousandths.map((one) => (one === null ? null : one / 1000));
  const show = (_, value) => (value === null ? "–" : value.toFixed(3));
  return chart(into, `Dice by slice of ${data.id[place]}`, values.map((_, index) => first + index), [
    { label: "Dice", values, stroke: colour("--link"), width: 2, value: show, points: { show: true, size: 5 } },
    { label: "truth", values: truth, scale: "voxels", stroke: colour("--truth"), width: 1, dash: [4, 3] },
    { label: "prediction", values: prediction, scale: "voxels", stroke: colour("--prediction"), width: 1, dash: [1, 3] },
  ], { x: "slice", y: "Dice", marks: data.slices[place], range: () => [0, 1.02] });
}

/** Dice after each round of corrections. rounds: a Dice for each round, the first without a correction. */
function roundCurve(into, place, rounds) {
  return chart(into, `Dice by round of ${data.id[place]}`, rounds.map((_, index) => index), [
    { label: "Dice", values: rounds, stroke: colour("--link"), width: 2, points: { show: true, size: 7 } },
  ], { x: "corrections", y: "Dice", height: 180 });
}
