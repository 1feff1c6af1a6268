// Alarms and events, newest first, as they are journalled.

import { call, query } from "./api.js";
import { h, Table } from "./dom.js";
import { iso, severity } from "./words.js";

const SHOWN_MAX = 500, DAY_MS = 86400000;

export class Events {
  constructor() {
    this.events = [];
    this.filter = h("input", { type: "search", "aria-label": "Filter events", placeholder: "Filter events", oninput: () => this.draw() });
    this.table = new Table("Events of the last 24 hours, newest first", [
      { name: "Time, UTC", kind: "nowrap", text: (e) => iso(e.time) },
      { name: "Severity", kind: "nowrap", text: (e) => `${severity(e.severity)[0]} ${e.severity}`, look: (e) => severity(e.severity)[1] },
      { name: "Source", text: (e) => e.source }, { name: "Event", kind: "wide", text: (e) => e.text }],
    (e) => `${e.time} ${e.source} ${e.text}`, "No event fits.");
    this.told = h("div");
    this.element = h("div", {}, h("div", { class: "tools" }, this.filter), this.told, this.table.element);
    this.load();
  }

  async load() {
    const now = Date.now();
    try {
      const found = await call(query("/events", { from: new Date(now - DAY_MS).toISOString(), to: new Date(now + 60000).toISOString() }));
      this.take(found);
    } catch (error) { this.told.replaceChildren(h("p", { class: "note bad" }, error.message)); }
  }

  hear(name, data) {
    if (name !== "events") return;
    if (data.lost) this.load();
    this.take(data.events);
  }

  take(found) {
    this.events = [...this.events, ...found].sort((a, b) => (a.time < b.time ? 1 : -1)).slice(0, SHOWN_MAX * 2);
    this.draw();
  }

  draw() {
    const wanted = this.filter.value.toLowerCase();
    this.table.update(this.events.filter((e) => `${e.source} ${e.text}`.toLowerCase().includes(wanted)).slice(0, SHOWN_MAX));
  }
}
