// Alarms and events, newest first, as they are journalled.

import { call, query } from "./api.js";
import { Filter, h, Table } from "./dom.js";
import { iso, severity } from "./words.js";

const SHOWN_MAX = 500, DAY_MS = 86400000;

export class Events {
  constructor() {
    this.events = [];
    this.filter = new Filter("Filter events by source or text", "Filter events", () => this.draw());
    this.table = new Table("Events of the last 24 hours, newest first", [
      { name: "Time, UTC", kind: "nowrap", text: (e) => iso(e.time) },
      { name: "Severity", kind: "nowrap", text: (e) => `${severity(e.severity)[0]} ${e.severity}`, look: (e) => severity(e.severity)[1] },
      { name: "Source", text: (e) => e.source }, { name: "Event", kind: "wide", text: (e) => e.text }],
    (e) => `${e.time} ${e.source} ${e.text}`, "No event fits.");
    this.told = h("div");
    this.element = h("div", {}, this.filter.element, this.told, this.table.element);
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
    const wanted = this.filter.text;
    const fit = this.events.filter((e) => `${e.source} ${e.text}`.toLowerCase().includes(wanted));
    this.filter.tell(`${Math.min(fit.length, SHOWN_MAX)} of ${this.events.length}`);
    this.table.update(fit.slice(0, SHOWN_MAX));
  }
}
