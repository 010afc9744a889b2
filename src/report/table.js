// Tables that sort by a column.

// Columns: {head, of: row -> value to sort by, text: row -> what is shown, number: right-aligned}
function drawTable(id, rows, columns, options = {}) {
  const table = emptied(id);
  const state = { by: options.by || 0, down: Boolean(options.down) };
  table.setAttribute("aria-label", options.caption);
  const heads = make(make(table, "thead"), "tr"), body = make(table, "tbody");
  const headOf = columns.map((column, i) => {
    const th = make(heads, "th", { scope: "col", class: column.number ? "number" : "" });
    const b = make(th, "button", { type: "button" }, column.head);
    b.addEventListener("click", () => {
      state.down = state.by === i ? !state.down : Boolean(column.down);
      state.by = i;
      fill();
    });
    return th;
  });

  function compare(a, b) {
    const x = columns[state.by].of(a), y = columns[state.by].of(b);
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return state.down ? -order : order;
  }

  function fill() {
    headOf.forEach((th, i) => th.setAttribute("aria-sort",
      i !== state.by ? "none" : state.down ? "descending" : "ascending"));
    body.replaceChildren();
    for (const row of [...rows].sort(compare)) {
      const tr = make(body, "tr");
      columns.forEach((column, i) => {
        const cell = i ? make(tr, "td", { class: column.number ? "number" : "" }) : make(tr, "th", { scope: "row" });
        if (column.draw)
          column.draw(cell, row);
        else
          cell.textContent = column.text(row);
      });
      if (options.each)
        options.each(tr, row);
    }
  }
  fill();
  return fill;
}

const plain = (head, of) => ({ head, of, text: of });
const numeric = (head, of, text, down) => ({ head, of, text: (row) => text(of(row), row), number: true, down });

function nameCell(cell, row) {
  const b = make(cell, "button", { type: "button", class: `pick ${colourOf(row)}` });
  const svg = make(b, "svg", { width: 14, height: 14, viewBox: "-8 -8 16 16", "aria-hidden": "true" });
  make(svg, "path", { class: "shape", d: MARKS[targetOf(row).mark](6) });
  make(b, "span", {}, schemeName(row));
  if (row.pareto)
    make(cell, "span", { class: "star", title: "beaten by no other" }, " ★");
  b.addEventListener("click", () => choose(report.rows.indexOf(row)));
}

function drawRows() {
  const columns = [
    { head: "Scheme", of: (row) => schemeName(row), draw: nameCell },
    plain("Container", (row) => targetOf(row).name),
    numeric("Size", (row) => row.file_bytes, bytesText),
    numeric("KL divergence", lossOf, (x, row) => isEqual(row) ? "equal" : plusMinus(x, row.kl_divergence.ci95)),
    numeric("Same first choice", (row) => row.top1_agreement.mean, (x) => percentText(x), true),
    numeric("Bits/weight", (row) => row.bits_per_weight, (x) => x.toFixed(2)),
    numeric("99 % of tokens", (row) => row.kl_divergence.p99, (x, row) => isEqual(row) ? "equal" : numberText(x)),
    numeric("Perplexity", (row) => row.perplexity.token, (x) => numberText(x, 5)),
    numeric("Weight error", (row) => row.rel_rms_error, (x) => x === 0 ? "none" : percentText(x, 2)),
  ];
  if (report.rows.some((row) => row.precision))
    columns.push(plain("Precision", (row) => PRECISIONS[row.precision] || ""));
  const fill = drawTable("rows", report.rows, columns, {
    by: 2,
    caption: "Every output: size and loss",
    each: (tr, row) => {
      const chosen = report.rows[view.row] === row;
      tr.classList.toggle("chosen-row", chosen);
      tr.querySelector("button").setAttribute("aria-pressed", String(chosen));
    },
  });
  watch(fill);
}

function drawLeftOut() {
  if (!report.left_out.length)
    return;
  const box = make(byId("left-out"), "details", { class: "card" });
  make(box, "summary", {}, `Left out: ${report.left_out.length}`);
  const list = make(box, "ul");
  for (const row of report.left_out)
    make(list, "li", {}, `${rowName(row)}: ${row.why}`);
}
