// Revisions of the configuration, and what each changed.

import { call, may, post, query } from "./api.js";
import { ask, h, Table } from "./dom.js";
import { iso } from "./words.js";

export class Revisions {
  constructor() {
    this.told = h("div");
    this.difference = h("section");
    this.table = new Table("The newest revisions", [
      { name: "Revision", text: (r) => r.reference }, { name: "State", kind: "nowrap", text: (r) => (r.running ? "● runs" : r.state === "head" ? "newest" : r.state) },
      { name: "At, UTC", kind: "nowrap", text: (r) => iso(r.at) }, { name: "Who", text: (r) => r.who },
      { name: "Points", kind: "n", text: (r) => String(r.points) }, { name: "Changed", kind: "wide", text: (r) => r.changed },
      { name: "", text: (r) => `${r.before}${r.running}`, make: (r) => h("div", { class: "tools" }, may("revise") && r.before
        ? h("button", { type: "button", onclick: () => this.show(r) }, "Differences") : null, may("revise") && !r.running
        ? h("button", { type: "button", onclick: () => this.back(r) }, "Go back…") : null) }],
    (r) => r.reference);
    this.element = h("div", {}, this.told, this.table.element, this.difference);
    this.load();
  }

  async load() {
    try { this.table.update(await call("/revisions")); } catch (error) { this.told.replaceChildren(h("p", { class: "note bad" }, error.message)); }
  }

  async show(r) {
    try {
      const found = await call(query("/revisions/differences", { old: r.before, new: r.reference }));
      const title = h("h2", { tabindex: -1 }, `What revision ${r.reference} changed of ${r.before}`);
      this.difference.replaceChildren(title, ...found.map((file) => h("div", {}, h("h3", {}, file.file),
        h("pre", { class: "diff", tabindex: 0, role: "region", "aria-label": `Difference of ${file.file}` }, file.difference.split("\n").map((line) => h("span", { class: { "+": "add", "-": "del", "@": "at" }[line[0]] }, line || " "))))));
      title.focus();
    } catch (error) { this.difference.replaceChildren(h("p", { class: "note bad" }, error.message)); }
  }

  back(r) {
    ask({ title: `Make the texts of revision ${r.reference} the next revision?`,
      body: h("p", {}, "Both nodes check them first. Devices whose settings change are connected anew; nothing else is touched."),
      yes: "Go back", act: async () => {
        const found = await post("/revisions/rollback", { reference: r.reference });
        return found.number ? `Revision ${found.number} was committed. ${found.changes.join("; ")}` : { kind: "bad", text: found.problems.join("; ") || "Nothing to change." };
      }, done: () => this.load() });
  }
}
