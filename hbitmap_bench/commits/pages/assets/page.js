// What the front page and the suites' pages share: elements, commits, legends.
"use strict";

globalThis.hbitmapPage = (() => {
  const { swatch } = globalThis.hbitmapChart;
  const { commits } = globalThis.hbitmapData.index;

  /** An element with properties and children. Text goes in as text, never as markup. */
  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const shortHash = (commit) => commits[commit].hash.slice(0, 10);
  const commitText = (commit) => `${shortHash(commit)} ${commits[commit].subject}`;

  /** The axis of a plot over commits: their places, named by hashes. */
  function commitAxis() {
    const last = commits.length - 1;
    return { label: "commit", log: false, domain: last ? [-0.02 * last, last * 1.02] : [-1, 1],
      ticks: d3.range(commits.length), format: (c) => commits[c]?.hash.slice(0, 7) ?? "", gap: 62 };
  }

  /** The two first cells of a commit's row. */
  function commitCells(commit) {
    return [element("th", { scope: "row" }, element("code", { textContent: shortHash(commit) })),
      element("td", { className: "subject", textContent: commits[commit].subject })];
  }

  /** A legend in which lines are shown and hidden: items {key, label, style, more}. */
  function legend(list, items, hidden, toggle) {
    keepFocus(list, () => list.replaceChildren(...items.map((item) => {
      const box = element("input", { type: "checkbox", checked: !hidden.has(item.key) });
      box.addEventListener("change", () => toggle(item.key));
      return element("li", {}, element("label", {}, box, swatch(item.style), ` ${item.label} `,
        element("span", { className: "muted", textContent: item.more })));
    })));
  }

  /** Redraw a group of controls; the focus stays at its place in it. */
  function keepFocus(group, redraw) {
    const controls = () => [...group.querySelectorAll("input, select")];
    const at = controls().indexOf(document.activeElement);
    redraw();
    if (at >= 0) controls()[at]?.focus();
  }

  /** The same set with a key more or less. */
  function toggled(keys, key) {
    const other = new Set(keys);
    if (!other.delete(key)) other.add(key);
    return other;
  }

  document.documentElement.classList.add("js");
  return { element, shortHash, commitText, commitAxis, commitCells, legend, keepFocus, toggled, commits };
})();
