// Quantities against depth, changes between sources, histories; and what makes the page move.
function frame(x, y, box, yWords, xWords, xTicks, called = tidy) {
  const made = svg("g", {class: "quiet", "aria-hidden": "true"});
  for (const t of y.ticks)
    made.append(line([box.left, y.at(t)], [box.right, y.at(t)], t === 0 ? "nought" : "grid"),
      label(box.left - 8, y.at(t) + 4, tidy(t), {"text-anchor": "end"}));
  for (const t of xTicks)
    made.append(line([x.at(t), box.bottom], [x.at(t), box.bottom + 5], "axis"),
      label(x.at(t), box.bottom + 19, called(t), {"text-anchor": "middle"}));
  made.append(line([box.left, box.bottom], [box.right, box.bottom], "axis"),
    label((box.left + box.right) / 2, box.bottom + 38, xWords, {"text-anchor": "middle"}),
    label(6, box.top - 10, yWords));
  return made;
}
const short = (text, most) => text.length > most ? "…" + text.slice(1 - most) : text;
const palette = k => `var(--c${k % 7})`;

// ---- against depth: a line a role, interrupted where a number is not known
function drawDepth() {
  const q = byId("depth-q").value, per = byId("depth-per").value, symlog = byId("depth-scale").checked;
  const chosen = shownLayers(), box = {left: 66, right: 890, top: 34, bottom: 300};
  const roles = [...new Set(page.layers.map(l => l.role))], entries = [];
  const numbers = page.sources.map(source => chosen.map(l =>
    source.layers[l] ? {l, ...read(source.layers[l], q, moment(source), per)} : null).filter(Boolean));
  const values = numbers.flat().flatMap(n => n.value == null ? [n.low, n.high] : [n.value - n.half, n.value + n.half]);
  if (!values.some(v => v != null)) {
    byId("depth").replaceChildren(document.createTextNode("Not measured in the layers shown."));
    return;
  }
  const y = scaleOf([...values, 0], box.bottom, box.top, symlog);
  const count = page.layers.length, x = {at: v => box.left + (box.right - box.left) * (v - 0.3) / (count + 0.4)};
  const drawn = svg("svg", {viewBox: "0 0 900 346", role: "img",
    "aria-label": `${page.labels[q]} against the position of the layer; the table has the same numbers.`});
  const room = Math.floor(110 / count), called = page.layers.map(l => short(l.name, room));
  const named = count <= 8 && new Set(called).size === count;
  const ticks = count <= 20 ? page.layers.map((_, i) => i + 1) : rounds([1, count], 10).filter(t => t >= 1);
  drawn.append(frame(x, y, box, `${page.labels[q]} (${unit(q, per)})`, named ? "" : "position of the layer", ticks,
    named ? t => called[t - 1] : tidy));
  page.sources.forEach((source, k) => {
    for (const [r, role] of roles.entries()) {
      const color = roles.length > 1 ? palette(r) : palette(k), group = svg("g");
      group.style.color = color;
      const own = numbers[k].filter(n => page.layers[n.l].role === role);
      const aside = several ? (k - (page.sources.length - 1) / 2) * Math.min(5, 200 / count) : 0;
      depthLine(group, own, n => x.at(n.l + 1) + aside, y, k, role === "other layers", source);
      drawn.append(group);
      if (k === 0 && roles.length > 1) entries.push([swatch([mark(r, 0, 0, 5)], color), role]);
    }
    if (several) entries.push([swatch([line([-13, 0], [13, 0], "trail", {"stroke-dasharray": DASHES[k % 6]})],
      roles.length > 1 ? null : palette(k)), source.name]);
  });
  if (numbers.flat().some(n => n.half)) entries.push([swatch([line([0, -8], [0, 8], "bar-line")]), "two standard errors to either side"]);
  if (numbers.flat().some(n => n.value == null && n.low != null)) entries.push([swatch([line([0, -8], [0, 8], "span")]), "between these bounds, no more is known"]);
  byId("depth").replaceChildren(drawn);
  legend(byId("depth-legend"), entries);
}

