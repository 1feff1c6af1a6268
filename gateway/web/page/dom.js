// Elements, tables, dialogs. Every text is put in as text: nothing here reads HTML.

export function h(name, attributes, ...children) {
  return dress(document.createElement(name), attributes, children);
}

export function svg(name, attributes, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function facts(pairs, kind = "") {
  const shown = pairs.filter((pair) => pair && pair[1] !== "" && pair[1] !== null);
  return h("dl", { class: kind || null },
    shown.map(([name, value]) => kind
      ? h("div", {}, h("dt", {}, name), h("dd", {}, value))
      : [h("dt", {}, name), h("dd", {}, value)]));
}

// A table whose rows keep their elements, so that focus and reading position survive an update.
// columns: {name, text(row), kind?: "n" | "wide", look?(row), make?(row)}; kind "less": not on a
// narrow screen. `heard`: the caption is for screen readers only, because a heading says the same.
export class Table {
  constructor(caption, columns, key, empty = "None.", heard = false) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.body = h("tbody");
    this.empty = h("p", { class: "quiet" }, empty);
    this.scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
      h("table", {}, h("caption", { class: heard ? "heard" : null }, caption),
        h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.kind },
          column.name || h("span", { class: "heard" }, "What to do"))))),
        this.body));
    this.element = h("div", {}, this.scroll, this.empty);
  }

  update(rows) {
    const seen = new Set();
    let at = this.body.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      if (seen.has(key)) continue;
      seen.add(key);
      let held = this.rows.get(key);
      if (!held) {
        held = { line: h("tr"), cells: this.columns.map((c) => h("td", { class: c.kind })), told: [] };
        held.line.append(...held.cells);
        this.rows.set(key, held);
      }
      this.columns.forEach((column, index) => {
        const text = column.text(row);
        const look = column.look?.(row) ?? "";
        if (held.told[index] === text + "\0" + look) return;
        held.told[index] = text + "\0" + look;
        const cell = held.cells[index], focused = cell.contains(document.activeElement);
        cell.replaceChildren(column.make ? column.make(row) : text);
        cell.className = `${column.kind ?? ""} ${look}`.trim();
        if (focused) (cell.querySelector("button") ?? this.scroll).focus();
      });
      if (at === held.line) at = at.nextSibling;
      else this.body.insertBefore(held.line, at);
    }
    for (const [key, held] of this.rows) {
      if (seen.has(key)) continue;
      const focused = held.line.contains(document.activeElement);
      held.line.remove();
      if (focused) this.scroll.focus();
      this.rows.delete(key);
    }
    this.scroll.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
  }
}

const SAID_AFTER_MS = 800;

// A field that narrows a list. How much fits is seen at once, and heard when typing has paused:
// what live values change of it is not said.
export class Filter {
  constructor(name, placeholder, narrow, value = "") {
    this.input = h("input", { type: "search", "aria-label": name, placeholder, value,
      oninput: () => { this.typed = true; narrow(); } });
    this.count = h("span", { class: "count" });
    this.said = h("span", { class: "heard", role: "status" });
    this.element = h("div", { class: "tools" }, this.input, this.count, this.said);
  }

  get text() { return this.input.value.trim().toLowerCase(); }

  tell(count) {
    if (this.count.textContent !== count) this.count.textContent = count;
    if (!this.typed) return;
    this.typed = false;
    clearTimeout(this.later);
    this.later = setTimeout(() => { this.said.textContent = this.count.textContent; }, SAID_AFTER_MS);
  }
}

// Ask before something is done. `act` does it; what it returns is shown, what it throws as well.
// Focus begins at the field to fill, or where nothing happens yet, and goes back where it was.
export function ask({ title, body, yes, act, input = null, kind = "main", done = null }) {
  const goBack = wayBack(document.activeElement);
  const told = h("div", { role: "alert" });
  const go = h("button", { type: "submit", class: kind }, yes);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { onsubmit: submit }, h("h2", { id: "ask-title" }, title), body, input,
    told, h("div", { class: "tools" }, yes ? go : null, close));
  const dialog = h("dialog", { "aria-labelledby": "ask-title" }, form);
  if (!yes) close.textContent = "Close";
  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    told.replaceChildren(h("p", { class: "quiet" }, "Asked; waiting for the answer…"));
    try {
      const answer = await act();
      told.replaceChildren(h("p", { class: `note ${answer.kind ?? "good"}` }, answer.text ?? answer));
      if (answer.again) go.disabled = false; else { go.remove(); close.textContent = "Close"; close.focus(); }
      done?.();
    } catch (error) {
      told.replaceChildren(h("p", { class: "note bad" }, error.message));
      go.disabled = false;
    }
  }
  dialog.addEventListener("close", () => { dialog.remove(); goBack(); });
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("input") ?? close).focus();
  return dialog;
}

// To where focus was; if what was done took that away, to what is in its place, or the nearest part left.
function wayBack(from) {
  const [cell, table] = [from?.closest("td"), from?.closest(".scroll")];
  return () => {
    const wanted = [from, cell?.querySelector("button"), table, document.getElementById("content")];
    for (const element of wanted.filter((found) => found?.isConnected)) {
      element.focus();
      if (document.activeElement === element) return;
    }
  };
}
