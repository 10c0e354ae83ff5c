// The causal plane: each layer's place, or its way through the moments or the sources.
const ROOT2 = Math.SQRT2;
const BOX = {left: 74, right: 880, top: 34, bottom: 500, width: 900, height: 556};

function planeState() {
  const joint = byId("plane-ei").value === "joint";
  return {joint, across: joint ? "degeneracy_joint" : "degeneracy", ei: joint ? "ei" : "ei_parts",
          turned: byId("plane-turned").checked, per: byId("plane-per").value, symlog: byId("plane-scale").checked};
}
const turn = (state, d, s) => state.turned ? [(s - d) / ROOT2, (s + d) / ROOT2] : [d, s];

// Where a layer of a source was at a moment: its place, bars of its errors, or the line on which it was.
function placeAt(layer, i, state) {
  const d = read(layer, state.across, i, state.per), s = read(layer, "sensitivity", i, state.per);
  if (s.value == null) return null;
  if (d.value == null)
    return d.low == null ? null : {at: null, bars: [], span: [turn(state, d.low, s.value), turn(state, d.high, s.value)]};
  const ei = has(state.ei) ? read(layer, state.ei, i, state.per).half : 0, bars = [];
  if (ei) bars.push([turn(state, d.value - ei, s.value), turn(state, d.value + ei, s.value)]);
  if (s.half) bars.push([-1, 1].map(k => turn(state, d.value + k * s.half, s.value + k * s.half)));
  return {at: turn(state, d.value, s.value), bars, span: null};
}

function drawPlane() {
  const state = planeState(), chosen = shownLayers();
  const found = chosen.map(l => page.sources.map(source =>
    source.layers[l] && source.steps.map((_, i) => placeAt(source.layers[l], i, state))));
  const points = found.flat().filter(Boolean).flat().filter(Boolean)
    .flatMap(p => [...(p.at ? [p.at] : []), ...p.bars.flat(), ...(p.span || [])]);
  if (!points.length) {
    byId("plane").replaceChildren(document.createTextNode("Neither layer shown has what the plane takes."));
    byId("plane-legend").replaceChildren();
    return;
  }
  const both = points.flat(), ends = state.symlog && !state.turned ? both : null;
  const x = scaleOf(ends || points.map(p => p[0]), BOX.left, BOX.right, state.symlog);
  const y = scaleOf(ends || points.map(p => p[1]), BOX.bottom, BOX.top, state.symlog);
  const drawn = svg("svg", {viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group",
    "aria-label": "Causal plane; the table has the same numbers. Arrow keys go from layer to layer."});
  drawn.append(planeFrame(x, y, state));
  const layers = svg("g");
  chosen.forEach((l, k) => layers.append(planeLayer(l, found[k], x, y)));
  drawn.append(layers);
  rove(drawn);
  byId("plane").replaceChildren(drawn);
  planeLegend(state);
}

