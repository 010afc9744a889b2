// Layers and roles by relative error, and the table of all tensors.

// Matrices of the layers as {role: [index of tensor by layer]}, others apart.
function gridOfTensors() {
  const grid = new Map(), outside = [];
  report.tensors.forEach((t, i) => {
    if (!t.matrix)
      return;
    if (t.layer < 0) {
      outside.push(i);
    } else {
      if (!grid.has(t.role))
        grid.set(t.role, []);
      grid.get(t.role)[t.layer] = i;
    }
  });
  return { grid, outside, layers: report.source.network.layers };
}

function tensorTip(row, i) {
  const t = report.tensors[i];
  return [
    [t.name],
    ["shape", `${t.rows} × ${t.cols}`],
    ["scheme", `${t.scheme} → ${row.tensors.scheme[i]}`],
    ["size", bytesText(row.tensors.bytes[i])],
    ["bits per weight", (8 * row.tensors.bytes[i] / (t.rows * t.cols)).toFixed(2)],
    ["relative error", percentText(row.tensors.rel_rms_error[i], 3)],
  ];
}

function heatCell(svg, row, i, box, top) {
  const error = row.tensors.rel_rms_error[i], share = top > 0 ? error / top : 0;
  const cell = make(svg, "g", { class: "cell", role: "img" });
  const rect = make(cell, "rect", { class: "heat", x: box.x, y: box.y, width: box.w - 2, height: box.h - 2, rx: 2 });
  rect.style.setProperty("--v", share.toFixed(3));
  if (box.w >= 36)
    make(cell, "text", {
      class: share > 0.5 ? "on-dark" : "on-light", x: box.x + box.w / 2 - 1, y: box.y + box.h / 2 + 3,
      "text-anchor": "middle",
    }, (100 * error).toFixed(error < 0.0995 ? 1 : 0));
  withTip(cell, tensorTip(row, i));
  return cell;
}

function drawHeat(row) {
  const { grid, outside, layers } = gridOfTensors();
  const roles = [...grid.keys()], left = 96, h = 30, room = roomOf("heat");
  const w = Math.max(14, Math.min(120, Math.floor((room - left - 8) / layers)));
  const width = Math.max(left + w * layers + 8, 280), height = 30 + h * roles.length + 20 + h * outside.length;
  const svg = plot(emptied("heat"), width, height, "Relative error by layer and kind of matrix");
  const top = Math.max(...row.tensors.rel_rms_error);
  const cells = [];
  const every = Math.ceil(22 / w);
  for (let l = 0; l < layers; l += every)
    make(svg, "text", { class: "tick", x: left + w * l + w / 2 - 1, y: 16, "text-anchor": "middle" }, String(l));
  make(svg, "text", { class: "tick", x: left - 8, y: 16, "text-anchor": "end" }, "layer");
  roles.forEach((role, r) => {
    make(svg, "text", { class: "tick", x: left - 8, y: 24 + h * r + h / 2 + 3, "text-anchor": "end" }, role);
    grid.get(role).forEach((i, l) =>
      cells.push(heatCell(svg, row, i, { x: left + w * l, y: 24 + h * r, w, h }, top)));
  });
  rove(cells, layers);
  const apart = outside.map((i, k) => {
    const y = 24 + h * roles.length + 18 + h * k;
    make(svg, "text", { class: "tick", x: left - 8, y: y + h / 2 + 3, "text-anchor": "end" }, report.tensors[i].role);
    return heatCell(svg, row, i, { x: left, y, w: Math.max(w, 44), h }, top);
  });
  rove(apart);
  const note = emptied("heat-note");
  const scale = make(note, "span", { class: "ramp", "aria-hidden": "true" });
  scale.textContent = " ";
  make(note, "span", {}, top > 0
    ? ` 0 to ${percentText(top, 2)}; all matrices together ${percentText(row.rel_rms_error, 2)}. Numbers in cells are percent.`
    : " Every weight is exactly the original's.");
}

function drawTensors(row) {
  const rows = report.tensors.map((t, i) => ({ t, i }));
  const of = (key) => ({ i }) => row.tensors[key][i];
  const bits = ({ t, i }) => 8 * row.tensors.bytes[i] / (t.rows * t.cols);
  drawTable("tensors", rows, [
    plain("Tensor", ({ t }) => t.name),
    plain("Role", ({ t }) => t.role),
    { head: "Shape", of: ({ t }) => t.rows * t.cols, text: ({ t }) => `${t.rows} × ${t.cols}`, number: true },
    plain("Original", ({ t }) => t.scheme),
    plain("Scheme", of("scheme")),
    numeric("Size", of("bytes"), bytesText, true),
    numeric("Bits/weight", bits, (x) => x.toFixed(2), true),
    numeric("Relative error", of("rel_rms_error"), (x) => x === 0 ? "none" : percentText(x, 3), true),
  ], { by: 7, down: true, caption: `Tensors of ${rowName(row)}` });
}
