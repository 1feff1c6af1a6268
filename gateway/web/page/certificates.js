// Certificates of this node, and the OPC UA clients that it trusts.

import { call, may, post } from "./api.js";
import { ask, h, Table } from "./dom.js";
import { iso } from "./words.js";

export class Certificates {
  constructor() {
    this.told = h("div");
    this.own = new Table("Certificates of this node", [
      { name: "For", text: (c) => c.purpose }, { name: "Subject", kind: "wide", text: (c) => c.subject },
      { name: "Valid until, UTC", kind: "nowrap", text: (c) => iso(c.expires) }, { name: "SHA-256", kind: "wide", text: (c) => c.sha256 }],
    (c) => c.purpose + c.sha256, "There is none.");
    this.trust = new Table("OPC UA clients", [
      { name: "State", kind: "nowrap", text: (t) => ({ trusted: "● trusted", issuer: "○ issuer", rejected: "■ rejected" })[t.state], look: (t) => (t.state === "rejected" ? "bad" : "good") },
      { name: "Subject", kind: "wide", text: (t) => t.subject }, { name: "Application", kind: "wide", text: (t) => t.uri },
      { name: "Valid until, UTC", kind: "nowrap", text: (t) => iso(t.valid_until) }, { name: "Thumbprint", kind: "wide", text: (t) => t.thumbprint },
      { name: "", text: (t) => t.state, make: (t) => (may("trust") ? h("button", { type: "button", onclick: () => this.change(t) }, t.state === "rejected" ? "Let in…" : "Remove…") : "") }],
    (t) => (t.state === "issuer") + t.thumbprint, "No client asked yet.", true);
    this.element = h("div", {}, this.told, this.own.element, may("disable") ? [h("h2", {}, "Trust list"), this.trust.element] : []);
    this.load();
  }

  async load() {
    try {
      this.own.update(await call("/certificates"));
      if (may("disable")) this.trust.update(await call("/trust"));
    } catch (error) { this.told.replaceChildren(h("p", { class: "note bad" }, error.message)); }
  }

  change(t) {
    const accept = t.state === "rejected";
    ask({ title: accept ? "Let this client in?" : "Remove this certificate?",
      body: [h("p", {}, t.subject), h("p", { class: "quiet" }, t.thumbprint), h("p", {}, accept
        ? "Compare the thumbprint with what the client shows. It may connect from then on." : "The client's connections end at once, and it is let in no more.")],
      yes: accept ? "Let in" : "Remove", done: () => this.load(),
      act: async () => (accept ? await post("/trust", { thumbprint: t.thumbprint }) : await call(`/trust/${t.thumbprint}`, { method: "DELETE" })).done });
  }
}
