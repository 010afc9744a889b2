// The text, token by token, coloured by divergence; and what both models expected.

const spelled = (id) => has(report.tokens.pieces, id) ? report.tokens.pieces[id] : `#${id}`;

// Blanks that would not be seen.
function visible(text) {
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ /, "·").replace(/ $/, "·")
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0))) || "∅";
}

// 0 at 0.001 nats and below, 1 at 1 nat and above.
const strength = (kld) => Math.min(1, Math.max(0, Math.log10(Math.max(kld, 1e-9)) / 3 + 1));

// Bars are as long as the likeliest of both allows.
function expectations(parent, title, top, came, colour, most) {
  const box = make(parent, "div", { class: `expect ${colour}` });
  make(box, "h4", {}, title);
  for (let k = 0; k < top.length; k += 2) {
    const line = make(box, "div", { class: top[k] === came ? "line came" : "line" });
    make(line, "code", {}, visible(spelled(top[k])));
    const bar = make(line, "span", { class: "share" });
    make(bar, "i").style.width = `${(100 * top[k + 1] / most).toFixed(1)}%`;
    make(line, "span", { class: "percent" }, percentText(top[k + 1]));
  }
}

function showToken(row, i, id) {
  const box = emptied("expected");
  const head = make(box, "p", { class: "what" });
  make(head, "span", {}, "Came: ");
  make(head, "code", {}, visible(spelled(id)));
  make(head, "span", {}, ` KL divergence ${numberText(row.tokens.kld[i])} nats`);
  const pair = make(box, "div", { class: "pair" });
  const original = report.tokens.top[i], own = row.tokens.top[i], most = Math.max(original[1], own[1]) || 1;
  expectations(pair, "The original expected", original, id, "c-other", most);
  expectations(pair, `${rowName(row)} expected`, own, id, colourOf(row), most);
}

function passageText(text) {
  return text.length > 280 ? `… ${text.slice(-280)}` : text;
}

function drawTokens(row) {
  const text = emptied("text"), spans = [];
  let current = null, i = 0, worst = 0;
  const look = (at, id, span) => {
    if (current)
      current.classList.remove("looked");
    current = span;
    span.classList.add("looked");
    showToken(row, at, id);
  };
  for (const passage of report.tokens.passages) {
    const p = make(text, "p", { class: "passage" });
    make(p, "span", { class: "context" }, passageText(passage.before));
    for (const id of passage.ids) {
      const at = i++, span = make(p, "span", { class: "token" });
      span.textContent = spelled(id).replace(/\n/g, "⏎\n");
      span.style.setProperty("--v", strength(row.tokens.kld[at]).toFixed(3));
      span.setAttribute("aria-label", `${spelled(id)}, ${numberText(row.tokens.kld[at])} nats`);
      span.setAttribute("role", "button");
      for (const on of ["pointerenter", "focus", "click"])
        span.addEventListener(on, () => look(at, id, span));
      spans.push({ span, id });
      if (row.tokens.kld[at] > row.tokens.kld[worst])
        worst = at;
    }
  }
  rove(spans.map(({ span }) => span));
  look(worst, spans[worst].id, spans[worst].span);
}

function drawTokenScale() {
  const scale = emptied("heat-scale");
  for (const kld of [0.001, 0.01, 0.1, 1]) {
    const mark = make(scale, "span", { class: "token" }, kld < 1 ? ` ${kld} nats ` : " 1 nat and more ");
    mark.style.setProperty("--v", strength(kld).toFixed(3));
  }
  make(scale, "span", { class: "context" }, " read before, not scored");
}