function depthLine(group, own, across, y, k, loose, source) {
  let d = "", pen = "M", last = null;
  for (const n of own) {
    if (n.value == null) { pen = "M"; continue; }
    d += `${pen}${across(n).toFixed(1)} ${y.at(n.value).toFixed(1)}`;
    pen = "L";
  }
  if (d.includes("L") && !loose) group.append(svg("path", {d, class: "trail", "stroke-dasharray": DASHES[k % 6], "stroke-width": 1.4}));
  for (const n of own) {
    const at = across(n);
    if (n.value == null && n.low != null) {
      group.append(last = spanLine([at, y.at(n.low)], [at, y.at(n.high)]));
    } else if (n.value != null) {
      if (n.half) group.append(line([at, y.at(n.value - n.half)], [at, y.at(n.value + n.half)], "bar-line"));
      group.append(last = mark(page.layers[n.l].role ? [...new Set(page.layers.map(l => l.role))].indexOf(page.layers[n.l].role) : 0,
        at, y.at(n.value), own.length > 60 ? 3 : 4.5, several && k === 0));
    } else continue;
    tell(last, () => said(source, n.l));
  }
}

// ---- changes against the first source, the greatest first
function drawChanges() {
  const q = byId("changes-q").value, per = byId("changes-per").value, rows = [];
  for (const th of all("table.changes [data-q]")) th.hidden = th.dataset.q !== q;
  for (const l of shownLayers()) {
    const [first, ...rest] = page.sources.map(s =>
      s.layers[l] && s.layers[l].n_in ? read(s.layers[l], q, s.steps.length - 1, per) : null);
    rest.forEach((one, k) => {
      if (!first || !one || sizesDiffer(l, k + 1)) return;
      const known = first.value != null && one.value != null;
      const a = span(first), b = span(one);
      if (known) rows.push({l, k: k + 1, value: one.value - first.value, half: Math.hypot(first.half, one.half)});
      else if (a && b) rows.push({l, k: k + 1, value: null, low: b[0] - a[1], high: b[1] - a[0]});
    });
  }
  const weight = r => r.value == null ? -1 : Math.abs(r.value);
  rows.sort((r, s) => weight(s) - weight(r) || r.l - s.l);
  const shown = byId("changes-all").checked ? rows : rows.slice(0, 20);
  byId("changes-note").textContent = rows.length > shown.length ? `The ${shown.length} greatest of ${rows.length} changes.` : "";
  const values = shown.flatMap(r => r.value == null ? [r.low, r.high] : [r.value - r.half, r.value + r.half]);
  if (!values.length) {
    byId("changes-chart").replaceChildren(document.createTextNode("Nothing that can be compared in the layers shown."));
    return;
  }
  const x = scaleOf([...values, 0], 330, 885, byId("changes-scale").checked), tall = 22 * shown.length + 24;
  const drawn = svg("svg", {viewBox: `0 0 900 ${tall + 34}`, role: "img",
    "aria-label": `Changes of ${page.labels[q]}, the greatest first; the table has the same numbers.`});
  for (const t of x.ticks)
    drawn.append(line([x.at(t), 6], [x.at(t), tall], t === 0 ? "nought" : "grid"), label(x.at(t), tall + 16, tidy(t), {"text-anchor": "middle", class: "quiet"}));
  drawn.append(label(607, tall + 32, `change of ${page.labels[q]} (${unit(q, per)})`, {"text-anchor": "middle", class: "quiet"}));
  shown.forEach((r, i) => drawn.append(changeBar(r, 18 + 22 * i, x)));
  byId("changes-chart").replaceChildren(drawn);
}
function sizesDiffer(l, k) {
  const [a, b] = [page.sources[0].layers[l], page.sources[k].layers[l]];
  return a.n_in !== b.n_in || a.n_out !== b.n_out;
}
// Between what a number is sure to lie; one with an error is not.
const span = n => n.value != null ? (n.half ? null : [n.value, n.value]) : n.low != null ? [n.low, n.high] : null;

function changeBar(r, y, x) {
  const group = svg("g"), zero = x.at(0), name = page.layers[r.l].name + (page.sources.length > 2 ? ": " + page.sources[r.k].name : "");
  group.append(label(322, y + 4, short(name, 46), {"text-anchor": "end"}));
  if (r.value == null) {
    group.append(spanLine([x.at(r.low), y], [x.at(r.high), y]));
  } else {
    const end = x.at(r.value), bar = svg("rect", {x: Math.min(zero, end).toFixed(1), y: y - 6, height: 12,
      width: Math.max(1, Math.abs(end - zero)).toFixed(1), fill: `var(--${r.value < 0 ? "below" : "above"})`});
    group.append(bar);
    if (r.half) group.append(line([x.at(r.value - r.half), y], [x.at(r.value + r.half), y], "axis"));
  }
  tell(group, () => page.sources.map(s => said(s, r.l)).join("\n\n"));
  return group;
}

