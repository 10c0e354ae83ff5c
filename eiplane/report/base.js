"use strict";
const page = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const several = page.sources.length > 1;
const names = Object.keys(page.labels);
const has = quantity => quantity in page.labels;

// Elements of SVG: a name, attributes, children.
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) if (attributes[key] != null) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}
const label = (x, y, text, more = {}) => svg("text", {x, y, ...more}, String(text));
const tidy = value => Number(value.toPrecision(6)).toString();

// All steps of all sources; where a source is at such a step: its last record until then.
const steps = [...new Set(page.sources.flatMap(s => s.steps))].sort((a, b) => a - b);
let now = steps.length - 1;
const moves = page.sources.some(s => s.steps.length > 1);
function moment(source) {
  let i = source.steps.length - 1;
  while (moves && i > 0 && source.steps[i] > steps[now]) i--;
  return i;
}

// What bits are divided by.
function size(layer, per, quantity) {
  if (per === "" || page.units[quantity] !== "bits") return 1;
  return per === "edges" ? layer.n_in * layer.n_out : layer.n_out;
}
const perWords = {"": "", edges: " per edge", outputs: " per output"};
const unit = (quantity, per) => page.units[quantity] ? page.units[quantity] + perWords[per] : "share";

// A number at a moment: value, two standard errors, and bounds where no more is known; all may be null.
function read(layer, quantity, i, per = "") {
  const by = size(layer, per, quantity), scaled = v => v == null ? null : v / by;
  const value = layer.values[quantity][i], error = layer.errors[quantity]?.[i];
  const [low, high] = (layer.bounds[quantity] || [[], []]).map(b => b[i]);
  const open = value == null && low != null && high != null;
  return {value: scaled(value), half: value == null ? 0 : scaled(page.errors * (error || 0)),
          low: open ? scaled(low) : null, high: open ? scaled(high) : null};
}

// Scales: linear, or logarithmic to both sides of a linear stretch about zero.
function scaleOf(values, from, to, symlog) {
  const known = values.filter(v => v != null && isFinite(v));
  const sizes = known.filter(v => v !== 0).map(Math.abs);
  const most = sizes.length ? Math.max(...sizes) : 1;
  const least = Math.pow(10, Math.floor(Math.log10(Math.max(sizes.length ? Math.min(...sizes) : 1, 1e-4 * most))));
  const warp = symlog ? v => Math.asinh(v / least) : v => v;
  const back = symlog ? v => Math.sinh(v) * least : v => v;
  let low = Math.min(...known.map(warp)), high = Math.max(...known.map(warp));
  const pad = 0.07 * (high - low) || 0.1 * Math.abs(high) || 1;
  const zero = low >= 0 && low < 0.25 * high;
  low = zero ? -0.03 * (high || 1) : low - pad;
  high += pad;
  const at = v => from + (to - from) * (warp(v) - low) / (high - low);
  const ends = [back(low), back(high)];
  return {at, ends, least, ticks: symlog ? enough(powers(ends, least), ends) : rounds(ends, 7), ways: t => back(low + (high - low) * t)};
}

function rounds([low, high], count) {
  const raw = (high - low) / count, power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= raw), found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

// Over a narrow stretch there may be no round power at all.
const enough = (found, ends) => found.length < 3 ? rounds(ends, 5) : found;

function powers([low, high], least) {
  const found = [0], most = Math.max(-low, high);
  for (let p = least; p <= most; p *= 10) for (const k of [1, 2, 5]) found.push(k * p, -k * p);
  const inside = found.map(v => Number(v.toPrecision(6))).filter(v => v >= low && v <= high).sort((x, y) => x - y);
  if (inside.length <= 8) return inside;
  const decade = v => Math.round(Math.log10(Math.abs(v) / least) * 1e6) / 1e6;
  const tens = inside.filter(v => v === 0 || Number.isInteger(decade(v)));
  return tens.length <= 11 ? tens : tens.filter(v => v === 0 || decade(v) % 2 === 0);
}

