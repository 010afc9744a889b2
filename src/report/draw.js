// Making elements, marks, tooltips, tables. Text from the document becomes text nodes and nothing
// else.

function make(parent, tag, attributes = {}, text) {
  const svg = parent.namespaceURI === SVG || tag === "svg";
  const e = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes))
    e.setAttribute(key, value);
  if (text !== undefined)
    e.textContent = text;
  parent.appendChild(e);
  return e;
}

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function emptied(id) {
  const e = byId(id);
  e.replaceChildren();
  return e;
}

function plot(parent, width, height, title) {
  const svg = make(parent, "svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": title,
  });
  make(svg, "title", {}, title);
  return svg;
}

// Width that a figure may take; figures are drawn again when that changes.
const roomOf = (id) => Math.max(280, Math.floor(byId(id).clientWidth));

const MARKS = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  square: (r) => `M${-r * 0.9} ${-r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  triangle: (r) => `M0 ${-r * 1.15}L${r * 1.1} ${r * 0.85}H${-r * 1.1}Z`,
  diamond: (r) => `M0 ${-r * 1.3}L${r * 1.15} 0L0 ${r * 1.3}L${-r * 1.15} 0Z`,
};

// ---- tooltips ----

function showTip(at, lines) {
  const tip = byId("tip");
  tip.replaceChildren();
  lines.forEach(([name, value], i) => {
    const p = make(tip, "p", i ? {} : { class: "head" });
    make(p, "span", {}, name);
    if (value !== undefined)
      make(p, "b", {}, value);
  });
  tip.hidden = false;
  const box = at.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const x = Math.min(Math.max(8, box.x + box.width / 2 - size.width / 2),
    document.documentElement.clientWidth - size.width - 8);
  const y = box.y > size.height + 12 ? box.y - size.height - 8 : box.bottom + 8;
  tip.style.left = `${x + window.scrollX}px`;
  tip.style.top = `${y + window.scrollY}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

function withTip(e, lines) {
  e.setAttribute("aria-label", lines.map((l) => l.filter(Boolean).join(" ")).join(", "));
  for (const on of ["pointerenter", "focus"])
    e.addEventListener(on, () => showTip(e, lines));
  for (const off of ["pointerleave", "blur"])
    e.addEventListener(off, hideTip);
}

// One stop for the Tab key; arrow keys move among the elements, `columns` of them side by side.
function rove(elements, columns = 1) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  elements.forEach((e, i) => {
    e.setAttribute("tabindex", i ? -1 : 0);
    e.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ")
        e.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      else if (!has(steps, event.key))
        return;
      event.preventDefault();
      const next = elements[i + (steps[event.key] || 0)];
      if (!next)
        return;
      e.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  });
}

// ---- scales ----

function linear(from, to, a, b) {
  return (v) => a + (v - from) / (to - from || 1) * (b - a);
}

function logarithmic(from, to, a, b) {
  const scale = linear(Math.log(from), Math.log(to), a, b);
  return (v) => scale(Math.log(v));
}

// 1, 2, 5 times powers of ten (or the given steps) between two values.
function ticksBetween(from, to, steps = [1, 2, 5]) {
  const found = [];
  for (let d = Math.floor(Math.log10(from)); d <= Math.log10(to); d++)
    for (const step of steps)
      if (step * 10 ** d >= from && step * 10 ** d <= to)
        found.push(step * 10 ** d);
  return found;
}
