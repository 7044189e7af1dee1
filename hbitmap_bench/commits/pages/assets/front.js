// The front page: growth exponents over commits, and a filter for the list of changes.
// The group and the hidden lines are in the address, so that they can be mailed.
"use strict";

(() => {
  const { draw, look } = globalThis.hbitmapChart;
  const { element, commitText, commitAxis, commitCells, legend, toggled, commits } = globalThis.hbitmapPage;
  const found = globalThis.hbitmapData.exponents;
  const byId = (id) => document.getElementById(id);
  const group = found.group.join(", ");
  const lines = found.lines.map((line) => ({ ...line, quantity: found.plots[line.plot],
    group: found.group.map((name) => line[name] ?? "").join(", ") }));
  const grouped = (line) => found.group.some((name) => name in line);
  const groups = [...new Set(lines.filter(grouped).map((line) => line.group))].sort((a, b) => a - b);
  const isShown = (line, state) => !grouped(line) || line.group === state.chosen;
  const digitsOf = (quantity) => (found.exact.includes(quantity) ? 3 : 2);

  function readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const chosen = wanted.get(group);
    return { chosen: groups.includes(chosen) ? chosen : groups[0], hidden: new Set(wanted.getAll("hide")) };
  }

  function go({ chosen, hidden }) {
    const query = new URLSearchParams({ [group]: chosen });
    for (const name of hidden) query.append("hide", name);
    location.hash = `#${query}`;
  }

  // ------------------------------------------------------------------ lines

  const exponentText = (line, commit) => {
    const digits = digitsOf(line.quantity);
    const value = line.value?.[commit] ?? null;
    if (value === null) return "not measured";
    const [low, high] = [line.low?.[commit] ?? null, line.high?.[commit] ?? null];
    if (low === null || found.exact.includes(line.quantity)) return value.toFixed(digits);
    return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
  };

  function drawnLine(line) {
    const points = commits.map((_, commit) => ({ x: commit, y: line.value?.[commit] ?? null,
      low: line.low?.[commit] ?? null, high: line.high?.[commit] ?? null,
      tip: `${line.series}: exponent of ${line.quantity} ${exponentText(line, commit)}\n` +
        `over ${line.n_sizes[commit]} sizes, limit ${line.limit}\n${commitText(commit)}\n${commits[commit].date}` }))
      .filter((point) => point.y !== null);
    return { points, style: look(line.series, place(line.series)), name: line.series, short: "" };
  }

  const allSeries = [...new Set(lines.map((l) => l.series))];
  const place = (series) => allSeries.indexOf(series);

  /** A rule at each limit, with the series that it is for. */
  function rules(plot) {
    const own = lines.filter((l) => l.plot === plot);
    const limits = [...new Set(own.map((l) => l.limit).filter((limit) => limit !== null))];
    return limits.sort((a, b) => b - a).map((limit) => {
      const names = allSeries.filter((name) => own.some((l) => l.series === name && l.limit === limit));
      return { y: limit, label: `limit of ${names.sort().join(" and ")}: ${limit}` };
    });
  }

  function spec(plot, state) {
    const quantity = found.plots[plot];
    const shown = lines.filter((l) => l.plot === plot && isShown(l, state) &&
      !state.hidden.has(l.series));
    const ends = lines.flatMap((l) => [l.value, l.low, l.high].flatMap((row) => row ?? []))
      .filter((v) => v !== null);
    return {
      lines: shown.map(drawnLine),
      rules: rules(plot),
      label: `Exponent of ${quantity} over commits${group && ` at ${group} ${state.chosen}`}. ` +
        shown.map((l) => `${l.series}: newest ${exponentText(l, commits.length - 1)}`).join(". "),
      x: commitAxis(),
      y: { label: `exponent of ${quantity}`, log: false, unit: "",
        domain: [Math.min(0.5, ...ends), Math.max(2.5, ...ends) * 1.04] },
    };
  }

  // ------------------------------------------------------------------ the page

  function show() {
    const state = readAddress();
    byId("growth").hidden = false;
    byId("cluster").value = state.chosen;
    legend(byId("legend"), allSeries.map((name) => ({ key: name, label: name, style: look(name, place(name)), more: "" })),
      state.hidden, (key) => go({ ...state, hidden: toggled(state.hidden, key) }));
    for (const plot of Object.keys(found.plots)) draw(byId(plot), spec(plot, state));
    showNumbers(lines.filter((line) => isShown(line, state)));
  }

  function showNumbers(shown) {
    const named = shown.map((l) => element("th", { scope: "col", className: "number",
      textContent: `${l.series}, ${l.plot}` }));
    const head = element("tr", {}, element("th", { scope: "col", textContent: "commit" }),
      element("th", { scope: "col", textContent: "subject" }), ...named);
    const rows = d3.range(commits.length).reverse().map((commit) => element("tr", {}, ...commitCells(commit),
      ...shown.map((l) => element("td", { className: "number", textContent: exponentText(l, commit) }))));
    byId("numbers").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function startGrowth() {
    byId("cluster").append(...groups.map((g) => element("option", { value: g, textContent: g })));
    byId("cluster-field").hidden = groups.length < 2;
    byId("cluster").addEventListener("change", (event) =>
      go({ ...readAddress(), chosen: event.target.value }));
    window.addEventListener("hashchange", show);
    show();
  }

  function startFilter() {
    const filter = document.querySelector(".filter");
    if (!filter) return;
    filter.hidden = false;
    filter.addEventListener("change", (event) => {
      for (const row of document.querySelectorAll(".changes tbody tr")) {
        row.hidden = event.target.value !== "" && row.dataset.word !== event.target.value;
      }
    });
  }

  if (byId("growth")) startGrowth();
  startFilter();
})();
