// Devices: how each fares.

import { may, post } from "./api.js";
import { ask, facts, Filter, h, Table } from "./dom.js";
import { inOrder, iso, many, span, state } from "./words.js";

export class Devices {
  constructor(_, shell) {
    this.shell = shell;
    this.whole = true; // of the status its devices, too
    this.filter = new Filter("Filter devices by name, line or state", "Filter devices", () => this.narrow());
    this.found = [];
    const word = (d) => state(d.state);
    this.table = new Table("Devices", [
      { name: "Device", text: (d) => d.id, make: (d) => h("button", { type: "button", class: "name",
        onclick: () => this.open(d.id) }, d.id) },
      { name: "State", kind: "nowrap", text: (d) => word(d)[0], look: (d) => word(d)[1] },
      { name: "Open gaps", kind: "n", text: (d) => (d.open_gaps ? `▲ ${many(d.open_gaps)}` : "0"),
        look: (d) => (d.open_gaps ? "warn" : "") },
      { name: "Last scan", kind: "n", text: (d) => (d.last_scan_age_ms === null ? "" : `${span(d.last_scan_age_ms)} ago`) },
      { name: "Requests/s", kind: "n", text: (d) => this.rate(d) },
      { name: "Time-outs", kind: "n", text: (d) => many(d.timeouts) },
      { name: "Half within", kind: "n", text: (d) => span(d.rtt_p50_ms) },
      { name: "95 % within", kind: "n", text: (d) => span(d.rtt_p95_ms) },
      { name: "Points", kind: "n", text: (d) => many(d.points) },
      { name: "Samples", kind: "n less", text: (d) => many(d.samples) },
      { name: "Line", kind: "less", text: (d) => d.line },
    ], (d) => d.id, "No device fits.", true);
    this.table.scroll.classList.add("live");
    this.before = new Map();
    this.element = h("div", {}, this.filter.element, this.table.element);
  }

  rate(d) {
    return d.per_s === undefined ? "" : d.per_s.toFixed(1);
  }

  status(s) {
    const now = Date.parse(s.now);
    const rows = Object.entries(s.devices).map(([id, found]) => ({ id, ...found }))
      .sort((a, b) => inOrder(a.id, b.id));
    for (const row of rows) {
      const held = this.before.get(row.id);
      if (held && now > held.now) row.per_s = Math.max(0, (row.requests - held.requests) / (now - held.now) * 1000);
      else if (held) row.per_s = held.per_s;
      this.before.set(row.id, { now, requests: row.requests, per_s: row.per_s });
    }
    this.found = rows;
    this.narrow();
  }

  narrow() {
    const wanted = this.filter.text;
    const fit = this.found.filter((d) => `${d.id} ${d.line} ${d.state}`.toLowerCase().includes(wanted));
    this.filter.tell(`${fit.length} of ${this.found.length}`);
    this.table.update(fit);
  }

  open(id) {
    const d = this.found.find((found) => found.id === id);
    const disabled = d.state === "disabled";
    const why = h("input", { id: "why", maxlength: 500, required: true });
    ask({
      title: id,
      body: facts([["State", state(d.state)[0]], ["Why", d.why], ["Down since", iso(d.down_since)],
        ["Driver", d.driver], ["Line", d.line], ["Scans", many(d.scans)], ["Overruns", many(d.overruns)],
        ["Requests", many(d.requests)], ["Replies", many(d.replies)], ["Time-outs", many(d.timeouts)],
        ["Invalid replies", many(d.invalid_replies)], ["Link failures", many(d.link_failures)],
        ...Object.entries(d.exceptions).map(([name, n]) => [`Exception ${name}`, many(n)]),
        ["Last error", d.last_error], ["At", iso(d.last_error_at)], ...Object.entries(d.notes)]),
      input: may("disable") ? h("p", {}, h("label", { for: "why" },
        disabled ? "Enable it, because" : "Disable it (it is not polled; its points turn Bad), because"), why) : null,
      yes: may("disable") ? (disabled ? "Enable" : "Disable") : "",
      act: async () => (await post("/maintenance",
        { action: disabled ? "enable" : "disable", target: id, why: why.value })).done,
    });
  }
}
