// What a scheme does to numbers: bit patterns, one group before and after, sizes of errors.

const FORMS = [
  ["FP32", [["sign", 1], ["exponent", 8], ["fraction", 23]], "about 4 billion values, as fine as arithmetic needs"],
  ["FP16", [["sign", 1], ["exponent", 5], ["fraction", 10]], "65 536 values, three decimal digits, up to 65 504"],
  ["BF16", [["sign", 1], ["exponent", 8], ["fraction", 7]], "65 536 values, two decimal digits, as large as FP32"],
  ["INT8", [["code", 8]], "256 values for each group's scale"],
  ["INT4", [["code", 4]], "16 values for each group's scale"],
];

function drawForms() {
  const table = make(emptied("forms"), "table", {
    class: "forms", "aria-label": "How many binary digits a number takes, and what they are for",
  });
  const body = make(table, "tbody");
  for (const [name, parts, about] of FORMS) {
    const tr = make(body, "tr");
    make(tr, "th", { scope: "row" }, name);
    const bits = make(tr, "td", { class: "bits" });
    for (const [kind, n] of parts)
      for (let i = 0; i < n; i++)
        make(bits, "i", { class: `bit ${kind}`, title: kind });
    make(tr, "td", {}, about);
  }
  const key = make(byId("forms"), "p", { class: "muted bit-key" });
  for (const kind of ["sign", "exponent", "fraction", "code"]) {
    make(key, "i", { class: `bit ${kind}` });
    make(key, "span", {}, kind);
  }
}

// At most one row of each precision of the chosen row's container, and the chosen row.
function rowsToExplain(chosen) {
  const found = [];
  for (const precision of ["fp32", "fp16", "int8", "int4"]) {
    const row = report.rows.find((r) => r.target === chosen.target && r.precision === precision);
    if (row)
      found.push(row);
  }
  return found.includes(chosen) ? found : [...found, chosen];
}

const shownGroup = (numbers) =>
  Math.min(numbers.values.length, numbers.group && numbers.group >= 8 ? numbers.group : 32);

// Original weights on top, where they went below.
function drawGroup(parent, numbers, width) {
  const n = shownGroup(numbers), before = report.numbers.values.slice(0, n), after = numbers.values.slice(0, n);
  const edge = Math.max(...before.map(Math.abs), ...after.map(Math.abs)) || 1;
  const x = linear(-edge, edge, 12, width - 12), top = 16, bottom = 66;
  const svg = plot(parent, width, 92, `${n} weights before and after`);
  for (const y of [top, bottom])
    make(svg, "line", { class: "axis", x1: 6, x2: width - 6, y1: y, y2: y });
  make(svg, "line", { class: "grid", x1: x(0), x2: x(0), y1: 4, y2: bottom + 10 });
  before.forEach((v, i) => {
    make(svg, "line", { class: "move", x1: x(v), x2: x(after[i]), y1: top + 4, y2: bottom - 6 });
    make(svg, "circle", { class: "dot", cx: x(v), cy: top, r: 3 });
  });
  for (const v of new Set(after))
    make(svg, "line", { class: "level", x1: x(v), x2: x(v), y1: bottom - 6, y2: bottom + 6 });
  for (const [v, anchor] of [[-edge, "start"], [0, "middle"], [edge, "end"]])
    make(svg, "text", { class: "tick", x: v ? x(v) + Math.sign(-v) * 8 : x(0), y: 88, "text-anchor": anchor }, numberText(v, 2));
}

// Where half of the errors are smaller; 0 when most weights are exact.
function medianError(numbers) {
  const half = report.numbers.weights / 2;
  let sum = numbers.exact;
  if (sum >= half)
    return 0;
  const bin = numbers.errors.findIndex((n) => (sum += n) >= half);
  return 10 ** ((bin + 0.5) / 8 - 8);
}

