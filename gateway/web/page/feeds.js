// The northbound feeds: how far each broker or database is behind, and what hinders it.

import { h, Table } from "./dom.js";
import { iso, many, span } from "./words.js";

const KINDS = { mqtt: "MQTT Sparkplug B", postgres: "PostgreSQL" };
const STATES = { delivering: ["● delivering", "good"], connecting: ["○ connecting", "warn"],
  "waiting for host": ["▲ waiting for host", "warn"], failing: ["■ failing", "bad"],
  standby: ["○ standby", "quiet"] };
const state = (f) => STATES[f.state] ?? [f.state, ""];
const behind = (f) => (f.records_behind === null ? "the Main knows"
  : f.records_behind === 0 ? "nothing"
    : `${many(f.records_behind)} records${f.lag_s === null ? "" : `, ${span(f.lag_s * 1000)}`}`);
const trouble = (f) => [
  f.skipped ? `▲ ${many(f.skipped)} records skipped (see Events)` : "",
  f.last_error ? `${many(f.failures)} failures, last at ${iso(f.last_error_at)} UTC: ${f.last_error}` : "",
].filter(Boolean).join("; ") || "none";

export class Feeds {
  constructor() {
    this.table = new Table("Northbound feeds", [
      { name: "Feed", kind: "nowrap", text: (f) => KINDS[f.name] ?? f.name },
      { name: "Where", kind: "wide", text: (f) => (f.insecure ? `${f.where} ▲ without TLS` : f.where),
        look: (f) => (f.insecure ? "warn" : "") },
      { name: "State", kind: "nowrap", text: (f) => state(f)[0], look: (f) => state(f)[1] },
      { name: "Behind", kind: "n", text: behind },
      { name: "Delivered", kind: "n", text: (f) => `${many(f.samples)} samples` },
      { name: "Trouble", kind: "wide", text: trouble, look: (f) => (f.skipped ? "warn" : "") },
    ], (f) => f.name, "No feed is configured: OPC UA and this node's history are all there is.", true);
    this.table.scroll.classList.add("live");
    this.element = h("section", { id: "feeds" }, h("h2", {}, "Northbound feeds"), this.table.element);
  }

  status(s) {
    this.table.update(Object.entries(s.northbound).map(([name, found]) => ({ name, ...found })));
  }
}
