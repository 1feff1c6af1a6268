// News of the node: one stream a tab, read piece by piece so that keep-alives count, and a watch
// that says at once when there is none. Old values are never shown as if they were live.

import { parsed, session } from "./api.js";

export const SILENT_MS = 5000; // the node sends something each 2 s
const AGAIN_MS = 1500;

export const news = { state: "waiting", last_ms: null, why: "", heard: new Set() };
export function tell(state, why = "") {
  const before = news.state;
  if (state === "live") news.last_ms = Date.now();
  news.state = state;
  news.why = why;
  for (const heard of news.heard) heard(before !== state);
}

export class Stream {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.ended = false;
    this.run();
  }

  stop() {
    this.ended = true;
    this.cut?.abort();
  }

  async run() {
    while (!this.ended) {
      let why = "the node ended the stream";
      try {
        await this.once();
      } catch (error) {
        if (error.status === 401) { session.onout(); return; }
        why = error.status ? error.message : this.silent ? "the node is silent" : "the connection broke";
        if (error.status === 422) this.on("refused", { why });
      }
      if (this.ended) return;
      tell("stale", why);
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    }
  }

  async once() {
    this.cut = new AbortController();
    this.silent = false;
    let watch;
    const heard = () => {
      clearTimeout(watch);
      watch = setTimeout(() => { this.silent = true; this.cut.abort(); }, SILENT_MS);
    };
    heard();
    try {
      const answer = await fetch(`/api/v1${this.path}`, { signal: this.cut.signal });
      if (!answer.ok) {
        let told = {};
        try { told = await answer.json(); } catch { /* the status will do */ }
        throw Object.assign(new Error(told.detail ?? `the node answered ${answer.status}`),
          { status: answer.status });
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.ended) return;
        heard();
        tell("live");
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) this.take(part);
      }
    } finally {
      clearTimeout(watch);
      this.cut.abort();
    }
  }

  take(part) {
    let name = "", data = "";
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (name === "bye") session.onout();
    else if (name) this.on(name, parsed(data));
  }
}
