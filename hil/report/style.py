"""How the report looks: colours, patterns and type, and a script that it can do without.

Colours are from Okabe and Ito's set, which colour-blind readers tell apart; whatever matters is
told by shape, height or pattern as well. Dark and print are the same marks in other colours.
"""

from __future__ import annotations

from typing import Final

from hil.report.axis import LEFT, PLOT, WIDTH
from hil.report.markup import Html

_LIGHT: Final = """
--page:#fff;--ink:#1b1f24;--quiet:#59636e;--line:#d4d9df;--grid:#e9ecef;--panel:#f5f7f9;
--main:#005b94;--in-main:#fff;--synced:#56b4e9;--syncing:#e69f00;--starting:#8c959f;--silent:#d55e00;
--other:#aa5a86;--covered:#c5cdd6;--filled:#009e73;--coarse:#009e73;--open:#d55e00;--lost:#1b1f24;
--act:#424a53;--pin:#005b94;--lag:#8a6d3b;--split:#cc79a7;--passed:#00734f;--failed:#b3400a;
--unknown:#7a5c00;--link:#005b94"""
_DARK: Final = """
--page:#14171a;--ink:#e6e9ec;--quiet:#9aa4ae;--line:#3a424a;--grid:#262c32;--panel:#1c2126;
--main:#4ea3db;--in-main:#0b1015;--synced:#2f6f98;--syncing:#e69f00;--starting:#7a838c;--silent:#f0803c;
--other:#cc79a7;--covered:#46505a;--filled:#1fb58a;--coarse:#1fb58a;--open:#f0803c;--lost:#f4f6f8;
--act:#b6bfc8;--pin:#6bb7ea;--lag:#c9a66b;--split:#cc79a7;--passed:#3cc79b;--failed:#ff8f57;
--unknown:#e3b341;--link:#6bb7ea"""