function planeFrame(x, y, state) {
  const made = svg("g", {class: "quiet", "aria-hidden": "true"}), name = state.joint ? "EI" : "EI_parts";
  const kind = state.joint ? "joint degeneracy" : "degeneracy", bits = "bits" + perWords[state.per];
  for (const t of x.ticks)
    made.append(line([x.at(t), BOX.bottom], [x.at(t), BOX.bottom + 5], "axis"),
      label(x.at(t), BOX.bottom + 20, tidy(t), {"text-anchor": "middle"}));
  for (const t of y.ticks)
    made.append(line([BOX.left - 5, y.at(t)], [BOX.left, y.at(t)], "axis"),
      label(BOX.left - 9, y.at(t) + 4, tidy(t), {"text-anchor": "end"}));
  made.append(line([BOX.left, BOX.bottom], [BOX.right, BOX.bottom], "axis"), line([BOX.left, BOX.top], [BOX.left, BOX.bottom], "axis"));
  contours(made, x, y, state);
  const [across, up] = state.turned ? [`(sensitivity − ${kind}) / √2`, `(sensitivity + ${kind}) / √2`] : [kind, "sensitivity"];
  made.append(label((BOX.left + BOX.right) / 2, BOX.height - 14, `${across} (${bits})`, {"text-anchor": "middle"}),
    svg("text", {transform: `translate(16 ${(BOX.top + BOX.bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, `${up} (${bits})`),
    label(BOX.right, 12, `lines of equal ${name} (${bits})`, {"text-anchor": "end"}));
  return made;
}

// Lines of equal EI: upright in the turned plane, slanted in the other.
function contours(made, x, y, state) {
  if (state.turned) {
    const reach = x.ends.map(v => v * ROOT2);
    const levels = (state.symlog ? enough(powers(reach, x.least), reach) : rounds(reach, 7)).map(v => v / ROOT2);
    let last = -99;
    for (const t of levels) {
      made.append(line([x.at(t), BOX.top], [x.at(t), BOX.bottom], t === 0 ? "nought" : "grid"));
      if (x.at(t) - last > 34) made.append(label(last = x.at(t), BOX.top - 6, tidy(t * ROOT2), {"text-anchor": "middle"}));
    }
    return;
  }
  const reach = [y.ends[0] - x.ends[1], y.ends[1] - x.ends[0]];
  const levels = state.symlog ? [...new Set([0, ...y.ticks.filter(t => t >= reach[0] && t <= reach[1])])] : rounds(reach, 7);
  for (const level of levels) {
    const way = [];
    for (let k = 0; k <= 80; k++) {
      const d = x.ways(k / 80), at = [x.at(d), y.at(d + level)];
      if (at[1] >= BOX.top && at[1] <= BOX.bottom) way.push(at);
    }
    if (way.length < 3) continue;
    made.append(svg("path", {d: "M" + way.map(p => p.map(v => v.toFixed(1)).join(" ")).join("L"), class: level === 0 ? "nought" : "grid"}));
    const end = state.symlog ? way[0] : way[way.length - 1];
    made.append(label(Math.min(end[0] + 3, BOX.right - 4), Math.max(end[1] - 3, BOX.top - 3), tidy(level)));
  }
}

function planeLayer(l, bySource, x, y) {
  const look = page.layers[l], group = svg("g", {"data-l": l}), at = p => [x.at(p[0]), y.at(p[1])];
  group.style.color = look.color;
  const lasts = [];
  page.sources.forEach((source, k) => {
    const way = bySource[k];
    if (!way) return;
    const i = moment(source), here = way[i];
    trail(group, way, i, at, DASHES[k % DASHES.length]);
    if (!here) return;
    for (const bar of here.bars) group.append(line(at(bar[0]), at(bar[1]), "bar-line"));
    const place = here.at ? at(here.at) : here.span.map(at).reduce((a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    const link = svg("a", {href: byId("layer-" + l) ? "#layer-" + l : "#table", tabindex: -1, "aria-label": said(source, l).replaceAll("\n", ", ")});
    if (here.span) link.append(spanLine(at(here.span[0]), at(here.span[1])));
    else link.append(mark(look.mark, ...place, 6, several && k < page.sources.length - 1));
    tell(link, () => said(source, l));
    lasts.push({place, link, known: !here.span});
  });
  // Beside the ways of runs an arrow would look like one of them.
  for (let k = 1; k < lasts.length && several && !moves; k++)
    if (lasts[0].known && lasts[k].known) arrow(group, lasts[k - 1].place, lasts[k].place);
  group.append(...lasts.map(one => one.link));
  if (page.layers.length <= 7 && lasts.length) {
    const {place} = lasts[lasts.length - 1], right = place[0] > BOX.right - 130;
    group.append(label(place[0] + (right ? -10 : 10), place[1] - 7, look.name, {"text-anchor": right ? "end" : "start", "aria-hidden": "true"}));
  }
  return group;
}

// A way through the moments, faint where it is still to go, interrupted where it is not known.
function trail(group, way, i, at, dash) {
  for (const [from, to, name] of [[0, i, "trail"], [i, way.length - 1, "trail ahead"]]) {
    let d = "", pen = "M";
    for (let k = from; k <= to; k++) {
      if (!way[k] || !way[k].at) { pen = "M"; continue; }
      d += pen + at(way[k].at).map(v => v.toFixed(1)).join(" ");
      pen = "L";
    }
    if (d.includes("L")) group.append(svg("path", {d, class: name, "stroke-dasharray": dash}));
  }
  if (way.length > 1 && way[0] && way[0].at && !several) group.append(mark(0, ...at(way[0].at), 4, true));
}

function arrow(group, a, b) {
  const long = Math.hypot(b[0] - a[0], b[1] - a[1]);
  if (long < 9) return;
  const [ux, uy] = [(b[0] - a[0]) / long, (b[1] - a[1]) / long], tip = [b[0] - 7 * ux, b[1] - 7 * uy];
  const head = [-1, 1].map(k => [tip[0] - 7 * ux - 4 * k * uy, tip[1] - 7 * uy + 4 * k * ux]);
  group.append(line(a, tip, "trail"), svg("path", {class: "mark",
    d: "M" + [tip, ...head].map(p => p.map(v => v.toFixed(1)).join(" ")).join("L") + "z"}));
}

// One stop of the tabulator for all layers; arrow keys go on.
function rove(drawn) {
  const links = all("a", drawn);
  if (links.length) links[0].setAttribute("tabindex", 0);
  drawn.addEventListener("keydown", event => {
    const way = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key], at = links.indexOf(document.activeElement);
    if (!way || at < 0) return;
    event.preventDefault();
    links[at].setAttribute("tabindex", -1);
    const next = links[(at + way + links.length) % links.length];
    next.setAttribute("tabindex", 0);
    next.focus();
  });
}

function planeLegend(state) {
  const entries = [], roles = new Map(page.layers.map(x => [x.role, x.mark]));
  const many = page.layers.length > 7;
  if (many && roles.size > 1) for (const [role, kind] of roles) entries.push([swatch([mark(kind, 0, 0, 6)]), role]);
  if (!many) page.layers.forEach(x => entries.push([swatch([mark(x.mark, 0, 0, 6)], x.color), x.name]));
  if (many) entries.push([ramp(), ""]);
  if (several) page.sources.forEach((s, k) =>
    entries.push([swatch([...(moves ? [line([-13, 0], [13, 0], "trail", {"stroke-dasharray": DASHES[k % DASHES.length]})] : []),
      mark(0, 0, 0, 6, k < page.sources.length - 1)]), (moves ? "" : k ? "arrow to: " : "from: ") + s.name]));
  if (all("#plane .bar-line").length) entries.push([swatch([line([-12, 0], [12, 0], "bar-line")]), "two standard errors to either side"]);
  if (all("#plane .span").length) entries.push([swatch([line([-12, 0], [12, 0], "span")]), "somewhere on this line: only bounds of EI are known"]);
  legend(byId("plane-legend"), entries);
}