const MARKS = [
  r => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  r => `M${-r * .9} ${-r * .9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  r => `M0 ${-r * 1.2}L${r * 1.1} ${r * .8}H${-r * 1.1}z`,
  r => `M0 ${-r * 1.25}L${r * 1.25} 0L0 ${r * 1.25}L${-r * 1.25} 0z`,
  r => `M0 ${r * 1.2}L${r * 1.1} ${-r * .8}H${-r * 1.1}z`,
  r => `M${-r * .4} ${-r * 1.1}h${r * .8}v${r * .7}h${r * .7}v${r * .8}h${-r * .7}v${r * .7}h${-r * .8}v${-r * .7}h${-r * .7}v${-r * .8}h${r * .7}z`,
  r => `M0 ${-r * 1.2}L${r * 1.15} ${-r * .35}L${r * .7} ${r}H${-r * .7}L${-r * 1.15} ${-r * .35}z`,
  r => `M${-r * .6} ${-r}H${r * .6}L${r * 1.2} 0L${r * .6} ${r}H${-r * .6}L${-r * 1.2} 0z`,
];
const DASHES = [null, "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2"];
function mark(kind, x, y, r, hollow) {
  return svg("path", {d: MARKS[kind % MARKS.length](r), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
                      class: hollow ? "hollow" : "mark"});
}
const line = (a, b, name, more = {}) =>
  svg("path", {d: `M${a[0].toFixed(1)} ${a[1].toFixed(1)}L${b[0].toFixed(1)} ${b[1].toFixed(1)}`, class: name, ...more});

// Between two ends; where they are all but one it is still seen.
function spanLine(a, b, more = {}) {
  const long = Math.hypot(b[0] - a[0], b[1] - a[1]), add = long < 3 ? (3 - long) / 2 : 0;
  const [ux, uy] = long > 0 ? [(b[0] - a[0]) / long, (b[1] - a[1]) / long] : [1, 0];
  return line([a[0] - add * ux, a[1] - add * uy], [b[0] + add * ux, b[1] + add * uy], "span", more);
}

// The filter: numbers of the layers that it leaves.
let left = new Set(page.layers.map((_, i) => i));
const shownLayers = () => page.layers.map((_, i) => i).filter(i => left.has(i));

function filter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  left = new Set();
  page.layers.forEach((layer, i) => {
    const text = (layer.name + " " + layer.role + " " + layer.block).toLowerCase();
    if (words.every(word => text.includes(word))) left.add(i);
  });
  for (const one of all("[data-l]")) one.classList.toggle("gone", !left.has(Number(one.dataset.l)));
  for (const block of all("details.block")) {
    const some = all("details[data-l]:not(.gone)", block).length > 0;
    block.classList.toggle("gone", !some);
    if (words.length) block.open = some;
  }
  byId("found").textContent = left.size + " of " + page.layers.length + (page.layers.length === 1 ? " layer" : " layers");
  drawAll();
}

// Tables: a press on a heading sorts; what is not known comes last, whichever way.
function sortBy(heading) {
  const row = heading.parentNode, column = [...row.children].indexOf(heading);
  const falling = heading.getAttribute("aria-sort") === "ascending" ||
    (heading.getAttribute("aria-sort") === "none" && heading.classList.contains("n"));
  const body = heading.closest("table").tBodies[0], sign = falling ? -1 : 1;
  const key = tr => {
    const cell = tr.children[column], {v, m} = cell.dataset;
    if (v !== undefined) return [0, Number(v)];
    if (m !== undefined) return [1, Number(m)];
    return cell.textContent === "-" ? [2, 0] : [0, cell.textContent];
  };
  const order = [...body.rows].map((tr, i) => ({tr, i, k: key(tr)}));
  order.sort((a, b) => a.k[0] - b.k[0] || sign * compared(a.k[1], b.k[1]) || a.i - b.i);
  body.append(...order.map(o => o.tr));
  for (const other of row.children) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
}
const compared = (a, b) => typeof a === "number" && typeof b === "number" ? a - b :
  String(a).localeCompare(String(b), "en", {numeric: true});

// A small window beside what is pointed at, or has the focus.
function tell(element, text) {
  const tip = byId("tip");
  const show = () => {
    const box = element.getBoundingClientRect();
    tip.textContent = text();
    tip.hidden = false;
    const wide = tip.offsetWidth, tall = tip.offsetHeight;
    tip.style.left = Math.max(8, Math.min(box.right + 10, innerWidth - wide - 12)) + scrollX + "px";
    tip.style.top = (box.top - tall - 8 < 50 ? box.bottom + 8 : box.top - tall - 8) + scrollY + "px";
  };
  element.addEventListener("pointerenter", show);
  element.addEventListener("focus", show);
  for (const event of ["pointerleave", "blur"]) element.addEventListener(event, () => { tip.hidden = true; });
}

// All that is known of a layer at this moment.
function said(source, index) {
  const layer = source.layers[index], i = moment(source);
  const where = [several || source.name ? source.name : "", moves ? "step " + source.steps[i].toLocaleString("en") : ""];
  return page.layers[index].name + " (" + layer.n_in + "→" + layer.n_out + ")" +
    (where.some(Boolean) ? "\n" + where.filter(Boolean).join(", ") : "") +
    names.map(q => layer.texts[q][i] ? "\n" + page.labels[q] + ": " + layer.texts[q][i] : "").join("");
}

function legend(place, entries) {
  place.replaceChildren(...entries.map(([drawn, text]) => {
    const item = document.createElement("li");
    item.append(drawn, text);
    return item;
  }));
}
function swatch(parts, color) {
  const made = svg("svg", {viewBox: "-14 -9 28 18", "aria-hidden": "true"}, ...parts);
  made.style.color = color || "var(--ink)";
  return made;
}
function ramp() {
  const made = document.createElement("span"), strip = document.createElement("i");
  strip.className = "ramp";
  made.append("first layer", strip, "last layer");
  return made;
}
function option(select, value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  select.append(made);
}