_PAGE: Final = """
*{box-sizing:border-box}
html{color-scheme:light dark;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
body{max-width:1280px;margin:0 auto;padding:24px 30px 80px}
h1{font-size:30px;line-height:1.25;font-weight:650;margin:6px 0 8px;text-wrap:balance}
h2{font-size:20px;font-weight:650;margin:44px 0 10px}
h3{font-size:15px;font-weight:650;margin:26px 0 6px}
p{margin:6px 0}
a{color:var(--link)}
.quiet{color:var(--quiet)}
.kicker{color:var(--quiet);margin:0}
.verdict{border-left:8px solid;padding:2px 0 2px 18px;margin:0 0 20px}
.verdict.passed{border-color:var(--passed)}
.verdict.failed{border-color:var(--failed)}
.verdict.unknown{border-color:var(--unknown)}
.passed .word,.outcome.passed{color:var(--passed)}
.failed .word,.outcome.failed{color:var(--failed)}
.unknown .word,.outcome.unknown{color:var(--unknown)}
.outcome{font-weight:650;display:inline-block;min-width:100px;white-space:nowrap}
dl.facts{display:flex;flex-wrap:wrap;gap:10px 34px;margin:0}
dl.facts dt{color:var(--quiet);font-size:12.5px}
dl.facts dd{margin:0;font-variant-numeric:tabular-nums}
.promise{border-top:1px solid var(--line);padding:8px 0}
.promise:last-child{border-bottom:1px solid var(--line)}
.promise .summary{padding-left:18px}
.promise ul{margin:6px 0 6px 120px;padding:0;list-style:none}
.promise li{margin:0 0 8px;padding-left:12px;border-left:3px solid var(--line);
overflow-wrap:anywhere}
.said{margin-left:4px}
summary{cursor:pointer}
input{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--line);
border-radius:4px;padding:4px 10px;margin:6px 0 12px;width:320px;max-width:100%}
details.act{border-top:1px solid var(--line);padding:4px 0}
details.act>summary{display:grid;grid-template-columns:14px 104px 84px 1fr 120px;gap:8px;
list-style:none;font-variant-numeric:tabular-nums}
details.act>summary::before{content:"\\25b8";color:var(--quiet)}
details.act[open]>summary::before{content:"\\25be"}
details.act>summary::-webkit-details-marker{display:none}
details.act:target>summary{background:var(--panel)}
details.act .many{color:var(--quiet);text-align:right}
.scroll{overflow-x:auto;max-width:100%}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;margin:8px 0 16px}
caption{text-align:left;color:var(--quiet);padding:4px 0;white-space:nowrap}
th,td{text-align:left;vertical-align:top;padding:4px 18px 4px 0;border-bottom:1px solid var(--line)}
th{font-weight:600;white-space:nowrap}
td{overflow-wrap:anywhere;min-width:46px}
.n{text-align:right;white-space:nowrap}
table.told{font:12.5px/1.45 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
margin:4px 0 10px 20px}
table.told td{padding:1px 12px 1px 0;border:0;min-width:0;white-space:nowrap}
table.told td:nth-child(-n+2){text-align:right;color:var(--quiet)}
table.told td:last-child{white-space:pre-wrap;overflow-wrap:anywhere;min-width:420px}
tr.warning td:nth-child(4){color:var(--unknown);font-weight:700}
tr.error td:nth-child(n+4){color:var(--failed);font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:4px 26px;font-size:13px;color:var(--quiet);margin:2px 0}
.legend svg{vertical-align:-3px}
.skip{position:absolute;left:-9999px}.skip:focus{position:static}
.hatches{position:absolute;width:0;height:0}
"""
_CHART: Final = """
svg.chart{display:block;width:100%;min-width:900px;height:auto;font-size:11px;
font-variant-numeric:tabular-nums}
.legend span:first-child{min-width:52px}
svg text{fill:var(--ink)}
.row{text-anchor:end}
.row.small{font-size:9px}
.tick{text-anchor:middle}
.head{font-weight:650;font-size:12px}
svg text.quiet{fill:var(--quiet)}
.rule{stroke:var(--line)}
.grid{stroke:var(--grid)}
.note{fill:var(--ink)}
.act{fill:var(--act)}
.act.undone{fill:none;stroke:var(--failed);stroke-width:1.5;stroke-dasharray:3 2}
.act-line{stroke:var(--act);stroke-width:.7;stroke-dasharray:1 4}
.split{fill:var(--split);opacity:.17}
.split-label{fill:var(--ink)}
.r-main{fill:var(--main)}
.in-main{fill:var(--in-main)!important;font-weight:600}
.r-synced{fill:var(--synced)}
.r-syncing{fill:url(#h-syncing);stroke:var(--syncing)}
.r-starting{fill:url(#h-starting)}
.r-silent{fill:url(#h-silent)}
.more{stroke:var(--ink);stroke-width:1.4;stroke-dasharray:4 2}
.equal{stroke:var(--passed);stroke-width:1.6}
.r-other{fill:url(#h-other);stroke:var(--other)}
.covered{fill:var(--covered)}
.n-filled,.n-coarse,.n-filling{fill:var(--filled)}
.n-open{fill:var(--open)}
.n-lost{fill:var(--lost)}
.s-covered,.s-filled,.s-coarse,.s-filling,.s-open,.s-lost{fill:none;stroke-width:8}
.s-covered{stroke:var(--covered)}
.s-filled,.s-filling{stroke:var(--filled)}
.s-coarse{stroke:var(--filled);stroke-width:4}
.s-open{stroke:var(--open);stroke-width:10}
.s-lost{stroke:var(--lost);stroke-width:10}
.c-filled{fill:url(#h-filled)}
.c-coarse{fill:url(#h-coarse)}
.c-filling{fill:url(#h-filling)}
.c-open{fill:var(--open)}
.c-lost{fill:var(--lost)}
.g-filled{fill:url(#h-filled)}
.g-coarse{fill:url(#h-coarse)}
.g-filling{fill:url(#h-filling)}
.g-open{fill:url(#h-open);stroke:var(--open);stroke-width:.8}
.g-lost{fill:url(#h-lost);stroke:var(--lost);stroke-width:.8}
.in-gap{text-anchor:middle;font-weight:600}
.plate{fill:var(--page)}
.lag{fill:var(--lag);fill-opacity:.28;stroke:var(--lag);stroke-width:1;stroke-linejoin:round}
.stem{stroke:var(--pin);stroke-width:1.4}
.pin{fill:var(--pin)}
.pin.late{fill:var(--page);stroke:var(--failed);stroke-width:2.4}
.cross{stroke:var(--failed);stroke-width:2.4;fill:none}
.cursor{stroke:var(--ink);stroke-width:.8;pointer-events:none}
.cursor-text{pointer-events:none;paint-order:stroke;stroke:var(--page);stroke-width:5px}
"""
_PRINT: Final = """
@page{size:A4 landscape;margin:12mm}
body{max-width:none;padding:0;font-size:11px}
h1{font-size:22px}
h2{margin-top:22px;break-after:avoid}
.scroll{overflow:visible}
svg.chart{min-width:0;break-inside:avoid}
p.quiet{break-after:avoid}
table{font-size:10px}
.legend{font-size:10px}
tr,.promise li{break-inside:avoid}
.promise::details-content{content-visibility:visible;block-size:auto}
.skip{display:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
"""

