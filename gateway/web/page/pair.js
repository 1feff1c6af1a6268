// The pair: who is Main and why, what joins the nodes, and handing over.

import { call, may, post, query } from "./api.js";
import { ask, facts, h, Table } from "./dom.js";
import { timeline, whenWider } from "./chart.js";
import { Feeds } from "./feeds.js";
import { clock, iso, many, span } from "./words.js";

const RANGE_MS = 86400000, REDRAW_MS = 60000, REIGNS_TOLD = 5;

export class Pair {
  constructor() {
    this.nodes = h("div", { class: "nodes live" });
    this.rest = h("div", { class: "live" });
    this.paused = h("p", { class: "note", hidden: true }, "Paused: roles don't change by themselves. "
      + "If the Main fails, nobody takes over until somebody resumes.");
    this.acts = h("div", { class: "tools", hidden: true });
    this.whyNot = h("span", { id: "why-not", class: "quiet" });
    // Never `disabled`: what is has no focus, and a dialog gives focus back to where it was.
    this.over = h("button", { type: "button", class: "main", id: "changeover", "aria-describedby": "why-not",
      onclick: () => this.why || handOver(this.main, this.standby) }, "Change over…");
    this.hold = h("button", { type: "button", id: "pause", onclick: () => hold(this.isPaused) });
    if (may("changeover")) this.acts.append(this.over, this.hold, this.whyNot);
    this.roles = h("div");
    const up = (link) => (link.up ? "● up" : "■ down");
    this.links = new Table("Links between the nodes", [
      { name: "Link", text: (l) => l.name }, { name: "Kind", text: (l) => l.kind },
      { name: "State", kind: "nowrap", text: up, look: (l) => (l.up ? "good" : "bad") },
      { name: "Since, UTC", kind: "nowrap", text: (l) => iso(l.since) },
      { name: "Round trip", kind: "n", text: (l) => span(l.rtt_ms) },
      { name: "Last heard", kind: "n", text: (l) => span(l.last_heard_age_ms) },
      { name: "Refused because", kind: "wide", text: (l) => l.refused_why },
    ], (l) => l.name, "This node has no link: it runs alone.", true);
    this.witness = new Table("Witness", [
      { name: "Witness", text: (w) => w.name }, { name: "Kind", text: (w) => w.kind },
      { name: "State", kind: "wide", look: (w) => (w.trouble ? "bad" : "good"),
        text: (w) => (w.trouble ? `■ ${w.trouble}. ${w.remedy}` : "● answers") },
      { name: "Owner", text: (w) => w.owner ?? "" },
    ], (w) => w.name, "There is no witness.", true);
    this.feeds = new Feeds();
    this.element = h("div", {}, this.paused, this.nodes, this.acts, h("h2", {}, "Who was Main, last 24 hours"),
      this.roles, h("h2", {}, "Replication"), this.rest, h("h2", {}, "Links"), this.links.element,
      h("h2", {}, "Witness"), this.witness.element, this.feeds.element);
    this.history();
    this.timer = setInterval(() => document.hidden || this.history(), REDRAW_MS);
    this.turned = whenWider(this.roles, () => this.history());
  }

  stop() { clearInterval(this.timer); this.turned.disconnect(); }

  async history() {
    try {
      const found = await call(query("/roles", { limit: 100 }));
      const to = Date.now(), from = to - RANGE_MS;
      const recent = found.reigns.filter((r) => r.to_ns === null || r.to_ns / 1e6 > from);
      const told = [...recent].sort((a, b) => b.from_ns - a.from_ns).slice(0, REIGNS_TOLD)
        .map((r) => `${r.node} ${r.to_ns === null ? "since" : "from"} ${clock(r.from_ns / 1e6)}`
          + `${r.to_ns === null ? "" : ` to ${clock(r.to_ns / 1e6)}`} (${r.why})`);
      this.roles.replaceChildren(timeline(recent, from, to, this.roles.clientWidth),
        h("p", { class: "quiet" }, told.length ? `${told.join("; ")}${recent.length > told.length ? "; …" : ""}` : "Nobody."));
    } catch (error) {
      this.roles.replaceChildren(h("p", { class: "note bad" }, error.message));
    }
  }

