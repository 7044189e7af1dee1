// Plots, drawn as SVG by Observable Plot: lines with markers, intervals, fits and names.
"use strict";

globalThis.hbitmapChart = (() => {
  const SYMBOLS = ["circle", "triangle", "square", "diamond", "star", "wye", "cross"];
  const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
  const COLOURS = 7;
  const NAMED = {
    plain: { colour: "var(--plain)", symbol: "square", dash: "2 3" },
    access: { colour: "var(--access)", symbol: "circle", dash: "" },
    deny: { colour: "var(--deny)", symbol: "triangle", dash: "7 3" },
    "access / deny": { colour: "var(--line-3)", symbol: "diamond", dash: "9 3 2 3" },
  };
  const BAND_ABOVE = 60; // points a line; more bars than that are a hatching, a band is not
  const NARROW = 560; // px

  // ------------------------------------------------------------------ looks

  /** The look of one of several lines: by its name where it has a fixed one, else by its place. */
  function look(name, place) {
    const known = NAMED[String(name).replace(/ \/ plain$/, "")];
    if (known) return known;
    return {
      colour: `var(--line-${place % COLOURS})`,
      symbol: SYMBOLS[place % SYMBOLS.length],
      dash: DASHES[place % DASHES.length],
    };
  }

  /** A piece of line with its marker, for a legend. */
  function swatch(style) {
    const svg = d3.create("svg").attr("class", "swatch").attr("width", 34).attr("height", 14);
    svg.attr("viewBox", "0 -7 34 14").attr("aria-hidden", "true");
    svg.append("line").attr("x2", 34).attr("stroke", style.colour).attr("stroke-width", 2)
      .attr("stroke-dasharray", style.dash || null);
    svg.append("path").attr("transform", "translate(17 0)").attr("fill", style.colour)
      .attr("d", d3.symbol(symbolOf(style), 44)());
    return svg.node();
  }

  function symbolOf(style) {
    return d3[`symbol${style.symbol[0].toUpperCase()}${style.symbol.slice(1)}`];
  }

  // ------------------------------------------------------------------ numbers

  const SECONDS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
  const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
  const COUNTS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1, ""]];

  /** A number with its unit, in four significant digits; `short` for axes, without noughts. */
  function format(value, unit, short = false) {
    if (value === null || value === undefined) return "-";
    const measured = short ? rounded : padded;
    if (unit === "x") return `${measured(value)}x`;
    if (unit === "seconds") return scaled(value, SECONDS, measured);
    if (unit === "bytes") return scaled(value, BYTES, measured);
    return `${scaled(value, COUNTS, rounded)}${unit ? ` ${unit}` : ""}`;
  }

  function scaled(value, steps, digits) {
    if (value === 0) return "0";
    const [factor, name] = stepOf(value, steps);
    return `${digits(value / factor)} ${name}`.trim();
  }

  const stepOf = (value, steps) =>
    steps.find(([factor]) => Math.abs(value) >= factor) ?? steps[steps.length - 1];

  const rounded = (value) => (Math.abs(value) >= 999.95 ? Math.round(value) : Number(value.toPrecision(4)))
    .toLocaleString("en", { maximumFractionDigits: 10 });

  const padded = (value) => (Math.abs(value) >= 999.95 || value === 0 ? rounded(value) : value.toPrecision(4));

  /** A value with its interval. */
  function withInterval(point, unit) {
    const text = format(point.y, unit);
    if (!hasInterval(point)) return text;
    return `${text} [${format(point.low, unit)}, ${format(point.high, unit)}]`;
  }

  function hasInterval(point) {
    return point.low !== null && point.low !== undefined && point.low !== point.high;
  }

  // ------------------------------------------------------------------ scales

  function extent(lines, rules, log) {
    const ends = lines.flatMap((line) => line.points.flatMap((p) => [p.y, p.low, p.high]));
    const all = [...ends, ...rules].filter((v) => Number.isFinite(v) && (!log || v > 0));
    if (!all.length) return log ? [0.1, 1] : [0, 1];
    const [low, high] = d3.extent(all);
    if (!log) return [Math.min(0, low), high > 0 ? high * 1.06 : 1];
    // at least a factor of two and a half, or noise would fill the plot
    const spread = Math.max((2.5 / (high / low)) ** 0.5, 1.15);
    return [low / spread, high * spread];
  }

  /** Powers of the base inside a domain, at most nine; of ten also twice and five times. */
  function logTicks([low, high], base) {
    const powers = Math.log(high / low) / Math.log(base);
    const bases = base === 10 && powers < 2.2 ? [1, 2, 5] : [1];
    const every = Math.max(1, Math.ceil(powers / 9));
    const ticks = [];
    for (let power = Math.floor(Math.log(low) / Math.log(base)); base ** power <= high; power += 1) {
      if (power % every === 0) ticks.push(...bases.map((b) => b * base ** power));
    }
    return ticks.filter((t) => t >= low && t <= high);
  }

  function linearTicks(domain, unit) {
    const factor = unit === "bytes" ? stepOf(domain[1], BYTES)[0] : 1; // round in MiB, not in bytes
    return d3.scaleLinear(domain.map((end) => end / factor), [0, 1]).ticks(6).map((tick) => tick * factor);
  }

  function yTicks(domain, { log, unit }) {
    const ticks = log ? logTicks(domain, unit === "bytes" ? 2 : 10) : [];
    return ticks.length > 1 ? ticks : linearTicks(domain, unit);
  }

  /** Ticks that lie too near to the one before lose their names. */
  function spaced(ticks, position, gap) {
    const kept = [];
    for (const tick of ticks) {
      if (!kept.length || position(tick) - position(kept[kept.length - 1]) >= gap) kept.push(tick);
    }
    return kept;
  }

  // ------------------------------------------------------------------ marks

  function lineMarks(line, domain, yLog, band) {
    const points = line.points.filter((p) => Number.isFinite(p.y) && (!yLog || p.y > 0));
    const barred = points.filter(hasInterval).map((p) => ({ ...p, low: Math.max(p.low, domain[0]) }));
    const { colour, symbol, dash } = line.style;
    const ends = { x: "x", y1: "low", y2: "high", className: "interval" };
    const every = band ? Math.ceil(points.length / 18) : 1; // enough to tell the line by
    return [
      band ? Plot.areaY(barred, { ...ends, fill: colour, fillOpacity: 0.18 })
        : Plot.ruleX(barred, { ...ends, stroke: colour, strokeWidth: 2, strokeOpacity: 0.65 }),
      Plot.line(points, { x: "x", y: "y", stroke: colour, strokeWidth: 2, strokeDasharray: dash, className: "series" }),
      Plot.dot(points.filter((_, i) => i % every === 0), { x: "x", y: "y", fill: colour, symbol, r: 4.2,
        className: "marker" }),
      Plot.line(line.fit ?? [], { x: "x", y: "y", stroke: colour, strokeWidth: 1.5, strokeDasharray: "1 4",
        strokeLinecap: "round", className: "fit" }),
    ];
  }

  const ruleMarks = (rules) => Plot.ruleY(rules, { y: "y", stroke: "var(--rule)", strokeDasharray: "4 4" });

  /** Upon the lines, above the markers of values near the rule. */
  const ruleNames = (rules) => Plot.text(rules, { y: "y", text: "label", frameAnchor: "left", dy: -13, dx: 2,
    textAnchor: "start", lineAnchor: "bottom", fill: "var(--muted)", stroke: "var(--ground)",
    strokeWidth: 4, fontSize: 11, className: "rule-name" });

  /** Names at the last points, moved apart where they would lie upon one another. */
  function nameMarks(lines, y, narrow) {
    const named = lines.filter((l) => l.points.length && (narrow ? l.short : l.name))
      .map((line) => ({ line, last: line.points[line.points.length - 1] }))
      .filter((n) => Number.isFinite(y(n.last.y)))
      .sort((a, b) => y(a.last.y) - y(b.last.y));
    const places = apart(named.map((n) => y(n.last.y)), 14);
    return named.map(({ line, last }, i) => Plot.text([last], {
      x: "x", y: "y", text: () => (narrow ? line.short : line.name), textAnchor: "start", dx: 9,
      dy: places[i] - y(last.y), fill: line.style.colour, stroke: "var(--ground)", strokeWidth: 4,
      fontSize: 12, fontWeight: 600,
    }));
  }

  function apart(wanted, gap) {
    const places = [...wanted];
    for (let round = 0; round < 20; round += 1) {
      for (let i = 1; i < places.length; i += 1) {
        const overlap = gap - (places[i] - places[i - 1]);
        if (overlap > 0) { places[i - 1] -= overlap / 2; places[i] += overlap / 2; }
      }
    }
    return places;
  }

  // ------------------------------------------------------------------ the plot

  /**
   * Draw into `box`, and again whenever its width changes; a new call replaces the plot.
   * spec: lines [{name, short, style, points [{x, y, low, high, tip}], fit}], rules [{y, label}], marked x,
   * seams [x],
   * x {label, log, ticks, format, gap}, y {label, log, unit}, label (for those who can't see it).
   */
  function draw(box, spec) {
    box.spec = spec;
    if (!box.watcher) {
      box.watcher = new ResizeObserver(() => {
        if (Math.abs(box.clientWidth - box.drawnWidth) > 1) render(box);
      });
      box.watcher.observe(box);
      box.addEventListener("keydown", (event) => step(box, event));
      box.addEventListener("blur", () => leave(box));
    }
    render(box);
  }

  function render(box) {
    const width = (box.drawnWidth = box.clientWidth);
    if (!width) return;
    const svg = plot(box.spec, width);
    box.replaceChildren(svg);
    box.svg = svg;
    box.cursor = -1;
    const said = document.createElement("p");
    said.className = "sr-only";
    said.setAttribute("aria-live", "polite");
    box.append(said);
  }

  function plot(spec, width) {
    const narrow = width < NARROW;
    const { x, y, lines } = spec;
    const height = narrow ? 300 : Math.min(440, Math.max(320, width * 0.5));
    const margins = { marginTop: 26, marginBottom: 44, marginLeft: narrow ? 58 : 72,
      marginRight: marginRight(lines, narrow) };
    const rules = (spec.rules ?? []);
    const domain = y.domain ?? extent(lines, rules.map((r) => r.y), y.log);
    const place = (y.log ? d3.scaleLog : d3.scaleLinear)(domain, [height - 44, 26]);
    const points = lines.flatMap((line) => line.points.filter((p) => Number.isFinite(place(p.y))));
    const band = Math.max(0, ...lines.map((l) => l.points.length)) > BAND_ABOVE;
    const ticks = yTicks(domain, y);
    const svg = Plot.plot({
      width, height, ...margins,
      className: "chart",
      ariaLabel: spec.label,
      x: { type: x.log ? "log" : "linear", domain: x.domain, label: null },
      y: { type: y.log ? "log" : "linear", domain, label: null },
      marks: [
        Plot.gridY(ticks, { stroke: "var(--grid)", strokeOpacity: 1 }),
        Plot.axisY(ticks, { text: (v) => format(v, y.unit, true), tickSize: 0,
          fill: "var(--muted)", fontSize: narrow ? 10 : 11 }),
        ...xAxis(x, width - margins.marginLeft - margins.marginRight),
        ...axisNames(x, y),
        ruleMarks(rules),
        Plot.ruleX(spec.seams ?? [], { stroke: "var(--rule)", strokeDasharray: "1 4", className: "seam" }),
        Plot.ruleX(Number.isInteger(spec.marked) ? [spec.marked] : [], { stroke: "var(--rule)", className: "marked" }),
        ...lines.flatMap((line) => lineMarks(line, domain, y.log, band)),
        ruleNames(rules),
        ...nameMarks(lines, place, narrow),
        Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: "tip", maxRadius: 60,
          fill: "var(--surface)", stroke: "var(--border-strong)", fontSize: 12, lineHeight: 1.3,
          lineWidth: narrow ? 20 : 34,
          pathFilter: "none", className: "tip" })),
      ],
    });
    svg.querySelectorAll("style").forEach((style) => style.remove()); // style.css has it: no inline styles
    svg.querySelectorAll("[aria-label]").forEach((part) => part.removeAttribute("aria-label")); // parts have no role
    svg.setAttribute("role", "img");
    svg.points = points;
    return svg;
  }

  function marginRight(lines, narrow) {
    const names = lines.map((line) => (narrow ? line.short : line.name) ?? "");
    return Math.max(26, 16 + Math.max(0, ...names.map((name) => name.length)) * 6.9);
  }

  function xAxis(x, inner) {
    const place = (x.log ? d3.scaleLog : d3.scaleLinear)(x.domain, [0, inner]);
    const named = spaced(x.ticks, place, x.gap);
    const marked = x.ticks.length * 3 < inner ? x.ticks : named;
    return [
      Plot.axisX(marked, { text: null, tickSize: 5, stroke: "var(--border-strong)", label: null }),
      Plot.axisX(named, { text: x.format, tickSize: 0, tickPadding: 9, fill: "var(--muted)",
        fontSize: 11, label: null }),
    ];
  }

  function axisNames(x, y) {
    const look_ = { fill: "var(--muted)", fontSize: 11.5 };
    return [
      Plot.text([`↑ ${y.label}`], { frameAnchor: "top-left", dy: -22, dx: -50, textAnchor: "start", ...look_ }),
      Plot.text([`${x.label} →`], { frameAnchor: "bottom-right", dy: 40, textAnchor: "end", ...look_ }),
    ];
  }

  // ------------------------------------------------------------------ by keyboard

  const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

  /** Left and right go along the points of a line, up and down to another one's; all are told. */
  function step(box, event) {
    const points = box.svg?.points ?? [];
    if (!points.length) return;
    if (event.key === "Escape") return leave(box);
    let to;
    if (event.key in STEPS) to = along(box, points, STEPS[event.key]);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") to = across(box, points, event.key);
    else return;
    event.preventDefault();
    if (to !== undefined) show(box, points, to);
  }

  function along(box, points, by) {
    if (box.cursor < 0 && Math.abs(by) === 1) return by > 0 ? 0 : points.length - 1;
    return Math.min(points.length - 1, Math.max(0, box.cursor + by));
  }

  function across(box, points, key) {
    const here = points[Math.max(0, box.cursor)];
    const same = points.map((p, i) => [p, i]).filter(([p]) => p.x === here.x)
      .sort(([a], [b]) => a.y - b.y);
    const at = same.findIndex(([p]) => p === here) + (key === "ArrowUp" ? 1 : -1);
    return same[Math.min(same.length - 1, Math.max(0, at))]?.[1];
  }

  function show(box, points, to) {
    box.cursor = to;
    const point = points[to];
    const frame = box.svg.getBoundingClientRect();
    const [x, y] = [box.svg.scale("x").apply(point.x), box.svg.scale("y").apply(point.y)];
    box.svg.dispatchEvent(new PointerEvent("pointermove", {
      clientX: frame.left + x, clientY: frame.top + y, pointerType: "mouse", bubbles: true,
    }));
    box.querySelector("[aria-live]").textContent = point.tip;
  }

  function leave(box) {
    box.cursor = -1;
    box.svg?.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" }));
  }

  return { draw, look, swatch, format, withInterval, hasInterval };
})();
