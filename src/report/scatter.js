// Size against loss: a mark for every row, the Pareto line, labels where there is room.

const PLOT = { left: 62, right: 18, top: 14, bottom: 44, lane: 30 };

function shownRows() {
  return report.rows.map((row, i) => ({ row, i })).filter(({ row }) => view.shown[row.target]);
}

// Around the losses that are above what can be told from nothing.
function lossRange(rows) {
  const losses = rows.map(({ row }) => lossOf(row)).filter((x) => x > report.kld_floor);
  if (!losses.length)
    return [1e-3, 1];
  const low = Math.max(Math.min(...losses) / 2.5, report.kld_floor);
  return [low, Math.max(Math.max(...losses) * 2.2, low * 10)];
}

function scatterScales(width, height) {
  const rows = shownRows(), all = rows.length ? rows : [{ row: report.rows[0] }];
  const sizes = all.map(({ row }) => row.file_bytes), losses = lossRange(all);
  const equal = all.some(({ row }) => isEqual(row));
  const floor = height - PLOT.bottom - (equal ? PLOT.lane : 0);
  const low = Math.min(...sizes) / 1.1, high = Math.max(...sizes) * 1.12;
  const y = logarithmic(losses[0], losses[1], floor, PLOT.top);
  return {
    low, high, losses, equal, floor, width, height,
    x: logarithmic(low, high, PLOT.left, width - PLOT.right),
    y: (loss) => loss <= report.kld_floor ? height - PLOT.bottom - 8 : Math.min(y(loss), floor),
  };
}

function drawAxes(svg, s) {
  const right = s.width - PLOT.right, bottom = s.height - PLOT.bottom;
  const decades = ticksBetween(s.losses[0], s.losses[1], [1]);
  for (const loss of decades.length > 1 ? decades : ticksBetween(s.losses[0], s.losses[1])) {
    make(svg, "line", { class: "grid", x1: PLOT.left, x2: right, y1: s.y(loss), y2: s.y(loss) });
    make(svg, "text", { class: "tick", x: PLOT.left - 8, y: s.y(loss) + 4, "text-anchor": "end" },
      numberText(loss, 1));
  }
  for (const loss of ticksBetween(s.losses[0], s.losses[1], [2, 3, 4, 5, 6, 7, 8, 9]))
    make(svg, "line", { class: "axis", x1: PLOT.left - 4, x2: PLOT.left, y1: s.y(loss), y2: s.y(loss) });
  if (s.equal) {
    make(svg, "line", { class: "grid dashed", x1: PLOT.left, x2: right, y1: s.floor + 14, y2: s.floor + 14 });
    make(svg, "text", { class: "tick", x: PLOT.left - 8, y: bottom - 4, "text-anchor": "end" }, "equal");
  }
  make(svg, "line", { class: "axis", x1: PLOT.left, x2: right, y1: bottom, y2: bottom });
  let last = -100;
  for (const size of ticksBetween(s.low, s.high, [1, 1.5, 2, 3, 4, 5, 7])) {
    make(svg, "line", { class: "axis", x1: s.x(size), x2: s.x(size), y1: bottom, y2: bottom + 4 });
    if (s.x(size) - last < 54)
      continue;
    last = s.x(size);
    make(svg, "text", { class: "tick", x: last, y: bottom + 18, "text-anchor": "middle" }, roundBytesText(size));
  }
  make(svg, "text", { class: "label", x: right, y: s.height - 6, "text-anchor": "end" }, "weight files, bytes (logarithmic)");
  make(svg, "text", { class: "label", transform: `translate(12 ${PLOT.top}) rotate(-90)`, "text-anchor": "end" },
    "KL divergence, nats (logarithmic)");
}

function drawPareto(svg, s, rows) {
  const shown = new Set(rows.map(({ row }) => row)), best = paretoRows().filter((row) => shown.has(row));
  const points = best.map((row) => `${s.x(row.file_bytes)},${s.y(lossOf(row))}`);
  make(svg, "polyline", { class: "pareto", points: points.join(" ") });
}