// ---- histories
function drawHistories() {
  const place = byId("histories"), chosen = shownLayers(), charts = [];
  for (const name of new Set(page.sources.flatMap(s => Object.keys(s.metrics))))
    charts.push(chart(name, page.sources.flatMap((s, k) => s.metrics[name] ?
      [{color: several ? palette(k) : "var(--ink)", dash: k, steps: s.steps, numbers: s.metrics[name].map(v => ({value: v, half: 0, low: null, high: null}))}] : [])));
  for (const q of names)
    charts.push(chart(page.labels[q] + (page.units[q] ? ` (${page.units[q]})` : ""), page.sources.flatMap((s, k) => chosen
      .filter(l => s.layers[l] && s.steps.length).map(l => ({color: page.layers[l].color, dash: several ? k : l, steps: s.steps,
        numbers: s.steps.map((_, i) => read(s.layers[l], q, i))})))));
  place.replaceChildren(...charts.filter(Boolean));
  const entries = page.layers.length <= 7
    ? page.layers.map((x, l) => [swatch([line([-13, 0], [13, 0], "trail", {"stroke-dasharray": several ? null : DASHES[l % 6]})], x.color), x.name])
    : [[ramp(), ""]];
  if (several) page.sources.forEach((s, k) => entries.push([swatch([line([-13, 0], [13, 0], "trail", {"stroke-dasharray": DASHES[k % 6]})]), s.name]));
  legend(byId("histories-legend"), entries);
}

function chart(title, series) {
  const box = {left: 52, right: 350, top: 26, bottom: 186};
  const values = series.flatMap(s => s.numbers.flatMap(n => n.value == null ? [n.low, n.high] : [n.value - n.half, n.value + n.half]));
  if (!values.some(v => v != null)) return null;
  const y = scaleOf(values, box.bottom, box.top, false);
  const long = steps[steps.length - 1] - steps[0] || 1, x = {at: v => box.left + (box.right - box.left) * (v - steps[0]) / long};
  const drawn = svg("svg", {viewBox: "0 0 374 226", role: "img", "aria-label": `${title} over the steps`});
  drawn.append(frame(x, y, box, title, "step", rounds([steps[0], steps[steps.length - 1]], 4)));
  for (const one of series) {
    const group = svg("g");
    group.style.color = one.color;
    historyLine(group, one, x, y);
    drawn.append(group);
  }
  drawn.append(svg("path", {class: "now", "data-now": 1}));
  drawn.place = x;
  const made = document.createElement("div");
  made.className = "chart";
  made.append(drawn);
  return made;
}

function historyLine(group, {steps: own, numbers, dash}, x, y) {
  let d = "", pen = "M", upper = [], lower = [];
  const flush = () => {
    if (upper.length > 1) group.append(svg("path", {class: "band", d: "M" + [...upper, ...lower.reverse()].join("L") + "z"}));
    else if (upper.length) group.append(svg("path", {class: "bar-line", d: `M${upper[0]}L${lower[0]}`}));
    upper = [];
    lower = [];
  };
  numbers.forEach((n, i) => {
    const at = x.at(own[i]).toFixed(1);
    if (n.value != null) {
      d += `${pen}${at} ${y.at(n.value).toFixed(1)}`;
      pen = "L";
      if (n.half) {
        upper.push(`${at} ${y.at(n.value + n.half).toFixed(1)}`);
        lower.push(`${at} ${y.at(n.value - n.half).toFixed(1)}`);
      } else flush();
      const alone = (i === 0 || numbers[i - 1].value == null) && (i === numbers.length - 1 || numbers[i + 1].value == null);
      if (alone) group.append(mark(0, x.at(own[i]), y.at(n.value), 2.5));
    } else {
      flush();
      pen = "M";
      if (n.low != null) group.append(spanLine([x.at(own[i]), y.at(n.low)], [x.at(own[i]), y.at(n.high)], {"stroke-width": 3}));
    }
  });
  flush();
  if (d.includes("L")) group.append(svg("path", {d, class: "trail", "stroke-width": 1.6, "stroke-dasharray": DASHES[dash % 6]}));
}