STYLE: Final = Html(
    f":root{{{_LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"{_PAGE}{_CHART}@media print{{:root{{{_LIGHT}}}html{{color-scheme:light}}{_PRINT}}}"
)


def _hatch(name: str, size: int, *shapes: str) -> str:
    inner = "".join(shapes)
    return (
        f'<pattern id="h-{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse">'
        f"{inner}</pattern>"
    )


def _ground(colour: str, opacity: str) -> str:
    return f'<rect width="12" height="12" style="fill:var(--{colour});opacity:{opacity}"/>'


def _stroke(path: str, colour: str, width: str) -> str:
    return f'<path d="{path}" style="stroke:var(--{colour});stroke-width:{width};fill:none"/>'


_RISING: Final = "M-1 1L1 -1M0 6L6 0M5 7L7 5"
_FALLING: Final = "M-1 5L1 7M0 0L6 6M5 -1L7 1"

HATCHES: Final = Html(
    '<svg class="hatches" aria-hidden="true"><defs>'
    + _hatch("syncing", 6, _ground("syncing", ".25"), _stroke(_RISING, "syncing", "2"))
    + _hatch("starting", 6, _stroke("M1 3h3", "starting", "3"))
    + _hatch("silent", 6, _stroke("M1 1l4 4m0 -4l-4 4", "silent", "1.3"))
    + _hatch("other", 6, _ground("other", ".3"), _stroke("M0 2h6M0 5h6", "other", "1"))
    + _hatch("filled", 6, _ground("filled", ".85"), _stroke("M3 0v6", "page", "1.2"))
    + _hatch("coarse", 6, _ground("coarse", ".3"), _stroke("M1 0v6M4 0v6", "coarse", "1.6"))
    + _hatch("filling", 6, _ground("filled", ".15"), _stroke("M0 3h3", "filled", "3"))
    + _hatch("open", 6, _ground("page", "1"), _stroke(_RISING, "open", "1.3"))
    + _hatch(
        "lost", 6, _ground("page", "1"), _stroke(_RISING, "lost", "1.3"),
        _stroke(_FALLING, "lost", "1.3"),
    )
    + "</defs></svg>"
)  # fmt: skip

SCRIPT: Final = Html(
    """
const time = ms => new Date(ms).toISOString().slice(11, 23);
const show = id => {
  const act = document.getElementById(id);
  for (let at = act; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (act) act.scrollIntoView({block: "start"});
};
addEventListener("hashchange", () => show(location.hash.slice(1)));
if (location.hash) show(location.hash.slice(1));
for (const chart of document.querySelectorAll("svg.chart[data-from]")) {
  const make = name => document.createElementNS("http://www.w3.org/2000/svg", name);
  const line = make("line"), text = make("text"), tall = chart.viewBox.baseVal.height;
  line.setAttribute("class", "cursor");
  text.setAttribute("class", "cursor-text");
  text.setAttribute("y", 29);
  chart.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(chart.getScreenCTM().inverse()).x;
    if (at < LEFT || at > LEFT + PLOT) { line.remove(); text.remove(); return; }
    const from = +chart.dataset.from, to = +chart.dataset.to;
    text.textContent = time(from + (to - from) * (at - LEFT) / PLOT);
    text.setAttribute("x", Math.min(at + 4, WIDTH - 80));
    for (const [key, value] of [["x1", at], ["x2", at], ["y1", 20], ["y2", tall]])
      line.setAttribute(key, value);
    chart.append(line, text);
  });
  chart.addEventListener("pointerleave", () => { line.remove(); text.remove(); });
  chart.addEventListener("click", event => {
    const act = event.target.closest("[data-act]");
    if (act) location.hash = "act-" + act.dataset.act;
  });
}
const acts = document.querySelectorAll("details.act");
if (acts.length > 20) {
  const box = document.createElement("input");
  box.type = "search";
  box.placeholder = "only acts or lines with \u2026";
  box.setAttribute("aria-label", "show only acts that contain this text");
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const act of acts) act.hidden = !act.textContent.toLowerCase().includes(wanted);
  });
  document.getElementById("acts-list").before(box);
}
for (const mark of document.querySelectorAll("[data-act]")) mark.style.cursor = "pointer";
""".replace("LEFT", str(LEFT))
    .replace("PLOT", str(PLOT))
    .replace("WIDTH", str(WIDTH))
)
"""A line under the pointer with its time, and from an act to what was told around it."""