  status(s) {
    const roles = `${s.role} ${s.peer?.role}`;
    if (this.seen && this.seen !== roles) this.history();
    this.seen = roles;
    const own = card(s.node, "this node", s.role, s.role_shown, facts([
      ["Why", s.why], ["Since", `${span(s.role_age_ms)} ago`], ["Term", s.term],
      ["Field", s.field], ["Version", s.version], ["OPC UA", s.endpoint],
      ...(s.clock.synchronised === false ? [["Clock", "■ nothing sets this machine's clock"]] : [])]));
    const p = s.peer;
    const peer = p ? card(p.node, "other node", heard(s) ? p.role : "silent",
      heard(s) ? p.role_shown : `${s.peer_view}, was ${p.role_shown}`, facts([
      ["Heard", `${span(p.heard_ms_ago)} ago`], ["Field", p.field], ["Term", p.term],
      ...(heard(s) ? [["Able", p.able ? "yes" : "no"], ["Hears this node", p.hears_this_node ? "yes" : "no"]] : [])]))
      : card("", "other node", s.links.length ? "silent" : "", s.links.length ? "Nothing heard" : "None",
        h("p", {}, s.links.length ? s.peer_view : "This node runs alone."));
    this.nodes.replaceChildren(own, peer);
    const r = s.replication;
    this.rest.replaceChildren(facts(r ? [
      ["Mode", r.mode === r.state ? r.mode : `${r.mode}: ${r.state}`],
      ["Equal by digest", equal(r)],
      ...["sending", "receiving"].map((way) => [way === "sending" ? "Sending" : "Receiving",
        r[way].connected ? `${many(r[way].records_behind)} records behind, lag ${span(r[way].lag_ms)}`
          : "■ not connected"]),
      ["Complete through, UTC",
        s.complete_through ? iso(s.complete_through) : "nothing was polled yet"],
      ["Clocks", s.clocks_apart ? `■ apart by ${span(Math.abs(s.clock_ahead_ms))}` : "● together"],
    ] : [["Replication", "none: this node runs alone"]], "facts"));
    this.links.update(s.links);
    this.witness.update(s.witness);
    this.feeds.status(s);
    this.paused.hidden = !s.paused;
    this.offer(s);
  }

  offer(s) {
    this.acts.hidden = !may("changeover") || !s.links.length;
    const p = heard(s) ? s.peer : null;
    this.main = s.role === "main" ? s.node : p?.role === "main" ? p.node : "";
    this.standby = s.role === "synced" ? s.node : p?.role === "synced" ? p.node : "";
    this.why = !this.main ? "there is no Main" : !this.standby ? "the Standby is not synced" : "";
    this.isPaused = s.paused;
    this.over.setAttribute("aria-disabled", String(!!this.why));
    say(this.whyNot, this.why && `No changeover now: ${this.why}.`);
    say(this.hold, s.paused ? "Resume…" : "Pause…");
  }
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function hold(isPaused) {
  ask({
    title: isPaused ? "Let roles change by themselves again?" : "Stop automatic changes of roles?",
    body: h("p", {}, isPaused ? "If the Main fails, the Standby takes over by itself again."
      : "If the Main fails, nobody takes over until somebody resumes. Nothing else changes."),
    yes: isPaused ? "Resume" : "Pause", act: async () => (await post(isPaused ? "/resume" : "/pause")).done,
  });
}

function handOver(main, standby) {
  ask({
    title: `Hand over from node ${main} to node ${standby}?`,
    body: [h("p", {}, `Node ${standby} becomes Main and polls the devices; node ${main} becomes Standby.`),
      h("p", {}, "No scan is lost and none is doubled. Devices see their connections come from "
        + `node ${standby}. If it can't take over, node ${main} stays Main and says why.`)],
    yes: "Change over", act: async () => (await post("/changeover")).done,
  });
}

/* Whether what the other node last said still holds: it may be silent, or dead. */
const heard = (s) => ["starting", "standby", "main"].includes(s.peer_view);
const equal = (r) => (r.equal === null ? "○ not compared yet" : !r.equal ? "■ different"
  : r.sending.connected || r.receiving.connected ? "● equal" : "○ equal when last compared");
const card = (node, which, role, shown, inner) => h("section", { class: `card ${role}` },
  h("h2", {}, node ? `Node ${node}, ${which}` : which), h("p", { class: "role" }, shown), inner);