function drawErrors(parent, numbers, width) {
  const svg = plot(parent, width, 74, "How large rounding errors are, beside the weights");
  const bins = numbers.errors, w = (width - 16) / bins.length, top = Math.max(...bins) || 1, base = 52;
  bins.forEach((n, i) => {
    if (n)
      make(svg, "rect", { class: "bar", x: 8 + i * w, width: Math.max(w - 0.8, 0.8), y: base - n / top * 44, height: n / top * 44 });
  });
  make(svg, "line", { class: "axis", x1: 8, x2: width - 8, y1: base, y2: base });
  for (const [d, text] of [[0, "10⁻⁸"], [3, "10⁻⁵"], [6, "1 %"], [8, "100 %"]])
    make(svg, "text", {
      class: "tick", x: 8 + d / 8 * (width - 16), y: 68, "text-anchor": d === 0 ? "start" : d === 8 ? "end" : "middle",
    }, text);
  if (!top || !bins.some(Boolean))
    make(svg, "text", { class: "label", x: width / 2, y: 32, "text-anchor": "middle" }, "no error at all");
}

function factsOf(numbers) {
  const n = shownGroup(numbers), values = new Set(numbers.values.slice(0, n)).size;
  const before = new Set(report.numbers.values.slice(0, n)).size;
  const median = medianError(numbers);
  const facts = [
    ["each weight", `${numbers.bits} bits`],
    [`values among ${n}`, `${before} → ${values}`],
    ["median error", median ? `${numberText(100 * median, 2)} % of RMS` : "none"],
  ];
  if (numbers.bits <= 8)
    facts.push(["one scale for", numbers.group ? `${numbers.group} weights` : "a whole row"]);
  return facts;
}

function fillCard(card, row) {
  make(card, "h3", {}, PRECISIONS[row.precision] || schemeName(row));
  make(card, "p", { class: "muted" }, `${rowName(row)} (here ${row.numbers.scheme})`);
  const width = Math.max(200, Math.min(560, card.clientWidth - 34));
  drawGroup(card, row.numbers, width);
  const list = make(card, "dl");
  for (const [name, value] of factsOf(row.numbers)) {
    make(list, "dt", {}, name);
    make(list, "dd", {}, value);
  }
  make(card, "p", { class: "muted small" }, "Rounding errors beside the weights' RMS:");
  drawErrors(card, row.numbers, width);
}

function drawHistogram(row) {
  const width = roomOf("histogram"), height = 220, base = height - 34;
  const before = report.numbers.histogram, after = row.numbers.histogram;
  const top = Math.max(...before, ...after) || 1, x = linear(0, before.length, 16, width - 16);
  const y = linear(0, top, base, 12);
  const svg = plot(emptied("histogram"), width, height, `Weights before and after ${rowName(row)}`);
  after.forEach((n, i) => {
    if (n)
      make(svg, "rect", { class: `bar ${colourOf(row)}`, x: x(i) + 0.5, width: Math.max(x(1) - x(0) - 1, 0.6), y: y(n), height: base - y(n) });
  });
  make(svg, "polyline", { class: "before", points: before.map((n, i) => `${x(i + 0.5)},${y(n)}`).join(" ") });
  make(svg, "line", { class: "axis", x1: 16, x2: width - 16, y1: base, y2: base });
  for (const share of [-1, -0.5, 0, 0.5, 1])
    make(svg, "text", {
      class: "tick", x: x((share + 1) / 2 * before.length), y: base + 18,
      "text-anchor": share === -1 ? "start" : share === 1 ? "end" : "middle",
    }, numberText(share * report.numbers.limit, 2));
  byId("histogram-note").textContent = `${countText(report.numbers.weights)} weights of ${report.numbers.tensor}: ` +
    `the line is the original, bars are ${rowName(row)}. Different values: ${countText(report.numbers.distinct)} before, ` +
    `${countText(row.numbers.distinct)} after${row.numbers.bits <= 8 ? ", as every group has a scale of its own" : ""}.`;
}

function drawNumbers(row) {
  byId("numbers-tensor").textContent = report.numbers.tensor;
  const cards = emptied("cards");
  const rows = rowsToExplain(row);
  const places = rows.map((each) => make(cards, "article", { class: `card ${colourOf(each)}` }));
  places.forEach((card, i) => fillCard(card, rows[i]));
  drawHistogram(row);
}
