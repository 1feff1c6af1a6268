// The trend of some points: thinned by the node to about a bucket a pixel, drawn with what explains it.

import { call, ns, query } from "./api.js";
import { axis, LEFT, MIN_WIDTH, path, reigns, RIGHT, ticks, whenWider } from "./chart.js";
import { h, svg, Table } from "./dom.js";
import { CAUSES, clock, GAPS, moment, span, value } from "./words.js";

const RANGES = [["10 min", 600e3], ["1 h", 3600e3], ["8 h", 28800e3], ["1 d", 864e5], ["7 d", 6048e5], ["30 d", 2592e6]];
const FOLLOW_MS = 2000, POINTS_MAX = 6, PANEL = 170, SPAN_MIN = 5000, OFFERED = 50, TYPED_MS = 250;

export class Trend {
  constructor(wanted, shell) {
    this.shell = shell;
    this.ids = wanted.split(",").filter(Boolean).slice(0, POINTS_MAX);
    this.span = 600e3;
    this.to = null; // null: follows now
    const tool = (text, act, label) => h("button", { type: "button", "aria-label": label, onclick: act }, text);
    this.ranges = RANGES.map(([text, ms]) => h("button", { type: "button", "aria-pressed": "false",
      onclick: () => { this.span = ms; this.look(); } }, text));
    this.follow = h("button", { type: "button", onclick: () => { this.to = this.to === null ? Date.now() : null; this.look(); } }, "Follow now");
    this.input = h("input", { id: "add", list: "ids", placeholder: "Point to add", "aria-label": "Point to add", autocomplete: "off",
      oninput: () => { clearTimeout(this.later); this.later = setTimeout(() => this.offer(), TYPED_MS); } });
    this.list = h("datalist", { id: "ids" });
    this.chips = h("div", { class: "tools chips" });
    this.told = h("div", { role: "status" });
    this.shown = h("span", { class: "count" });
    this.said = h("span", { class: "heard", role: "status" });
    this.plot = h("div", { tabindex: 0, role: "group", class: "live",
      "aria-label": "Trend. Arrow keys move, plus and minus zoom, End follows now.", onkeydown: (event) => this.key(event) });
    this.readout = h("p", { class: "quiet" }, "Point at the trend for values; drag over it to zoom.");
    this.table = new Table("The same in numbers", [
      { name: "Point", text: (p) => p.point }, { name: "Samples", kind: "n", text: (p) => String(p.count) },
      { name: "Wound back", kind: "n", text: (p) => String(p.wound) },
      { name: "Least", kind: "n", text: (p) => value(p.least) }, { name: "Greatest", kind: "n", text: (p) => value(p.most) },
      { name: "Last", kind: "n", text: (p) => `${value(p.last)} ${p.unit}` }], (p) => p.point, "No point chosen.");
    this.gaps = new Table("What was not polled", [
      { name: "Device", text: (g) => g.device }, { name: "From, UTC", text: (g) => moment(g.from_ns / 1e6) },
      { name: "Length", kind: "n", text: (g) => span((g.to_ns - g.from_ns) / 1e6) }, { name: "Why", text: (g) => CAUSES[g.cause] ?? g.cause },
      { name: "What became of it", kind: "wide", text: (g) => GAPS[g.state] ?? g.state }],
    (g) => `${g.device} ${g.scan_class} ${g.from_ns} ${g.state}`, "Everything in this time was polled.");
    this.element = h("div", {}, h("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); this.add(); } },
      this.input, this.list, h("button", {}, "Add")), this.chips,
    h("div", { class: "tools" }, this.ranges, tool("◀", () => this.move(-0.5), "Earlier"), tool("▶", () => this.move(0.5), "Later"),
      tool("+", () => this.zoom(0.5), "Zoom in"), tool("−", () => this.zoom(2), "Zoom out"), this.follow, this.shown, this.said),
    this.told, this.plot, legend(), this.readout, this.table.element, this.gaps.element);
    this.timer = setInterval(() => this.to === null && !document.hidden && this.load(), FOLLOW_MS);
    this.turned = whenWider(this.plot, () => this.load());
    this.offer();
    this.pick();
  }

  stop() { this.turned.disconnect(); clearInterval(this.timer); clearTimeout(this.later); this.asked?.abort(); }

  async offer() {
    try {
      const found = await call(query("/points", { find: this.input.value.trim(), first: OFFERED }));
      this.list.replaceChildren(...found.map((p) => h("option", { value: p.point })));
    } catch { /* the point's id can be typed as well */ }
  }

  add() {
    const id = this.input.value.trim();
    if (id && !this.ids.includes(id) && this.ids.length < POINTS_MAX) this.ids.push(id);
    this.input.value = "";
    this.pick();
  }

