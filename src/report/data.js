// The document, how its parts are named, and which row is being looked at.
"use strict";

const report = JSON.parse(document.getElementById("data").textContent);

const TARGETS = {
  gguf: { name: "GGUF", mark: "circle" },
  mlx: { name: "MLX", mark: "square" },
  onnx: { name: "ONNX", mark: "triangle" },
  openvino: { name: "OpenVINO", mark: "diamond" },
};
const PRECISIONS = { fp32: "FP32", fp16: "FP16", bf16: "BF16", int8: "INT8", int4: "INT4" };

const targetOf = (row) => TARGETS[row.target] || { name: String(row.target), mark: "circle" };
const has = (table, key) => Object.prototype.hasOwnProperty.call(table, key);
const colourOf = (row) => "c-" + (has(TARGETS, row.target) ? row.target : "other");

// A file says what it is; of a folder the one around it may.
function givenName(parts) {
  return parts.slice(parts[parts.length - 1].includes(".") ? -1 : -2).join("/");
}

function schemeName(row) {
  if (!row.scheme)
    return givenName(String(row.path).split("/").filter(Boolean));
  return row.target === "gguf" ? row.scheme.toUpperCase() : row.scheme;
}

const rowName = (row) => `${targetOf(row).name} ${schemeName(row)}`;
const lossOf = (row) => row.kl_divergence.mean;
const isEqual = (row) => lossOf(row) <= report.kld_floor;

// ---- numbers for people ----

function bytesText(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let u = 0;
  for (; n >= 999.5 && u < units.length - 1; u++)
    n /= 1000;
  return `${n >= 100 || u === 0 ? n.toFixed(0) : n.toPrecision(3)} ${units[u]}`;
}

function numberText(x, digits = 3) {
  if (x === null || x === undefined || !isFinite(x))
    return "–";
  const text = x !== 0 && (Math.abs(x) < 1e-4 || Math.abs(x) >= 1e6)
    ? x.toExponential(digits - 1) : Number(x.toPrecision(digits)).toString();
  return text.replace("e+", "e").replace(/-/g, "−");
}

// "3 MB", "1.5 GB": for axes, where exact numbers are round.
const roundBytesText = (n) => bytesText(n).replace(/\.?0+ /, " ");

function weightsText(n) {
  return n >= 1e9 ? `${numberText(n / 1e9)} billion` : `${numberText(n / 1e6)} million`;
}

const percentText = (x, digits = 1) => `${(100 * x).toFixed(digits)} %`;
const countText = (n) => Number(n).toLocaleString("en").replace(/,/g, "\u2009");
const lossText = (row) => isEqual(row) ? "equal" : numberText(lossOf(row));

function plusMinus(mean, half, digits = 3) {
  const text = numberText(mean, digits);
  return half === null || half === undefined ? text : `${text} ± ${numberText(half, 2)}`;
}

// ---- the row that the figures below the table show ----

const view = { row: 0, shown: {}, watchers: [] };

function watch(draw) {
  view.watchers.push(draw);
}

function choose(i) {
  view.row = i;
  for (const draw of view.watchers)
    draw(report.rows[i]);
}

const paretoRows = () => report.rows.filter((row) => row.pareto).sort((a, b) => a.file_bytes - b.file_bytes);

// The first one that people would take: the usual INT4 of the first container, else one that no
// other beats, from their middle.
function firstChoice() {
  const usual = report.rows.findIndex((row) => row.precision === "int4"), best = paretoRows();
  return usual >= 0 ? usual : report.rows.indexOf(best[Math.floor(best.length / 2)]);
}