// ---- the moment
function setCells() {
  page.sources.forEach((source, k) => source.layers.forEach((layer, l) => {
    if (!layer) return;
    const i = moment(source);
    for (const cell of all(`[data-k^="${k},${l},"]`)) {
      const q = cell.dataset.k.split(",")[2];
      if (q === "inputs") cell.textContent = layer.inputs[i] || "-";
      else {
        cell.textContent = layer.texts[q][i] || "-";
        if (layer.values[q][i] != null) cell.dataset.v = layer.values[q][i];
        else delete cell.dataset.v;
        cell.classList.toggle("open", layer.values[q][i] == null && layer.texts[q][i] !== "");
      }
    }
  }));
}

function drawMoment() {
  byId("now").textContent = "step " + steps[now].toLocaleString("en");
  byId("slider").setAttribute("aria-valuetext", byId("now").textContent);
  const known = page.sources.flatMap(s => Object.keys(s.metrics).map(name => [s, name, s.metrics[name][moment(s)]]));
  byId("metrics").textContent = known.filter(k => k[2] != null)
    .map(([s, name, v]) => (several ? s.name + ": " : "") + name + " " + Number(v.toPrecision(4))).join(", ");
  setCells();
  for (const one of all("#histories svg"))
    one.querySelector("[data-now]").setAttribute("d", `M${one.place.at(steps[now]).toFixed(1)} 26V186`);
}

function drawAll() {
  if (byId("plane")) drawPlane();
  if (byId("depth")) drawDepth();
  if (byId("changes-chart")) drawChanges();
  if (byId("histories")) drawHistories();
  if (byId("slider")) drawMoment();
}

let timer = null;
function play() {
  const button = byId("play"), last = steps.length - 1;
  if (timer) {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶";
    button.setAttribute("aria-label", "play");
    return;
  }
  if (now === last) setMoment(0, false);
  button.textContent = "❚❚";
  button.setAttribute("aria-label", "pause");
  timer = setInterval(() => {
    setMoment(Math.min(last, now + Math.max(1, Math.round(last / 100))));
    if (now >= last) play();
  }, 90);
}
function setMoment(at, draw = true) {
  now = at;
  byId("slider").value = at;
  if (!draw) return;
  if (byId("plane")) drawPlane();
  if (byId("depth")) drawDepth();
  drawMoment();
}

function start() {
  const bits = names.some(q => page.units[q] === "bits");
  for (const select of all("select[data-quantities]")) {
    for (const q of names) option(select, q, page.labels[q]);
    select.value = ["ei_parts", "ei", "sensitivity"].find(has) || names[0];
  }
  for (const box of all("[data-bits]")) box.hidden = !bits;
  if (byId("plane")) {
    const parts = has("sensitivity") && has("degeneracy"), joint = has("sensitivity") && has("degeneracy_joint");
    byId("plane-ei").closest("label").hidden = !(parts && joint);
    if (!parts) byId("plane-ei").value = "joint";
    const shapes = page.sources.flatMap(s => s.layers).filter(Boolean).map(l => l.n_in * l.n_out);
    if (!moves && Math.max(...shapes) > 20 * Math.min(...shapes)) byId("plane-per").value = "edges";
    // A few layers far above all others would press these together.
    const sizes = page.sources.flatMap(s => s.layers).filter(Boolean).map(l => Math.abs(l.values.sensitivity[0])).sort((a, b) => a - b);
    byId("plane-scale").checked = !moves && sizes[sizes.length - 1] > 30 * sizes[sizes.length >> 1];
  }
  for (const heading of all(".sorts thead th")) heading.firstElementChild.addEventListener("click", () => sortBy(heading));
  byId("search").addEventListener("input", filter);
  for (const one of all(".views input, .views select")) one.addEventListener("change", drawAll);
  if (byId("slider")) {
    byId("slider").max = now;  // first: a value above the greatest is cut to it
    byId("slider").value = now;
    byId("slider").addEventListener("input", () => setMoment(Number(byId("slider").value)));
    byId("play").addEventListener("click", play);
  }
  addEventListener("hashchange", opened);
  addEventListener("beforeprint", () => { for (const one of all("details")) if (page.layers.length <= 12) one.open = true; });
  addEventListener("keydown", event => {
    if (event.key === "Escape") byId("tip").hidden = true;
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      byId("search").focus();
    }
  });
  drawAll();
  opened();
}
// A link to a layer opens it.
function opened() {
  const place = location.hash.startsWith("#layer-") && byId(location.hash.slice(1));
  if (!place) return;
  for (let one = place; one; one = one.parentElement.closest("details")) one.open = true;
  place.firstElementChild.focus({preventScroll: true});
  place.scrollIntoView();
}
start();