  pick() {
    history.replaceState(null, "", `#trend/${encodeURIComponent(this.ids.join(","))}`);
    this.chips.replaceChildren(...this.ids.map((id, at) => h("button", { type: "button", "aria-label": `Remove ${id}`,
      onclick: () => { this.ids = this.ids.filter((other) => other !== id); this.pick(); this.input.focus(); } }, mark(at), ` ${id} ×`)));
    this.load();
  }

  move(part) { this.to = (this.to ?? Date.now()) + this.span * part; if (this.to >= Date.now()) this.to = null; this.look(); }

  now() { this.to = null; this.look(); }

  // What people chose is said once; that time goes on is not.
  look() { this.asking = true; this.load(); }

  range(from, to) {
    this.shown.textContent = `${moment(from)} to ${moment(to).slice(moment(from).slice(0, 10) === moment(to).slice(0, 10) ? 11 : 0)} UTC`;
    if (this.asking) this.said.textContent = `${this.shown.textContent}${this.to === null ? ", follows now" : ""}`;
    this.asking = false;
  }

  zoom(by) {
    const middle = (this.to ?? Date.now()) - this.span / 2;
    this.span = Math.max(SPAN_MIN, Math.min(366 * 864e5, this.span * by));
    if (this.to !== null) this.to = middle + this.span / 2;
    this.look();
  }