function rowTip(row) {
  const kld = row.kl_divergence;
  return [
    [rowName(row)],
    ["size", bytesText(row.file_bytes)],
    ["bits per weight", row.bits_per_weight.toFixed(2)],
    ["KL divergence", isEqual(row) ? "equal" : plusMinus(kld.mean, kld.ci95)],
    ["perplexity", numberText(row.perplexity.token, 5)],
    ["same first choice", percentText(row.top1_agreement.mean)],
  ];
}

function drawMark(svg, s, { row, i }) {
  const x = s.x(row.file_bytes), y = s.y(lossOf(row)), ci = row.kl_divergence.ci95;
  const g = make(svg, "g", {
    class: `mark ${colourOf(row)}${i === view.row ? " chosen-mark" : ""}`, role: "button", "data-row": i,
  });
  if (ci && !isEqual(row)) {
    const low = Math.max(lossOf(row) - ci, s.losses[0]);
    make(g, "line", { class: "interval", x1: x, x2: x, y1: s.y(low), y2: Math.max(s.y(lossOf(row) + ci), PLOT.top) });
  }
  make(g, "path", { class: "halo", d: MARKS.circle(11), transform: `translate(${x} ${y})` });
  make(g, "path", { class: "shape", d: MARKS[targetOf(row).mark](6), transform: `translate(${x} ${y})` });
  withTip(g, rowTip(row));
  g.addEventListener("click", () => choose(i));
  return g;
}

const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

// Beside its mark, where nothing else is; else nowhere.
function drawLabels(svg, s, rows) {
  const taken = rows.map(({ row }) => ({ x: s.x(row.file_bytes) - 7, y: s.y(lossOf(row)) - 7, w: 14, h: 14 }));
  const important = ({ row }) => (row.pareto ? 0 : row.precision ? 1 : 2);
  for (const { row } of [...rows].sort((a, b) => important(a) - important(b))) {
    const text = schemeName(row), near = taken.find((other) => other.text === text.toLowerCase() &&
      Math.hypot(other.x - s.x(row.file_bytes), other.y - s.y(lossOf(row))) < 90);
    if (near)
      continue;
    const w = text.length * 6.4 + 2, h = 13;
    const x = s.x(row.file_bytes), y = s.y(lossOf(row));
    const places = [[10, -6.5], [-10 - w, -6.5], [-w / 2, 9], [-w / 2, -23], [8, 5], [8, -20], [-8 - w, 5], [-8 - w, -20]];
    const free = places.map(([dx, dy]) => ({ x: x + dx, y: y + dy, w, h })).find((box) =>
      box.x > PLOT.left + 2 && box.x + w < s.width - 2 && box.y > 0 &&
      box.y + h < s.height - PLOT.bottom + 2 && !taken.some((other) => overlap(box, other)));
    if (!free)
      continue;
    taken.push({ ...free, text: text.toLowerCase() });
    make(svg, "text", { class: "mark-label", x: free.x + 1, y: free.y + 10 }, text);
  }
}

function drawScatter() {
  const width = roomOf("scatter"), height = width < 560 ? 400 : 480;
  const svg = plot(emptied("scatter"), width, height, "Bytes against KL divergence of every output");
  const s = scatterScales(width, height), rows = shownRows();
  drawAxes(svg, s);
  drawPareto(svg, s, rows);
  drawLabels(svg, s, rows);
  const order = [...rows].sort((a, b) => a.row.file_bytes - b.row.file_bytes);
  rove(order.map((entry) => drawMark(svg, s, entry)));
}

function drawLegend() {
  const legend = emptied("legend");
  for (const target of new Set(report.rows.map((row) => row.target))) {
    view.shown[target] = true;
    const b = make(legend, "button", { type: "button", class: colourOf({ target }), "aria-pressed": "true" });
    const svg = make(b, "svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    make(svg, "path", { class: "shape", d: MARKS[targetOf({ target }).mark](6) });
    make(b, "span", {}, targetOf({ target }).name);
    b.addEventListener("click", () => {
      view.shown[target] = !view.shown[target];
      b.setAttribute("aria-pressed", String(view.shown[target]));
      drawScatter();
    });
  }
  const key = make(legend, "span", { class: "key" });
  const svg = make(key, "svg", { width: 26, height: 16, viewBox: "0 0 26 16", "aria-hidden": "true" });
  make(svg, "line", { class: "pareto", x1: 1, x2: 25, y1: 8, y2: 8 });
  make(key, "span", {}, "beaten by no other");
}
