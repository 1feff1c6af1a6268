// Points with their live values: only the rows in sight are elements, and of a site with very many
// points only the first that fit are sent: then the node filters.

import { may, post } from "./api.js";
import { ask, facts, Filter, h } from "./dom.js";
import { inOrder, many, moment, quality, value } from "./words.js";

const ROW = 46, SPARE = 8, ALL_MAX = 5000, FIRST = 1000, TYPED_MS = 400;

export class Points {
  constructor(wanted, shell) {
    this.shell = shell;
    this.points = new Map();
    this.shown = [];
    this.rows = new Map();
    this.fits = 0;
    this.large = (shell.status()?.points ?? 0) > ALL_MAX;
    this.filter = new Filter("Filter points by id, unit or status", "Filter: id, unit or status", () => this.narrow(), wanted);
    this.above = h("tr", { class: "space", "aria-hidden": "true" }, h("td", { colspan: 5 }));
    this.below = this.above.cloneNode(true);
    this.body = h("tbody", {}, this.above, this.below);
    this.table = h("table", { "aria-label": "Points" }, h("thead", {}, h("tr", {},
      [["Point", "id"], ["Value", "value"], ["Unit", "unit"], ["Status", "status"], ["Changed, UTC", "time"]]
        .map(([name, kind]) => h("th", { scope: "col", class: `c-${kind}` }, name)))), this.body);
    this.window = h("div", { class: "window live", tabindex: 0, role: "region",
      "aria-label": "Points, live. Arrow keys move, Enter opens a point.",
      onscroll: () => this.draw(), onkeydown: (event) => this.key(event) }, this.table);
    this.told = h("div");
    this.element = h("div", {}, this.filter.element, this.told, this.window);
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this.window);
  }

  stop() { this.sized.disconnect(); clearTimeout(this.later); }

  stream() {
    return `/live?${new URLSearchParams({ points: "*", find: this.large ? this.filter.text : "",
      first: this.large ? FIRST : ALL_MAX, every_ms: 250 })}`;
  }

  narrow() {
    if (this.large) { clearTimeout(this.later); this.later = setTimeout(() => this.shell.listen(), TYPED_MS); }
    this.window.scrollTop = 0;
    this.choose();
  }

  hear(name, data) {
    if (name === "refused") { this.told.replaceChildren(h("p", { class: "note bad" }, data.why)); return; }
    if (name === "snapshot") {
      this.points.clear();
      this.fits = data.fits;
      if (!this.large && data.fits > ALL_MAX) { this.large = true; this.shell.listen(); }
      this.told.replaceChildren(this.large ? h("p", { class: "note" }, this.limits()) : "");
    }
    for (const point of data.points) this.points.set(point.point, point);
    if (name === "snapshot" || this.filter.text) this.choose();
    else this.draw(new Set(data.points.map((point) => point.point)));
  }

  limits() {
    const few = this.fits > FIRST ? ` The first ${many(FIRST)} of ${many(this.fits)} that fit are shown: filter to see others.` : "";
    return `This site has so many points that the node filters them, by id and unit.${few}`;
  }

  choose() {
    const wanted = this.filter.text;
    this.shown = [...this.points.values()]
      .filter((p) => !wanted || `${p.point} ${p.unit} ${p.status}`.toLowerCase().includes(wanted))
      .map((p) => p.point).sort(inOrder);
    this.filter.tell(`${many(this.shown.length)} of ${many(this.fits)}`);
    this.table.setAttribute("aria-rowcount", this.shown.length + 1);
    this.draw();
  }

  draw(fresh = new Set()) {
    const first = Math.max(0, Math.floor(this.window.scrollTop / ROW) - SPARE);
    const last = Math.min(this.shown.length, Math.ceil((this.window.scrollTop + this.window.clientHeight) / ROW) + SPARE);
    for (const [at, row] of this.rows) if (at < first || at >= last) { row.line.remove(); this.rows.delete(at); }
    this.above.firstChild.height = first * ROW;
    this.below.firstChild.height = (this.shown.length - last) * ROW;
    let before = this.above;
    for (let at = first; at < last; at++) {
      const point = this.points.get(this.shown[at]);
      let row = this.rows.get(at);
      if (!row) { row = this.make(at); this.rows.set(at, row); }
      if (before.nextSibling !== row.line) before.after(row.line);
      before = row.line;
      this.fill(row, point, fresh.has(point.point));
    }
  }

  make(at) {
    const name = h("button", { type: "button", class: "name", tabindex: -1, onclick: () => this.open(row.id) });
    const cells = ["value", "", "", ""].map((kind) => h("td", { class: kind }));
    const row = { name, cells, id: "", told: "" };
    row.line = h("tr", { "aria-rowindex": at + 2 }, h("td", {}, name), cells);
    return row;
  }

  fill(row, point, fresh) {
    const told = `${point.point}\0${point.value}\0${point.status}\0${point.source_time_ns}`;
    if (row.told === told) return;
    row.told = told;
    row.id = point.point;
    row.name.textContent = point.point;
    const q = quality(point.status);
    const text = point.label ? `${point.label} (${value(point.value)})` : value(point.value);
    [text, point.unit, q.text, point.source_time_ns ? moment(point.source_time_ns / 1e6).slice(11) : "–"]
      .forEach((word, index) => { row.cells[index].textContent = word; });
    row.cells[2].className = q.look;
    row.line.classList.toggle("fresh", fresh);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.window.clientHeight / ROW) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[event.key];
    if (!step || !this.shown.length) return;
    event.preventDefault();
    const now = [...this.rows].find(([, row]) => row.name === document.activeElement)?.[0] ?? -1;
    const at = Math.max(0, Math.min(this.shown.length - 1, now + step));
    const top = at * ROW, tall = this.window.clientHeight - ROW * 2;
    if (top < this.window.scrollTop) this.window.scrollTop = top;
    else if (top > this.window.scrollTop + tall) this.window.scrollTop = top - tall;
    this.draw();
    this.rows.get(at)?.name.focus({ preventScroll: true });
  }

  open(id) {
    const p = this.points.get(id);
    const writable = p.access !== "r" && may("write");
    const input = h("input", { id: "new", required: true, autocomplete: "off" });
    const sure = h("input", { type: "checkbox", id: "sure", required: true });
    ask({
      title: id,
      body: [facts([["Value when opened", `${value(p.value)} ${p.unit}`], ["Means", p.label ?? ""], ["Status", quality(p.status).text],
        ["Changed", p.source_time_ns ? `${moment(p.source_time_ns / 1e6)} UTC` : "never"],
        ["Type", p.type], ["Access", { r: "read only", w: "write only", rw: "read and write" }[p.access]], ["Scan", p.scan]]),
      h("p", {}, h("a", { href: `#trend/${encodeURIComponent(id)}`,
        onclick: (event) => event.target.closest("dialog").close() }, "Trend"))],
      input: writable ? [h("p", {}, h("label", { for: "new" }, `New value${p.unit ? ` in ${p.unit}` : ""} (${p.type})`), input),
        h("p", { class: "sure" }, sure, h("label", { for: "sure" }, "Yes, write this to the device now"))] : null,
      yes: writable ? "Write" : "",
      act: () => write(p, input.value.trim()),
    });
  }
}

async function write(p, text) {
  const found = await post("/write", `{"point":${JSON.stringify(p.point)},"value":${literal(p.type, text)}}`);
  const good = found.status.startsWith("Good");
  return { again: !good, kind: good ? "good" : "bad", text: good
    ? `● Written; read back ${`${value(found.read_back)} ${p.unit}`.trim()}. ${found.detail}`
    : `■ Not written: ${found.status}. ${found.detail}` };
}

// Digits go as they were typed, so that 64-bit integers arrive exact.
export function literal(type, text) {
  if (type === "bool") {
    if (/^(true|1|on)$/i.test(text)) return "true";
    if (/^(false|0|off)$/i.test(text)) return "false";
    throw new Error("A bool is true or false");
  }
  if (/^(u?int|float)/.test(type)) {
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return text;
    throw new Error(`"${text}" is no number: write digits with a point, like 4.5`);
  }
  return JSON.stringify(text);
}
