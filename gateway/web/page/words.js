// Numbers, times and states as people read them. Times are the plant's UTC.

const two = (n) => String(n).padStart(2, "0");

export function clock(ms, fraction = false) {
  const at = new Date(ms).toISOString();
  return at.slice(11, fraction ? 23 : 19);
}
export function moment(ms) {
  const at = new Date(ms).toISOString();
  return `${at.slice(0, 10)} ${at.slice(11, 19)}`;
}
export const iso = (text) => (text ? moment(Date.parse(text)) : "");

export function span(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60000);
  if (minutes < 60) return `${minutes} min ${two(Math.floor(ms / 1000) % 60)} s`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
}
export const many = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u2009");

export const inOrder = new Intl.Collator("en", { numeric: true }).compare; // p2 before p10

export function value(found) {
  if (found === null || found === undefined) return "–";
  if (typeof found === "boolean") return found ? "true" : "false";
  if (typeof found !== "number" || Number.isInteger(found)) return String(found);
  return Math.abs(found) >= 1e-4 && Math.abs(found) < 1e9
    ? String(Number(found.toPrecision(7))) : found.toExponential(4);
}

export function quality(name) {
  if (name.startsWith("Good")) return { text: name === "Good" ? "● Good" : `● ${name}`, look: "good" };
  if (name.startsWith("Uncertain")) return { text: `▲ ${name}`, look: "warn" };
  return { text: `■ ${name}`, look: "bad" };
}
export const badCode = (code) => (code & 0x80000000) !== 0;

const STATES = {
  up: ["● up", "good"], down: ["■ down", "bad"], starting: ["○ starting", "warn"],
  disabled: ["– disabled", "warn"], idle: ["○ idle", "quiet"],
};
export const state = (name) => STATES[name] ?? [name, ""];

export const GAPS = {
  open: "open: not filled", filling: "being filled from the device's log",
  filled: "wound back from the device's log", coarse: "wound back, coarser than polled",
  lost: "lost: nobody has it",
};
export const CAUSES = {
  device: "device did not answer", link: "line was down", node_down: "node was down",
  overrun: "scan took too long", disabled: "disabled by people", store: "could not be stored",
  clock: "clock was set", beyond_retention: "older than retention", other_master: "another master",
  starting: "node was starting",
};
export function severity(number) {
  if (number >= 800) return ["■ urgent", "bad"];
  if (number >= 500) return ["▲ warning", "warn"];
  return ["● notice", "quiet"];
}
