// A suite's page: every cell of it by its parameters, over commits or over image size.
// What is shown is in the address (location.hash), so that it can be mailed, and gone back to.
"use strict";

(() => {
  const { draw, look, format, withInterval, hasInterval } = globalThis.hbitmapChart;
  const { element, commitText, commitAxis, commitCells, legend, keepFocus, toggled, commits } =
    globalThis.hbitmapPage;
  const { panels, state, shown, parameter, axes, cellAt, pointAt, placesOf, readAddress, select, hasView,
    addressOf, addressOfView } = globalThis.hbitmapSelection;
  const data = globalThis.hbitmapData;
  const byId = (id) => document.getElementById(id);
  const VIEWS = { growth: "Growth", commits: "Over commits", ratio: `Ratio of two ${globalThis.hbitmapData.index.variant}s` };

  const seams = commits.flatMap((commit, i) => (commit.seam ? [i - 0.5] : []));

  // ------------------------------------------------------------------ small things

  const slopeText = ([, slope, low, high]) =>
    slope.toFixed(2) + (low === null ? "" : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`);

  /** A script of data, once; resolves to what it holds. */
  function load(panel) {
    panel.loading ??= new Promise((resolve, reject) => {
      const script = element("script", { src: panel.file });
      script.onload = () => resolve(data[panel.name]);
      script.onerror = () => reject(new Error(`${panel.file} could not be loaded`));
      document.head.append(script);
    });
    return panel.loading;
  }

  async function arrive() {
    const { panel, wanted, notes } = readAddress();
    const arrival = (arrive.last = {});
    const loaded = await load(panel).catch((error) => { byId("notes").textContent = error.message; });
    if (!loaded || arrival !== arrive.last) return; // another address came meanwhile
    select(loaded, wanted, notes);
    showAll();
  }

  const go = (changed) => { location.hash = addressOf(changed); };

  // ------------------------------------------------------------------ lines to draw

  function tipOf(point, panel) {
    const places = placesOf(point.cell);
    const cell = panel.parameters.map(({ name: p, values }) => `${p} ${values[places[p]]}`).join(", ");
    const text = hasInterval(point) ? `\n${panel === state.panel ? "99% interval" : "interval"}: ` : "";
    const ends = text && `${format(point.low, panel.unit)} to ${format(point.high, panel.unit)}`;
    const how = panel.how?.[point.cell] ? ` (${panel.how[point.cell]})` : "";
    return `${format(point.y, panel.unit)}${how}${text}${ends}\n${cell}\n` +
      `${commitText(point.commit)}\n${commits[point.commit].date}`;
  }

  function linesOf() {
    const panel = shown();
    const chosen = parameter(state.lines);
    const all = chosen ? chosen.values.map((value, place) => ({ value, place })) : [{ value: panel.title, place: 0 }];
    return all.map(({ value, place }) => {
      const at = chosen ? { [chosen.name]: place } : {};
      const points = state.view === "growth" ? pointsOver(at) : pointsOfCommits(at);
      for (const point of points) point.tip = tipOf(point, panel);
      const line = { key: String(value), style: look(value, place), points, cell: cellAt(at) };
      line.slope = state.view === "growth" ? slopeOf(at) : null;
      return named(line, chosen);
    });
  }

  const pointsOfCommits = (at) => commits.map((_, commit) => pointAt(cellAt(at), commit, commit))
    .filter((point) => point.y !== null);

  function pointsOver(at) {
    const { values } = parameter(state.over);
    return values.map((value, place) => pointAt(cellAt({ ...at, [state.over]: place }), state.commit, value))
      .filter((point) => point.y !== null).sort((a, b) => a.x - b.x);
  }

  /** [commit, slope, low, high] of the fit through a line, as the data has it. */
  function slopeOf(at) {
    const first = cellAt({ ...at, [state.over]: 0 });
    const known = state.panel.slopes[state.over]?.[first] ?? [];
    return known.find(([commit]) => commit === state.commit) ?? null;
  }

  function named(line, chosen) {
    const label = chosen && chosen.name !== globalThis.hbitmapData.index.variant && chosen.name !== "pair"
      ? `${chosen.name} ${line.key}` : line.key;
    line.label = label;
    line.name = line.slope ? `${line.key} ${line.slope[1].toFixed(2)}` : line.key;
    line.short = line.slope ? line.slope[1].toFixed(2) : "";
    if (line.slope) line.fit = fitOf(line);
    return line;
  }

  /** The fitted line: least squares go through the mean of the logarithms. */
  function fitOf({ points, slope }) {
    const usable = points.filter((p) => p.y > 0);
    const x = d3.mean(usable, (p) => Math.log(p.x));
    const y = d3.mean(usable, (p) => Math.log(p.y));
    const ends = d3.extent(usable, (p) => p.x);
    return ends.map((end) => ({ x: end, y: Math.exp(y + slope[1] * (Math.log(end) - x)) }));
  }

  // ------------------------------------------------------------------ plot, legend, numbers

  function showAll() {
    const lines = linesOf();
    showNotes();
    showControls();
    showPlot(lines);
    showLegend(lines);
    showNumbers(lines);
    showCells(lines);
    byId("explore").hidden = false;
  }

  function showNotes() {
    const missing = state.notes.join("; ");
    byId("notes").textContent = missing ? `This link asks for what isn't here: ${missing}.` : "";
  }

  function showPlot(lines) {
    const drawn = lines.filter((line) => !state.hidden.has(line.key));
    byId("plot-title").textContent = titleText();
    const growth = state.view === "growth";
    byId("plot-at").textContent = growth || state.marked !== null ? `Commit ${commitText(state.commit)}` : "";
    byId("plot-about").textContent = aboutText();
    const empty = !drawn.some((line) => line.points.length);
    byId("plot-empty").hidden = !empty;
    const who = growth ? "This commit has measured none of" : "No commit has measured any of";
    byId("plot-empty").textContent = `${who} these cells. Those with a measurement are in the table below.`;
    byId("plot").hidden = empty;
    byId("asv-link").hidden = !state.panel.asv;
    if (state.panel.asv) byId("asv-link").href = asvAddress();
    if (!empty) draw(byId("plot"), specOf(drawn));
  }

  function titleText() {
    const fixed = shown().parameters
      .filter((p) => p.name !== state.lines && !(state.view === "growth" && p.name === state.over))
      .map((p) => `${p.name} ${p.values[state.picked[p.name]]}`);
    const where = state.view === "growth" ? `over ${state.over}` : "over commits";
    return [`${shown().title} ${where}`, ...fixed].join(", ");
  }

  function aboutText() {
    const fitted = shown().about && state.view === "growth" && Object.keys(state.panel.slopes).length;
    return shown().about + (fitted ? " Dotted: the fitted line, with its slope and 95% interval." : "");
  }

  function specOf(lines) {
    const panel = shown();
    return {
      lines,
      label: `${titleText()}. ${lines.map(said).join(". ")}. The numbers are in the table below.`,
      rules: state.view === "ratio" ? [{ y: 1, label: "equal" }] : [],
      marked: state.view === "growth" ? null : state.marked,
      seams: state.view === "commits" && shown().unit === "seconds" ? seams : [],
      x: state.view === "growth" ? sizeAxis(lines) : commitAxis(),
      y: { label: unitText(panel), log: state.log, unit: panel.unit },
    };
  }

  const unitText = (panel) => `${panel.unit === "x" ? "ratio" : panel.unit}${state.log ? ", log" : ""}`;

  function said(line) {
    if (!line.points.length) return `${line.label}: not measured`;
    const last = line.points[line.points.length - 1];
    const slope = line.slope ? `, log-log slope ${slopeText(line.slope)}` : "";
    return `${line.label}: ${line.points.length} points, the last ${format(last.y, shown().unit)}${slope}`;
  }

  /** From the smallest to the largest size that is drawn. */
  function sizeAxis(lines) {
    const [low, high] = d3.extent(lines.flatMap((line) => line.points.map((p) => p.x)));
    const ticks = parameter(state.over).values.filter((v) => v >= low && v <= high).sort((a, b) => a - b);
    return { label: `${state.over}, log`, log: true, domain: [low / 1.12, high * 1.12], ticks,
      format: (v) => v.toLocaleString("en"), gap: 26 };
  }

  function showLegend(lines) {
    const items = lines.map((line) => ({ key: line.key, label: line.label, style: line.style,
      more: line.slope ? `slope ${slopeText(line.slope)}` : line.points.length ? "" : "not measured" }));
    legend(byId("legend"), items, state.hidden, (key) => go({ hidden: toggled(state.hidden, key) }));
  }

  function showNumbers(lines) {
    const growth = state.view === "growth";
    const head = element("tr", {}, ...(growth ? [state.over] : ["commit", "subject"])
      .map((text) => element("th", { scope: "col", textContent: text })),
    ...lines.map((line) => element("th", { scope: "col", className: "number", textContent: line.label })));
    const at = new Map(lines.map((line) => [line, new Map(line.points.map((p) => [p.x, p]))]));
    const keys = [...new Set(lines.flatMap((line) => line.points.map((p) => p.x)))]
      .sort((a, b) => (growth ? a - b : b - a));
    const rows = keys.map((key) => element("tr", { className: !growth && key === state.marked ? "marked" : "" },
      ...labelsOf(key, growth),
      ...lines.map((line) => numberCell(at.get(line).get(key)))));
    const fits = growth && lines.some((line) => line.slope) ? [slopeRow(lines)] : [];
    byId("numbers").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows, ...fits));
    byId("numbers-summary").textContent = `Numbers in this plot (${growth ? "sizes" : "commits"}: ${keys.length})`;
  }

  const labelsOf = (key, growth) =>
    (growth ? [element("th", { scope: "row", textContent: String(key) })] : commitCells(key));

  const numberCell = (point) => element("td", { className: "number",
    textContent: point ? withInterval(point, shown().unit) : "-" });

  function slopeRow(lines) {
    return element("tr", { className: "fits" }, element("th", { scope: "row", textContent: "log-log slope" }),
      ...lines.map((line) => element("td", { className: "number",
        textContent: line.slope ? slopeText(line.slope) : "-" })));
  }

  // ------------------------------------------------------------------ controls

  function showControls() {
    showSelect("benchmark", panels.map((p) => ({ value: p.name, text: p.title })), state.panel.name);
    keepFocus(byId("views"), () => byId("views").replaceChildren(...viewControls()));
    const controls = [...pickers(), ...otherControls()];
    keepFocus(byId("parameters"), () => byId("parameters").replaceChildren(...controls));
  }

  function showSelect(id, options, value) {
    const select = byId(id);
    select.replaceChildren(...options.map((o) => element("option", { value: o.value, textContent: o.text })));
    select.value = value;
  }

  function viewControls() {
    return Object.entries(VIEWS).filter(([view]) => hasView(view)).map(([view, text]) =>
      radio("view", view, text, state.view === view, () => { location.hash = addressOfView(view); }));
  }

  function radio(name, value, text, checked, chosen) {
    const input = element("input", { type: "radio", name, value, checked });
    input.addEventListener("change", chosen);
    return element("label", {}, input, element("span", { textContent: text }));
  }

  function pickers() {
    return shown().parameters
      .filter((p) => p.name !== state.lines && !(state.view === "growth" && p.name === state.over))
      .map((p) => field(p.name, `p-${p.name}`, p.values.map((value, place) => ({
        value: String(place), text: valueText(p, value, place) })), String(state.picked[p.name]),
      (place) => go({ picked: { ...state.picked, [p.name]: Number(place) } })));
  }

  function valueText(p, value, place) {
    const some = shown().value.some((row, cell) => row !== null && placesOf(cell)[p.name] === place);
    return some ? String(value) : `${value} (not measured)`;
  }

  function field(label, id, options, value, changed) {
    const select = element("select", { id });
    select.append(...options.map((o) => element("option", { value: o.value, textContent: o.text })));
    select.value = value;
    select.addEventListener("change", () => changed(select.value));
    return element("div", { className: "field" }, element("label", { htmlFor: id, textContent: label }), select);
  }

  function otherControls() {
    const named_ = (list) => list.map((p) => ({ value: p.name, text: p.name }));
    const growth = state.view === "growth";
    const possible = shown().parameters.filter((p) => !growth || p.name !== state.over);
    const fields = [];
    if (possible.length > 1) {
      fields.push(field("a line for each", "lines", named_(possible), state.lines,
        (lines) => go({ lines, hidden: new Set() })));
    }
    if (growth && axes().length > 1) fields.push(field("growth over", "over", named_(axes()), state.over, changeAxis));
    if (growth) {
      fields.push(field("at commit", "commit", commitOptions(), String(state.commit),
        (commit) => go({ marked: Number(commit) })));
    }
    const scales = [{ value: "log", text: "logarithmic" }, { value: "linear", text: "linear" }];
    fields.push(field("value axis", "scale", scales, state.log ? "log" : "linear", (s) => go({ log: s === "log" })));
    return fields;
  }

  function changeAxis(over) {
    go({ over, lines: state.lines === over ? state.over : state.lines });
  }

  const commitOptions = () => commits.map((_, c) => ({ value: String(c), text: commitText(c) })).reverse();

  // ------------------------------------------------------------------ all cells, and asv

  function showCells(lines) {
    for (const section of document.querySelectorAll("[data-panel]")) {
      section.hidden = section.dataset.panel !== state.panel.name;
    }
    const current = new Set(state.view === "ratio" ? [] : lines.flatMap((l) => l.points.map((p) => p.cell)));
    const picked = state.view === "commits" ? cellAt() : -1;
    for (const row of document.querySelectorAll(`[data-panel="${CSS.escape(state.panel.name)}"] tr[data-cell]`)) {
      const cell = Number(row.dataset.cell);
      row.classList.toggle("plotted", current.has(cell));
      if (cell === picked) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  function asvAddress() {
    const query = new URLSearchParams(data.index.asv);
    const over = state.view === "growth" ? state.over : null;
    if (over) query.set("x-axis", over);
    for (const { name, values } of state.panel.parameters) {
      const place = state.picked[name];
      if (place !== undefined && name !== state.lines && name !== over) query.set(`p-${name}`, literal(values[place]));
    }
    if (state.log) query.set("y-axis-scale", "log");
    return `${document.body.dataset.asv}#${state.panel.asv}?${query.toString().replaceAll("+", "%20")}`;
  }

  /** A parameter as asv writes it, by Python's repr. */
  const literal = (value) => (typeof value === "number" ? String(value) : `'${value}'`);

  function followRow(event) {
    const row = event.target.closest("tr[data-cell]");
    if (row && !event.target.closest("a")) row.querySelector("a").click();
  }

  for (const box of document.querySelectorAll(".all-cells")) {
    box.addEventListener("change", () =>
      box.closest("[data-panel]").classList.toggle("show-all", box.checked));
  }
  byId("benchmark").addEventListener("change", (event) => { location.hash = `#${event.target.value}`; });
  byId("pick").addEventListener("submit", (event) => event.preventDefault());
  byId("cells").addEventListener("click", followRow);
  window.addEventListener("hashchange", arrive);
  arrive();
})();
