// Drawing: a time axis, who was Main, coverage, and lines with their breaks. SVG by hand, because
// gaps, wound-back stretches and reigns are most of what has to be drawn, in the reports' language.

import { svg } from "./dom.js";
import { badCode, clock, moment } from "./words.js";

export const LEFT = 92, RIGHT = 14, MIN_WIDTH = 320;
const STEPS_MS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800, 2592000].map((s) => s * 1000);
const title = (text) => svg("title", {}, text);

export function axis(from, to, width) {
  const plot = width - LEFT - RIGHT;
  return { from, to, plot, width, x: (ms) => LEFT + plot * Math.max(0, Math.min(1, (ms - from) / (to - from))) };
}

export function ticks(ax, y, tall) {
  const span = ax.to - ax.from;
  const step = STEPS_MS.find((s) => span / s <= ax.plot / 95) ?? STEPS_MS.at(-1);
  const found = [];
  for (let at = Math.ceil(ax.from / step) * step; at <= ax.to; at += step) {
    const x = ax.x(at);
    const text = step >= 86400000 ? moment(at).slice(0, 10) : clock(at).slice(0, step < 60000 ? 8 : 5);
    found.push(svg("line", { class: "grid", x1: x, x2: x, y1: y + 4, y2: tall }),
      svg("text", { class: "tick quiet", x, y }, text));
  }
  return found;
}

// A tablet is turned, a window widened: what is drawn in pixels is drawn anew.
export function whenWider(element, act) {
  let drawn = 0;
  const sized = new ResizeObserver(() => {
    if (drawn && element.clientWidth !== drawn) act();
    drawn = element.clientWidth;
  });
  sized.observe(element);
  return sized;
}

export function reigns(list, ax, y) {
  const nodes = [...new Set(list.map((r) => r.node))].sort();
  return list.filter((r) => r.from_ns / 1e6 < ax.to && (r.to_ns === null || r.to_ns / 1e6 > ax.from)).map((r) => {
    const x = ax.x(r.from_ns / 1e6), end = ax.x(r.to_ns === null ? Date.now() : r.to_ns / 1e6);
    const other = nodes.indexOf(r.node) > 0;
    return svg("g", { class: "reign", "data-node": r.node },
      svg("rect", { class: other ? "r-other" : "r-main", x, y, width: Math.max(1.5, end - x), height: 18 }),
      end - x > 30 ? svg("text", { class: other ? "in-other" : "in-main", x: x + 6, y: y + 13 }, r.node) : null,
      title(`${r.node} was Main from ${moment(r.from_ns / 1e6)}${r.to_ns ? ` to ${moment(r.to_ns / 1e6)}` : ""}: ${r.why}`));
  });
}

export function timeline(list, from, to, wide) {
  const ax = axis(from, to, Math.max(MIN_WIDTH, wide || 1100));
  const words = list.filter((r) => r.to_ns === null || r.to_ns / 1e6 > from)
    .map((r) => `${r.node} from ${moment(Math.max(from, r.from_ns / 1e6))}`).join(", ");
  return svg("svg", { class: "chart", viewBox: `0 0 ${ax.width} 50`, role: "img", "aria-label": `Main, UTC: ${words || "nobody"}` },
    ticks(ax, 12, 42), svg("text", { class: "row", x: LEFT - 10, y: 36 }, "Main"), reigns(list, ax, 22));
}

// The path of one point: values hold until the next one, and break where nothing is known.
export function path(line, trend, breaks, ax, y) {
  const at0 = trend.from_ns / 1e6, step = trend.step_ns / 1e6, through = Math.min(ax.to, trend.through_ns / 1e6);
  const number = (v) => (typeof v === "boolean" ? Number(v) : typeof v === "number" ? v : null);
  const stops = breaks.map((g) => [g.from_ns / 1e6, g.to_ns / 1e6]).sort((a, b) => a[0] - b[0]);
  let held = line.before && !badCode(line.before.status) ? number(line.before.value) : null;
  let now = at0, text = "";
  const hold = (until) => {
    if (held === null) return;
    const stop = stops.find(([from, to]) => to > now && from < until);
    const end = stop ? Math.max(stop[0], now) : until;
    if (end > now) text += `M${ax.x(now).toFixed(1)} ${y(held).toFixed(1)}H${ax.x(end).toFixed(1)}`;
    if (stop) held = null;
  };
  line.at.forEach((at, index) => {
    const ms = Math.max(now, line.first_ns[index] / 1e6);
    hold(ms);
    now = ms;
    const [low, high, last] = [line.min[index], line.max[index], number(line.last[index])];
    if (low !== null) {
      const x = ax.x(ms).toFixed(1), first = number(line.first[index]);
      text += `${held === null ? "M" : `M${x} ${y(held).toFixed(1)}L`}${x} ${y(first ?? low).toFixed(1)}`;
      if (high > low) text += `M${x} ${y(low).toFixed(1)}V${y(high).toFixed(1)}`;
    }
    held = badCode(line.last_status[index]) || line.gap[index] ? null : last;
    now = Math.max(ms, Math.min(line.last_ns[index] / 1e6, at0 + (at + 1) * step));
    // Within its bucket, a pixel wide, the last value stands for all of them.
    if (held !== null && now > ms) text += `M${ax.x(ms).toFixed(1)} ${y(held).toFixed(1)}H${ax.x(now).toFixed(1)}`;
  });
  hold(through);
  return text;
}
