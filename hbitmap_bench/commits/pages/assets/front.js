// The front page: growth exponents over commits, and a filter for the list of changes.
// The cluster size and the hidden lines are in the address, so that they can be mailed.
"use strict";

(() => {
  const { draw, look } = globalThis.hbitmapChart;
  const { element, commitText, commitAxis, commitCells, legend, toggled, commits } = globalThis.hbitmapPage;
  const { lines } = globalThis.hbitmapData.exponents;
  const byId = (id) => document.getElementById(id);
  const clusters = [...new Set(lines.map((line) => line.cluster_kib))].sort((a, b) => a - b);
  const QUANTITIES = { seconds: 2, words: 3 }; // digits

  function readAddress() {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const cluster = Number(wanted.get("cluster_kib"));
    return { cluster: clusters.includes(cluster) ? cluster : clusters[0], hidden: new Set(wanted.getAll("hide")) };
  }

  function go({ cluster, hidden }) {
    const query = new URLSearchParams({ cluster_kib: cluster });
    for (const name of hidden) query.append("hide", name);
    location.hash = `#${query}`;
  }

  // ------------------------------------------------------------------ lines

  const exponentText = (line, commit) => {
    const digits = QUANTITIES[line.quantity];
    const value = line.value?.[commit] ?? null;
    if (value === null) return "not measured";
    const [low, high] = [line.low?.[commit] ?? null, line.high?.[commit] ?? null];
    if (low === null || line.quantity === "words") return value.toFixed(digits);
    return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
  };

  function drawnLine(line) {
    const points = commits.map((_, commit) => ({ x: commit, y: line.value?.[commit] ?? null,
      low: line.low?.[commit] ?? null, high: line.high?.[commit] ?? null,
      tip: `${line.implementation}: exponent of ${line.quantity} ${exponentText(line, commit)}\n` +
        `over ${line.n_sizes[commit]} sizes, limit ${line.limit}\n${commitText(commit)}\n${commits[commit].date}` }))
      .filter((point) => point.y !== null);
    return { points, style: look(line.implementation, 0), name: line.implementation, short: "" };
  }

  function spec(quantity, state) {
    const shown = lines.filter((l) => l.quantity === quantity && l.cluster_kib === state.cluster &&
      !state.hidden.has(l.implementation));
    const ends = lines.flatMap((l) => [l.value, l.low, l.high].flatMap((row) => row ?? []))
      .filter((v) => v !== null);
    return {
      lines: shown.map(drawnLine),
      rules: [{ y: 2, label: "limit of access: 2" }, { y: 1, label: "limit of deny and plain: 1" }],
      label: `Exponent of ${quantity} over commits at cluster_kib ${state.cluster}. ` +
        shown.map((l) => `${l.implementation}: newest ${exponentText(l, commits.length - 1)}`).join(". "),
      x: commitAxis(),
      y: { label: `exponent of ${quantity}`, log: false, unit: "",
        domain: [Math.min(0.5, ...ends), Math.max(2.5, ...ends) * 1.04] },
    };
  }

  // ------------------------------------------------------------------ the page

  function show() {
    const state = readAddress();
    byId("growth").hidden = false;
    byId("cluster").value = String(state.cluster);
    const names = [...new Set(lines.map((l) => l.implementation))];
    legend(byId("legend"), names.map((name) => ({ key: name, label: name, style: look(name, 0), more: "" })),
      state.hidden, (key) => go({ ...state, hidden: toggled(state.hidden, key) }));
    for (const quantity of Object.keys(QUANTITIES)) draw(byId(quantity), spec(quantity, state));
    showNumbers(lines.filter((line) => line.cluster_kib === state.cluster));
  }

  function showNumbers(found) {
    const named = found.map((l) => element("th", { scope: "col", className: "number",
      textContent: `${l.implementation}, ${l.quantity}` }));
    const head = element("tr", {}, element("th", { scope: "col", textContent: "commit" }),
      element("th", { scope: "col", textContent: "subject" }), ...named);
    const rows = d3.range(commits.length).reverse().map((commit) => element("tr", {}, ...commitCells(commit),
      ...found.map((l) => element("td", { className: "number", textContent: exponentText(l, commit) }))));
    byId("numbers").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  function startGrowth() {
    byId("cluster").append(...clusters.map((c) => element("option", { value: String(c), textContent: String(c) })));
    byId("cluster-field").hidden = clusters.length < 2;
    byId("cluster").addEventListener("change", (event) =>
      go({ ...readAddress(), cluster: Number(event.target.value) }));
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
