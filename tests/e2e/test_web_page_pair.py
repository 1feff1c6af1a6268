"""The pages of a pair: roles, orders, a failover as the trend draws it, a node that dies."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.model import NS_PER_MS

from .axe import violations
from .browser import Tab, tabs
from .page_pair import PLAIN, RING, PagePair, page_pair
from .plant import PairNode
from .test_web_page import LIVE
from .test_web_page_access import trapped
from .web_rig import PASSWORD

SPAN_S = 40
LEFT, RIGHT = 92, 14
"""Beside the plot, as chart.js has it."""
DRAWN = """(() => {
  const chart = document.querySelector(".chart"), rects = (found) => [...found].map((rect) =>
    [rect.dataset.device ?? rect.parentNode.dataset.node, rect.dataset.state ?? "",
     rect.x.baseVal.value, rect.width.baseVal.value]);
  return {from: Number(chart.dataset.from), to: Number(chart.dataset.to),
    width: chart.viewBox.baseVal.width,
    reigns: rects(chart.querySelectorAll(".reign rect")),
    marks: rects(chart.querySelectorAll("rect[data-state]:not(.shade)")),
    shades: rects(chart.querySelectorAll("rect.shade")),
    lines: Object.fromEntries([...chart.querySelectorAll("path[data-point]")].map((line) =>
      [line.dataset.point, line.getAttribute("d")]))};
})()"""
SHOWS_ROLE = "document.querySelector('#who-main').textContent.includes({!r})"
TALLER = 800


@dataclass
class Drawn:
    """What the chart has, its places as times in ms since 1970; `px` is how long a pixel is."""

    told: dict[str, Any]

    @property
    def px(self) -> float:
        return float((self.told["to"] - self.told["from"]) / (self.told["width"] - LEFT - RIGHT))

    def time(self, x: float) -> float:
        return float(self.told["from"] + (x - LEFT) * self.px)

    def stretches(self, kind: str, name: str, state: str = "") -> list[tuple[float, float]]:
        """From when to when each mark of a device, or each reign of a node, is drawn."""
        return [
            (self.time(x), self.time(x + width))
            for owner, has, x, width in self.told[kind]
            if owner == name and has == state
        ]

    def level(self, point: str, at_ms: float) -> bool:
        """Whether the line of a point is drawn at an instant."""
        parts = re.findall(r"M([\d.]+) [-\d.]+H([\d.]+)", self.told["lines"][point])
        return any(
            self.time(float(x)) - self.px <= at_ms <= self.time(float(end)) + self.px
            for x, end in parts
        )


async def role(tab: Tab, shown: str, within_s: float = 10) -> None:
    await tab.until(SHOWS_ROLE.format(shown), within_s)


async def order(tab: Tab, button: str, says: str) -> None:
    """Give an order by its button and dialog, by keyboard; focus comes back to the button."""
    await tab.js("document.querySelector('#content').focus()")
    await tab.tab_to(button)
    await tab.press("Enter")
    assert await tab.js("document.activeElement.textContent") == "Cancel", "nothing by accident"
    assert await violations(tab) == []
    await trapped(tab)
    await tab.press("Escape")
    await tab.until(f"document.activeElement.matches('{button}')")
    await tab.press("Enter")
    await tab.tab_to("dialog button[type=submit]", shift=True)
    await tab.press("Enter")
    await tab.until(f"document.querySelector('dialog .note.good')?.textContent.includes({says!r})")
    await tab.press("Enter")
    await tab.until(f"document.activeElement.matches('{button}')")


async def test_both_pages_follow_orders_and_a_failover(tmp_path: Path) -> None:
    async with page_pair(tmp_path) as plant, tabs(tmp_path, 2) as pages:
        main, standby = await plant.paired()
        page = {main.name: pages[0], standby.name: pages[1]}
        for name, tab in page.items():
            await tab.look(1280, TALLER, False)
            await tab.log_in(plant.page(name), "anna", PASSWORD)
            await tab.until(LIVE)
        await role(page[main.name], "Main")
        await role(page[standby.name], "standby")
        there = await page[standby.name].js("document.querySelector('#notice a').href")
        assert there == f"{plant.page(main.name)}/", "the way to where values come from"
        assert await page[main.name].js("document.querySelector('#notice a')") is None

        await order(page[standby.name], "#changeover", f"{standby.name}")
        main, standby = standby, main
        await role(page[main.name], "Main")
        await role(page[standby.name], "standby")
        await plant.until_paired()
        for says in ("Paused", ""):
            await order(page[main.name], "#pause", "")
            for tab in page.values():
                shown = "document.querySelector('main > div > .note').checkVisibility()"
                await tab.until(shown if says else f"!{shown}")

        await fail_over(plant, main, standby, page)
        await comes_back(plant, main, page[main.name])


async def fail_over(
    plant: PagePair, main: PairNode, standby: PairNode, page: dict[str, Tab]
) -> None:
    """The Main dies while the device with a log is away."""
    began_ms = time.time() * 1000
    outage = asyncio.create_task(plant.unplug(3.0))
    await asyncio.sleep(1.5)  # paces: the device is away when its Main dies
    killed_ms = time.time() * 1000
    await main.program.kill()
    await role(page[standby.name], "Main")
    taken_ms = time.time() * 1000
    await page[main.name].until("document.body.classList.contains('stale')")
    told = await page[main.name].js("document.querySelector('#news').textContent")
    found = re.fullmatch(r"Not live: (.+)\. Last news (\d\d):(\d\d):(\d\d) UTC", told)
    assert found, told
    hours, minutes, seconds = map(int, found.groups()[1:])
    last_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000
    assert killed_ms % 86_400_000 - 3500 < last_ms <= killed_ms % 86_400_000, told
    style = await page[main.name].js("getComputedStyle(document.querySelector('.live')).fontStyle")
    assert style == "italic", "old news looks old"
    assert await violations(page[main.name]) == []

    out_ms, back_ms = (at_ns / NS_PER_MS for at_ns in await outage)
    to_ns = await plant.all_good(standby)
    gaps = await wound_back(plant, standby, int(began_ms) * NS_PER_MS, to_ns)
    reigns = (await standby.control.get("/roles", limit=10))["reigns"]
    border_ms = max(reign["from_ns"] for reign in reigns) / NS_PER_MS
    assert killed_ms < border_ms < taken_ms
    drawn = await trend(page[standby.name])
    px = 1.6 * drawn.px

    (_, before), (after, _) = (drawn.stretches("reigns", n.name)[-1] for n in (main, standby))
    assert abs(before - border_ms) < px and abs(after - border_ms) < px
    middle_ms = (killed_ms + border_ms) / 2
    for kind in ("marks", "shades"):
        lost_at = [s for s in drawn.stretches(kind, PLAIN, "lost") if s[0] < middle_ms < s[1]]
        assert lost_at, (drawn.told[kind], gaps)
        ((gap_ms, end_ms),) = lost_at
        assert killed_ms - 1_000 < gap_ms < killed_ms + px
        assert border_ms - px < end_ms < taken_ms
        filled = drawn.stretches(kind, RING, "filled")
        for at_ms in range(int(out_ms) + 500, int(back_ms), 100):
            assert any(s[0] - px < at_ms < s[1] + px for s in filled), (at_ms, filled)
        assert not any(s[0] < out_ms - 1_500 < s[1] for s in filled)
    assert not drawn.level(f"{PLAIN}/level", middle_ms), "no line where nothing is known"
    assert drawn.level(f"{PLAIN}/level", gap_ms - 300)
    assert drawn.level(f"{RING}/level", middle_ms), "the device's log tells what it was"


async def wound_back(plant: PagePair, node: PairNode, from_ns: int, to_ns: int) -> list[Any]:
    """The gaps, once the device's log was read."""
    async with asyncio.timeout(20):
        while True:
            gaps = await plant.gaps(node, from_ns, to_ns)
            if all(gap.state == "filled" for gap in gaps if gap.device == RING):
                return gaps
            await asyncio.sleep(0.1)  # paces: the socket has no event for this


async def trend(tab: Tab) -> Drawn:
    """Open the trend of both devices, zoomed in, standing still."""
    await tab.js(f"location.hash = 'trend/{RING}%2Flevel,{PLAIN}%2Flevel'")
    await tab.until("document.querySelector('.chart path[data-point]')")
    for _ in range(4):
        await tab.js("document.querySelector('[aria-label=\"Zoom in\"]').click()")
    await tab.js(
        "[...document.querySelectorAll('.tools button')]"
        ".find((button) => button.textContent === 'Follow now').click();"
    )
    data = "document.querySelector('.chart').dataset"
    await tab.until(f"{data}.to - {data}.from < {SPAN_S * 1000}")
    assert await violations(tab) == []
    return Drawn(await tab.js(DRAWN))


async def comes_back(plant: PagePair, node: PairNode, tab: Tab) -> None:
    """The node starts anew: its page goes on by itself."""
    await node.start()
    await plant.until_paired()
    await tab.until(LIVE)
    await role(tab, "standby")
    assert await tab.js("document.querySelector('h1').textContent") == "Pair"