  key(event) {
    const act = { ArrowLeft: () => this.move(-0.25), ArrowRight: () => this.move(0.25), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), End: () => this.now() }[event.key];
    if (act && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); act(); }
  }

  async load() {
    RANGES.forEach(([, ms], at) => this.ranges[at].setAttribute("aria-pressed", String(ms === this.span)));
    this.follow.setAttribute("aria-pressed", String(this.to === null));
    this.asked?.abort();
    if (!this.ids.length) { this.shown.textContent = ""; this.plot.replaceChildren(h("p", { class: "quiet" }, "Add a point above, or choose “Trend” at a point.")); this.table.update([]); this.gaps.update([]); return; }
    const asked = this.asked = new AbortController();
    const to = this.to ?? Date.now(), from = to - this.span;
    this.range(from, to);
    const width = Math.max(MIN_WIDTH, this.plot.clientWidth || 1100);
    try {
      const found = await call(query("/trend", { points: this.ids.join(","), from: ns(from), to: ns(to),
        buckets: Math.min(2000, width - LEFT - RIGHT) }), { signal: asked.signal });
      if (asked === this.asked) { this.told.replaceChildren(); this.draw(found, axis(from, to, width)); }
    } catch (error) {
      if (!asked.signal.aborted) this.told.replaceChildren(h("p", { class: "note bad" }, error.message));
    }
  }

  draw(found, ax) {
    const all = [...found.gaps, ...found.wound_back];
    const devices = [...new Set(found.points.map((p) => p.device))];
    const units = [...new Set(found.points.map((p) => p.unit || p.point))];
    const top = 26, first = top + 26 + devices.length * 20, tall = first + units.length * PANEL + 10;
    const mine = (g, p) => g.device === p.device && (g.scan_class === p.scan || !g.scan_class) && (!g.points.length || g.points.includes(p.point));
    const parts = [...ticks(ax, 14, tall - 10), svg("text", { class: "row", x: LEFT - 10, y: top + 13 }, "Main"), ...reigns(found.reigns, ax, top)];
    devices.forEach((device, at) => {
      const y = top + 24 + at * 20, end = ax.x(found.through_ns / 1e6);
      parts.push(svg("text", { class: "row", x: LEFT - 10, y: y + 11 }, device),
        // Where nobody was Main nothing was polled, and nothing is claimed.
        ...found.reigns.map((r) => [ax.x(r.from_ns / 1e6), Math.min(end, r.to_ns === null ? end : ax.x(r.to_ns / 1e6))])
          .map(([x, till]) => svg("rect", { class: "covered", x, y: y + 3, width: Math.max(0, till - x), height: 8 })),
        ...all.filter((g) => g.device === device).map((g) => stretch(g, ax, y, 14, `g-${g.state}`)));
    });
    units.forEach((unit, at) => {
      const y0 = first + at * PANEL, lines = found.points.filter((p) => (p.unit || p.point) === unit);
      const numbers = lines.flatMap((p) => [...p.min, ...p.max, p.before && Number(p.before.value)]).filter((v) => typeof v === "number" && Number.isFinite(v));
      let [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
      if (low === high) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
      const y = (v) => y0 + 18 + (PANEL - 30) * (1 - (v - low) / (high - low));
      for (const part of [0, 0.5, 1]) {
        const v = low + (high - low) * part;
        parts.push(svg("line", { class: "rule", x1: LEFT, x2: ax.width - RIGHT, y1: y(v), y2: y(v) }),
          svg("text", { class: "row quiet", x: LEFT - 10, y: y(v) + 4 }, value(Number(v.toPrecision(4)))));
      }
      parts.push(svg("text", { x: LEFT + 4, y: y0 + 12 }, lines[0].unit ? `${lines[0].unit}` : lines[0].point));
      const shades = all.filter((g) => lines.some((p) => mine(g, p)));
      parts.push(...shades.map((g) => stretch(g, ax, y0 + 18, PANEL - 30, `shade g-${g.state}`)));
      for (const p of lines) {
        const index = this.ids.indexOf(p.point);
        parts.push(svg("path", { class: `line l${index % 6} dash${index % 3}`, "data-point": p.point,
          d: path(p, found, found.gaps.filter((g) => mine(g, p)), ax, y) }));
      }
    });
    const words = `${found.points.map((p) => p.point).join(", ")} from ${moment(ax.from)} to ${moment(ax.to)} UTC: `
      + `${found.gaps.length} gaps, ${found.wound_back.length} wound-back stretches. Numbers are in the tables below.`;
    const chart = svg("svg", { class: "chart", role: "img", "aria-label": words, "data-from": ax.from, "data-to": ax.to, viewBox: `0 0 ${ax.width} ${tall}` }, parts);
    this.hover(chart, found, ax, tall);
    if (!this.dragging) this.plot.replaceChildren(chart);
    this.gaps.update(all);
    this.table.update(found.points.map((p) => ({ point: p.point, unit: p.unit, count: sum(p.count), wound: sum(p.wound),
      least: p.min.reduce(least, null), most: p.max.reduce(most, null), last: p.last.at(-1) ?? p.before?.value })));
  }

  hover(chart, found, ax, tall) {
    const cursor = svg("line", { class: "cursor", y1: 20, y2: tall }), box = svg("rect", { class: "chosen", y: 20, height: tall - 20 });
    const where = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse()).x;
    const time = (x) => ax.from + (ax.to - ax.from) * Math.max(0, Math.min(1, (x - LEFT) / ax.plot));
    let begun = null;
    chart.addEventListener("pointerdown", (event) => { begun = where(event); this.dragging = true; chart.setPointerCapture(event.pointerId); });
    chart.addEventListener("pointermove", (event) => {
      const x = Math.max(LEFT, Math.min(LEFT + ax.plot, where(event))), ms = time(x);
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); chart.append(cursor);
      if (begun !== null) { box.setAttribute("x", Math.min(begun, x)); box.setAttribute("width", Math.abs(x - begun)); chart.append(box); }
      const bucket = Math.floor((ms - found.from_ns / 1e6) / (found.step_ns / 1e6));
      this.readout.textContent = `${clock(ms, ax.to - ax.from < 6e4)} UTC: ` + found.points.map((p) => {
        const gap = found.gaps.find((g) => g.device === p.device && g.scan_class === p.scan && g.from_ns / 1e6 <= ms && ms < g.to_ns / 1e6);
        if (gap) return `${p.point}: ${GAPS[gap.state]}`;
        const at = p.at.findLastIndex((n) => n <= bucket);
        return `${p.point} ${value(at < 0 ? p.before?.value : p.last[at])} ${p.unit}`;
      }).join(" · ");
    });
    chart.addEventListener("pointerup", (event) => {
      const [from, to] = [time(begun ?? 0), time(where(event))].sort((a, b) => a - b);
      const far = begun !== null && Math.abs(where(event) - begun) > 8;
      begun = null;
      this.dragging = false;
      box.remove();
      if (far) { this.span = Math.max(SPAN_MIN, to - from); this.to = to; this.look(); }
    });
    chart.addEventListener("pointercancel", () => { begun = null; this.dragging = false; box.remove(); });
    chart.addEventListener("pointerleave", () => cursor.remove());
  }
}

const sum = (list) => list.reduce((a, b) => a + b, 0);
const least = (a, b) => (b === null ? a : a === null ? b : Math.min(a, b));
const most = (a, b) => (b === null ? a : a === null ? b : Math.max(a, b));

function stretch(g, ax, y, height, kind) {
  const x = ax.x(g.from_ns / 1e6);
  return svg("rect", { class: kind, "data-state": g.state, "data-device": g.device, x, y, height, width: Math.max(1.5, ax.x(g.to_ns / 1e6) - x) },
    svg("title", {}, `${g.device}: ${CAUSES[g.cause] ?? g.cause}, ${GAPS[g.state] ?? g.state}`));
}

const swatch = (kind) => svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("rect", { class: kind, width: 26, height: 12 }));
const mark = (at) => svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, svg("path", { class: `line l${at % 6} dash${at % 3}`, d: "M0 5H26" }));
const legend = () => h("div", { class: "legend" }, ["open", "filling", "filled", "coarse", "lost"].map((state) =>
  h("span", {}, swatch(`g-${state}`), ` ${GAPS[state]}`)));
