// What a suite's page shows: a panel, a view, the picked parameters; to and from the address.
// A panel's cells are in one row, the last parameter varying fastest.
"use strict";

globalThis.hbitmapSelection = (() => {
  const { shortHash, commits } = globalThis.hbitmapPage;
  const panels = globalThis.hbitmapData.index.suites[document.body.dataset.suite];

  /** panel, view, picked {parameter: place of its value}, over, lines, log, commit, marked, hidden, notes. */
  const state = {};

  // ------------------------------------------------------------------ cells

  const shown = () => (state.view === "ratio" ? state.panel.ratio : state.panel);
  const parameter = (name) => shown().parameters.find((p) => p.name === name);
  const numeric = (p) => p.values.length > 1 && p.values.every((v) => typeof v === "number" && v > 0);
  const axes = () => (state.panel.grows ? state.panel.parameters.filter(numeric) : []);

  /** The column of the cell with the picked values, some of them changed. */
  function cellAt(changed = {}) {
    return shown().parameters.reduce((place, { name, values }) =>
      place * values.length + (changed[name] ?? state.picked[name]), 0);
  }

  function pointAt(cell, commit, x) {
    const { value, low, high } = shown();
    const y = value[cell]?.[commit] ?? null;
    return { x, y, low: low?.[cell]?.[commit] ?? null, high: high?.[cell]?.[commit] ?? null, cell, commit };
  }

  /** Column to places of values, the inverse of `cellAt`. */
  function placesOf(cell) {
    const places = {};
    for (const { name, values } of [...shown().parameters].reverse()) {
      places[name] = cell % values.length;
      cell = Math.floor(cell / values.length);
    }
    return places;
  }

  /** The value of each parameter that most cells have been measured with. */
  function defaultPlaces(parameters, value) {
    const counts = Object.fromEntries(parameters.map((p) => [p.name, p.values.map(() => 0)]));
    value.forEach((row, cell) => {
      if (row === null) return;
      for (const [name, place] of Object.entries(placesOf(cell))) counts[name][place] += 1;
    });
    return Object.fromEntries(parameters.map(({ name }) =>
      [name, counts[name].indexOf(Math.max(...counts[name]))]));
  }

  // ------------------------------------------------------------------ the address

  /** The panel that the address names, what it wants of it, and what is not to be had. */
  function readAddress() {
    const [name, query] = location.hash.slice(1).split("?");
    const panel = panels.find((p) => p.name === name);
    const notes = name && !panel ? [`no benchmark ${name} in this history`] : [];
    return { panel: panel ?? panels[0], wanted: new URLSearchParams(query ?? ""), notes };
  }

  /** Take the state that an address asks for; what it names and isn't there is said, not hidden. */
  function select(panel, wanted, notes) {
    Object.assign(state, { panel, notes, hidden: new Set(wanted.getAll("hide")) });
    state.view = viewOf(wanted.get("view"));
    state.picked = defaultPlaces(shown().parameters, shown().value);
    for (const { name, values } of shown().parameters) readPlace(name, values, wanted);
    state.over = axes().find((p) => p.name === wanted.get("over"))?.name ?? defaultAxis();
    state.lines = readLines(wanted.get("lines"));
    state.log = wanted.get("y") ? wanted.get("y") !== "linear" : state.view === "growth";
    state.marked = readCommit(wanted.get("commit"));
    state.commit = state.marked ?? newestMeasured();
  }

  function viewOf(name) {
    if (hasView(name)) return name;
    return Object.keys(state.panel.slopes).length ? "growth" : "commits";
  }

  function hasView(view) {
    if (view === "ratio") return Boolean(state.panel.ratio);
    return view === "commits" || (view === "growth" && axes().length > 0);
  }

  function readPlace(name, values, wanted) {
    const text = wanted.get(`p-${name}`);
    if (text === null) return;
    const place = values.findIndex((value) => String(value) === text);
    if (place >= 0) state.picked[name] = place;
    else state.notes.push(`no ${name} ${text}`);
  }

  function defaultAxis() {
    return (axes().find((p) => p.name === globalThis.hbitmapData.index.size) ?? axes()[0])?.name;
  }

  function readLines(name) {
    const possible = shown().parameters.filter((p) => state.view !== "growth" || p.name !== state.over);
    return (possible.find((p) => p.name === name) ?? possible[0])?.name;
  }

  function readCommit(hash) {
    if (!hash) return null;
    const found = commits.findIndex((commit) => commit.hash.startsWith(hash));
    if (found < 0) state.notes.push(`no commit ${hash} in this history`);
    return found < 0 ? null : found;
  }

  function newestMeasured() {
    for (let commit = commits.length - 1; commit > 0; commit -= 1) {
      if (shown().value.some((row) => row !== null && row[commit] !== null)) return commit;
    }
    return 0;
  }

  /** The address of the present state, some of it changed. */
  function addressOf(changed) {
    const next = { ...state, ...changed };
    const query = new URLSearchParams({ view: next.view });
    if (next.lines) query.set("lines", next.lines);
    if (next.view === "growth") query.set("over", next.over);
    for (const { name, values } of shown().parameters) {
      if (name !== next.lines && !(next.view === "growth" && name === next.over)) {
        query.set(`p-${name}`, values[next.picked[name]]);
      }
    }
    if (next.marked !== null) query.set("commit", shortHash(next.marked));
    if (next.log !== (next.view === "growth")) query.set("y", next.log ? "log" : "linear");
    for (const name of next.hidden) query.append("hide", name);
    return `#${next.panel.name}?${query}`;
  }

  /** The address of another view: parameters that it has too keep their values. */
  function addressOfView(view) {
    const query = new URLSearchParams({ view });
    const names = new Set((view === "ratio" ? state.panel.ratio : state.panel).parameters.map((p) => p.name));
    for (const { name, values } of shown().parameters) {
      if (names.has(name)) query.set(`p-${name}`, values[state.picked[name]]);
    }
    if (state.marked !== null) query.set("commit", shortHash(state.marked));
    return `#${state.panel.name}?${query}`;
  }

  return { panels, state, shown, parameter, axes, cellAt, pointAt, placesOf, readAddress, select, hasView,
    addressOf, addressOfView };
})();
