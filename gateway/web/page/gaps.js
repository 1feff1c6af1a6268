// What polling did not cover, and how far windback is with it.

import { call, query } from "./api.js";
import { h, Table } from "./dom.js";
import { CAUSES, GAPS, many, moment, span } from "./words.js";

const AGAIN_MS = 3000, SHOWN_MAX = 500, WEEK_MS = 604800000;

export class Gaps {
  constructor() {
    this.reading = new Table("What windback does now", [
      { name: "Device", text: (w) => w.device }, { name: "Open gaps", kind: "n", text: (w) => many(w.open_gaps) },
      { name: "Open for", kind: "n", text: (w) => span(w.open_ms) },
      { name: "Progress", text: (w) => (w.reading ? `${part(w.reading)} %` : w.waits || "nothing to do"),
        make: (w) => (w.reading ? h("span", {}, h("progress", { max: 100, value: part(w.reading), "aria-label": `Windback of ${w.device}` }), ` ${part(w.reading)} %`) : w.waits || "nothing to do") },
      { name: "Samples filled", kind: "n", text: (w) => many(w.samples) },
    ], (w) => w.device, "This node reads no logs: only the Main does, of devices that keep one.", true);
    this.table = new Table("Gaps of the last 7 days, newest first", [
      { name: "Device", text: (g) => g.device }, { name: "Scan class", text: (g) => g.scan_class },
      { name: "From, UTC", kind: "nowrap", text: (g) => moment(g.from_ns / 1e6) },
      { name: "Length", kind: "n", text: (g) => span((g.to_ns - g.from_ns) / 1e6) },
      { name: "Cause", text: (g) => CAUSES[g.cause] ?? g.cause },
      { name: "State", text: (g) => `${{ open: "□", filling: "◧", filled: "■", coarse: "▤", lost: "×" }[g.state] ?? ""} ${GAPS[g.state] ?? g.state}`,
        look: (g) => ({ open: "warn", lost: "bad", filled: "good", coarse: "good" })[g.state] ?? "" },
      { name: "Why", kind: "wide", text: (g) => g.why }],
    (g) => `${g.device} ${g.scan_class} ${g.from_ns} ${g.state} ${g.points.join()}`, "No gap: everything was polled.");
    this.told = h("div");
    this.element = h("div", { class: "live" }, this.told, h("h2", {}, "Windback"), this.reading.element, h("h2", {}, "Gaps"), this.table.element);
    this.timer = setInterval(() => !document.hidden && this.load(), AGAIN_MS);
    this.load();
  }

  stop() { clearInterval(this.timer); }

  async load() {
    const now = Date.now();
    try {
      const [gaps, windback] = await Promise.all([call(query("/gaps", { from: new Date(now - WEEK_MS).toISOString(), to: new Date(now + 60000).toISOString() })), call("/windback")]);
      this.table.update(gaps.sort((a, b) => b.from_ns - a.from_ns).slice(0, SHOWN_MAX));
      this.reading.update(Object.entries(windback).map(([device, found]) => ({ device, ...found })));
      this.told.replaceChildren(gaps.length > SHOWN_MAX ? h("p", { class: "note" }, `The newest ${SHOWN_MAX} of ${gaps.length} are shown.`) : "");
    } catch (error) { this.told.replaceChildren(h("p", { class: "note bad" }, error.message)); }
  }
}

const part = (r) => Math.round(100 * Math.max(0, Math.min(1, (r.through_ns - r.from_ns) / Math.max(1, r.to_ns - r.from_ns))));
