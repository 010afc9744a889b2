// Everything in its place: heading, tiles, devices, commands, theme; and drawing anew.

const SECTIONS = [["size", "Size and loss"], ["layers", "Layers"], ["numbers", "Numbers"],
  ["words", "Tokens"], ["devices", "Devices"], ["again", "Commands"]];

function drawHead() {
  const s = report.source, n = s.network;
  document.title = `${report.model}: size against loss (phiq)`;
  byId("model").textContent = report.model;
  byId("facts").textContent = `${report.architecture} · ${weightsText(s.weights)} weights · ` +
    `${n.layers} layers · ${bytesText(s.file_bytes)} as ${Object.keys(s.schemes).join(", ")} · ` +
    `vocabulary ${countText(n.vocabulary)} · context ${countText(n.context)}`;
  const nav = byId("nav");
  for (const [id, name] of SECTIONS)
    make(nav, "a", { href: `#${id}` }, name);
}

// The row that loses least among those of a precision.
function bestOf(precision) {
  return report.rows.filter((row) => row.precision === precision).sort((a, b) => lossOf(a) - lossOf(b))[0];
}

function tile(row, title) {
  const box = make(byId("tiles"), "button", { type: "button", class: `tile ${colourOf(row)}` });
  make(box, "span", { class: "kicker" }, title);
  make(box, "b", {}, bytesText(row.file_bytes));
  make(box, "span", {}, rowName(row));
  make(box, "span", { class: "muted" }, isEqual(row)
    ? "predictions equal to the original's"
    : `${lossText(row)} nats, same first choice ${percentText(row.top1_agreement.mean)}`);
  box.addEventListener("click", () => choose(report.rows.indexOf(row)));
}

function drawTiles() {
  const row = bestOf("int4") || report.rows[firstChoice()];
  const times = report.source.file_bytes / row.file_bytes;
  byId("lead").textContent = `${rowName(row)} takes ${bytesText(row.file_bytes)} instead of ` +
    `${bytesText(report.source.file_bytes)} (${times.toFixed(1)} times smaller) and agrees with the original on the ` +
    `likeliest next token ${percentText(row.top1_agreement.mean)} of the time.`;
  const precisions = ["fp16", "int8", "int4"].filter(bestOf);
  for (const precision of precisions)
    tile(bestOf(precision), `best ${PRECISIONS[precision]}`);
  if (precisions.length)
    tile(paretoRows()[0], "smallest");
  else
    for (const each of paretoRows().slice(0, 4))
      tile(each, "beaten by no other");
}

function drawDevices() {
  const cards = emptied("advice");
  for (const d of report.devices) {
    const card = make(cards, "article", { class: "card" });
    make(card, "h3", {}, d.about[0].toUpperCase() + d.about.slice(1));
    make(card, "p", { class: "muted" }, `${roundBytesText(d.usual_ram_bytes)} of memory, ${roundBytesText(d.ram_limit_bytes)} for a model`);
    make(card, "p", {}, d.advice);
    make(card, "code", { class: "small" }, `--device ${d.device}`);
  }
  const choices = report.devices.length ? report.devices[0].choices.map((c, i) => ({ c, i })) : [];
  drawTable("fits", choices, [
    plain("Container", ({ c }) => targetOf(c).name),
    plain("Precision", ({ c }) => PRECISIONS[c.precision] || c.precision),
    plain("Scheme", ({ c }) => c.scheme),
    numeric("On disk", ({ c }) => c.bytes, bytesText),
    numeric("In memory", ({ c }) => c.ram_bytes, bytesText),
    ...report.devices.map((d) => plain(d.device, ({ i }) => d.choices[i].fits ? "fits" : "–")),
  ], { by: 4, caption: "Memory of every precision, and whether a device has it" });
}

function drawCommands(id, lines) {
  const box = emptied(id);
  const pre = make(make(box, "div", { class: "card command" }), "pre", { tabindex: 0 });
  make(pre, "code", {}, lines.join("\n"));
  if (!navigator.clipboard)
    return;
  const b = make(pre.parentNode, "button", { type: "button", class: "copy" }, "Copy");
  b.addEventListener("click", () => navigator.clipboard.writeText(lines.join("\n"))
    .then(() => { b.textContent = "Copied"; }, () => { b.textContent = "Select the text, please"; }));
}

function howQuantized() {
  if (!report.rows.some((row) => row.solvers))
    return "";
  const solver = report.solver || (report.rows.some((row) => row.solvers.gptq) ? "gptq" : "search");
  return `Codes chosen by ${solver}` + (report.calibration ? `, calibrated on ${report.calibration}. `
    : report.imatrix ? `, importance from ${report.imatrix}. ` : ". ");
}

function drawFoot() {
  const t = report.text;
  byId("protocol").textContent = `Measured on ${t.own ? "phiq's own sample text" : t.path}: ${t.windows} windows of ` +
    `${t.window} tokens, each read from nothing, the second half scored (${countText(t.scored_tokens)} tokens). ` +
    `${howQuantized()}` +
    `Perplexity of the original ${plusMinus(report.reference.perplexity.token, report.reference.perplexity.ci95, 5)}.`;
  byId("scatter-note").textContent = `${report.rows.length} outputs, ${countText(t.scored_tokens)} tokens scored. ` +
    "Lines through marks: 95 % confidence. \"Equal\" is what single precision cannot tell from the original.";
  byId("foot").textContent = `Made by phiq ${report.phiq}. This page is one file and uses no network.`;
}

// ---- theme ----

function drawTheme() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  const label = () => { byId("theme").textContent = isDark() ? "☀ Light" : "☾ Dark"; };
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
}

function drawAnew() {
  drawScatter();
  const row = report.rows[view.row];
  for (const draw of [drawHeat, drawNumbers])
    draw(row);
}

function start() {
  drawTheme();
  drawHead();
  drawLegend();
  view.row = firstChoice();
  drawTiles();
  drawRows();
  drawLeftOut();
  drawForms();
  drawTokenScale();
  drawDevices();
  drawFoot();
  drawCommands("commands-all", report.commands);
  watch(drawScatter);
  for (const draw of [drawHeat, drawTensors, drawNumbers, drawTokens])
    watch(draw);
  watch((row) => {
    for (const e of document.querySelectorAll(".chosen"))
      e.textContent = rowName(row);
    drawCommands("commands-row", row.commands);
  });
  choose(view.row);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) {
      width = window.innerWidth;
      window.requestAnimationFrame(drawAnew);
    }
  });
  document.documentElement.dataset.ready = "yes";
}

start();
