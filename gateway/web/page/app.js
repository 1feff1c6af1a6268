// The page: log-in, what is shown where, and whether it is news.

import { call, post, session } from "./api.js";
import { h } from "./dom.js";
import { news, Stream, tell } from "./live.js";
import { clock } from "./words.js";
import { Certificates } from "./certificates.js";
import { Devices } from "./devices.js";
import { Events } from "./events.js";
import { Gaps } from "./gaps.js";
import { Pair } from "./pair.js";
import { Points } from "./points.js";
import { Revisions } from "./revisions.js";
import { Trend } from "./trend.js";

const VIEWS = { pair: ["Pair", Pair], devices: ["Devices", Devices], points: ["Points", Points],
  trend: ["Trend", Trend], events: ["Events", Events], gaps: ["Gaps", Gaps],
  revisions: ["Revisions", Revisions], certificates: ["Certificates", Certificates] };
const STATUS_MS = 2000;
const byId = (id) => document.getElementById(id);
const content = byId("content");
let view = null, stream = null, timer = null, status = null, asking = false;

session.onout = () => {
  if (session.me) out(news.state === "stale" ? "The node answers again. Log in to go on." : "You were logged out.");
};
byId("skip").addEventListener("click", (event) => { event.preventDefault(); content.focus(); });
byId("logout").addEventListener("click", async () => {
  try { await post("/logout"); out(""); } catch (error) { notice(error.message, "bad"); }
});
addEventListener("hashchange", () => session.me && show());
document.addEventListener("visibilitychange", () => {
  if (!session.me) return;
  if (document.hidden) { stream?.stop(); tell("waiting", "not listening while the page is hidden"); }
  else { listen(); look(); }
});
news.heard.add(drawNews);

function drawNews(changed) {
  document.body.classList.toggle("stale", news.state === "stale");
  document.body.classList.toggle("waiting", news.state === "waiting");
  const last = news.last_ms ? clock(news.last_ms) : "never";
  const text = news.state === "live" ? "Live"
    : news.state === "waiting" ? "Waiting for news…"
      : `Not live: ${news.why}. Last news ${last} UTC`;
  if (changed || byId("news").textContent !== text) byId("news").textContent = text;
  if (changed && news.state === "stale") byId("who-main").textContent = "○ role unknown";
}

function notice(text, kind = "", link = null) {
  const told = text ? [h("p", { class: `note ${kind}` }, text, link ? " " : null, link)] : [];
  if (byId("notice").textContent !== (told[0]?.textContent ?? "")) byId("notice").replaceChildren(...told);
}

function out(why) {
  session.me = null;
  status = null;
  stream?.stop();
  clearInterval(timer);
  view?.stop?.();
  view = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  byId("top").hidden = true;
  notice("");
  document.body.className = "";
  logIn(why);
}

function logIn(why) {
  const user = h("input", { id: "name", autocomplete: "username", required: true, maxlength: 64 });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password",
    required: true, maxlength: 1024 });
  const told = h("p", { role: "alert", class: why ? "note" : "" }, why);
  const go = h("button", { class: "main" }, "Log in");
  content.replaceChildren(h("form", { class: "login", onsubmit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      session.me = await call("/login", { method: "POST",
        body: { user: user.value, password: password.value } });
      begin();
    } catch (error) {
      told.className = "note bad";
      told.textContent = error.status ? error.message : "The node does not answer.";
      go.disabled = false;
      password.select();
    }
  } }, h("h1", {}, "Hotpair"), told, h("p", {}, h("label", { for: "name" }, "User"), user),
  h("p", {}, h("label", { for: "password" }, "Password"), password), go));
  user.focus();
}

function begin() {
  const { user, role, node, site } = session.me;
  byId("site").textContent = `${site}, node ${node}`;
  byId("user").textContent = `${user} (${role})`;
  byId("top").hidden = false;
  tell("waiting");
  timer = setInterval(look, STATUS_MS);
  show();
  look();
}

function show() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const chosen = VIEWS[name] ? name : "pair";
  byId("views").replaceChildren(...Object.entries(VIEWS).map(([key, [word]]) =>
    h("a", { href: `#${key}`, "aria-current": key === chosen ? "page" : null }, word)));
  view?.stop?.();
  document.title = `${VIEWS[chosen][0]} – ${session.me.site} ${session.me.node} – Hotpair`;
  view = new VIEWS[chosen][1](decodeURIComponent(rest.join("/")), { listen, status: () => status });
  content.replaceChildren(h("h1", {}, VIEWS[chosen][0]), view.element);
  content.focus({ preventScroll: true });
  scrollTo(0, 0);
  listen();
  if (status && !view.whole) view.status?.(status);
  else if (status) look();
}

function listen() {
  stream?.stop();
  if (!document.hidden && session.me) {
    stream = new Stream(view.stream?.() ?? "/events/live", (name, data) => view?.hear?.(name, data));
  }
}

async function look() {
  if (asking || document.hidden || !session.me) return;
  asking = true;
  try {
    const whole = !!view.whole; // the devices of a large site are many: asked for where they are shown
    const found = await call(`/status?devices=${whole}`, { within_ms: 5000 });
    if (!session.me) return;
    status = found;
    whoIsMain(found);
    if (whole || !view.whole) view.status?.(found);
    else setTimeout(look);
  } catch (error) {
    if (session.me) tell("stale", error.status ? error.message : "the node does not answer");
  } finally {
    asking = false;
  }
}

function whoIsMain(found) {
  const mark = found.role === "main" ? "● Main" : `○ ${found.role_shown}`;
  if (byId("who-main").textContent !== mark) byId("who-main").textContent = mark;
  if (found.role === "main") { notice(""); return; }
  const there = found.peer?.role === "main";
  const url = session.me.peer_page;
  const link = url ? h("a", { href: `${url.replace(/\/$/, "")}/${location.hash}`, rel: "noreferrer" },
    "Open the other node's page") : null;
  notice(there ? `This node is ${found.role_shown}: values come from the Main, node ${found.peer.node}.`
    : `This node is ${found.role_shown} and hears of no Main: ${found.why}`, there ? "" : "bad", link);
}

try {
  session.me = await call("/me");
  begin();
} catch (error) {
  logIn(error.status === 401 ? "" : error.message);
}
