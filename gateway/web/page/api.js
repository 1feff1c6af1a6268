// What is asked of the node, and how an answer becomes words.

const HEADERS = { "X-Hotpair": "page" };
export class Refused extends Error {
  constructor(status, detail, remedy) {
    super(remedy ? `${detail}. ${remedy}` : detail);
    this.status = status;
  }
}
export const session = { me: null, onout: () => {} };
export const may = (act) => session.me?.acts.includes(act) ?? false;

// Integers beyond 2^53 stay exact where they are values of points.
export function parsed(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)
    && context?.source && !key.endsWith("_ns") ? context.source : value);
}

export async function call(path, { method = "GET", body, signal, within_ms = 15000 } = {}) {
  const limits = [AbortSignal.timeout(method === "GET" ? within_ms : 125000)];
  if (signal) limits.push(signal);
  const answer = await fetch(`/api/v1${path}`, {
    method, signal: AbortSignal.any(limits), credentials: "same-origin",
    headers: body === undefined ? HEADERS : { ...HEADERS, "Content-Type": "application/json" },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.ok) return parsed(text);
  let told = {};
  try { told = JSON.parse(text); } catch { /* a proxy's words, perhaps: the status will do */ }
  if (answer.status === 401 && path !== "/login") session.onout();
  const detail = typeof told.detail === "string" ? told.detail : `the node answered ${answer.status}`;
  throw new Refused(answer.status, detail, told.remedy ?? "");
}

export const post = (path, body) => call(path, { method: "POST", body });
export const query = (path, asked) => `${path}?${new URLSearchParams(asked)}`;
export const ns = (ms) => String(BigInt(Math.round(ms * 1000)) * 1000n);
