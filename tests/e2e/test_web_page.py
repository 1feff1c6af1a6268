"""The page in a real browser: seen, written, drawn, and never old news as live."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from .browser import Tab, browser
from .web_rig import PASSWORD, web_plant

VIEWS = ("pair", "devices", "points", "trend/plc1%2Flevel,plc1%2Finflow", "events", "gaps",
         "revisions", "certificates")  # fmt: skip
FEED = 'northbound: {mqtt: {broker: "mqtt://localhost:9", group: plant, insecure: true}}\n'
"""Where nobody listens."""
FEED_SAYS = "document.querySelector('#feeds tbody').innerText"
SHOTS = os.environ.get("HOTPAIR_SHOTS", "")
LIVE = "document.querySelector('#news').textContent === 'Live'"


async def go(tab: Tab, view: str) -> None:
    await tab.js(f"location.hash = {view!r}")
    await tab.until("document.querySelector('h1') && " + LIVE)


async def open_point(tab: Tab, point: str) -> None:
    await go(tab, f"points/{point}")
    await tab.until(f"document.querySelector('button.name')?.textContent === {point!r}")
    await tab.js("document.querySelector('button.name').click()")


async def write(tab: Tab, value: str) -> None:
    await tab.js(
        f"document.querySelector('#new').value = {value!r};"
        "document.querySelector('#sure').checked = true;"
        "document.querySelector('dialog form').requestSubmit()"
    )


async def test_an_operator_sees_writes_and_is_told_when_news_ends(tmp_path: Path) -> None:
    async with web_plant(tmp_path, more=FEED) as plant, browser(tmp_path) as tab:
        await tab.log_in(plant.base, "otto", "wrong")
        await tab.until("document.querySelector('.note.bad')?.textContent.includes(\"don't fit\")")
        tab.complaints.clear()  # the browser logs each 401 itself
        await tab.log_in(plant.base, "otto", PASSWORD)
        await tab.until(LIVE)
        assert await tab.js("document.querySelector('#changeover')") is None
        says = await tab.until("document.querySelector('#feeds td.bad')") and await tab.js(
            FEED_SAYS
        )
        for words in ("localhost:9 ▲ without TLS", "■ failing", "records", "failures, last at 20"):
            assert words in says, says
        tab.complaints.clear()

        for view in VIEWS:
            await go(tab, view)
            if "trend" in view:
                await tab.until(
                    "document.querySelector('path[data-point]')?.getAttribute('d').length>99"
                )
            for size in ((1400, 900), (768, 1024)) if SHOTS else ():
                for dark in (False, True):
                    await tab.look(*size, dark)
                    await asyncio.sleep(1)  # paces: for the eye only
                    name = f"{view.partition('/')[0]}-{size[0]}-{'dark' if dark else 'light'}.png"
                    await tab.picture(Path(SHOTS) / name)

        await open_point(tab, "plc1/setpoint")
        await write(tab, "4.5")
        await tab.until("document.querySelector('dialog .note.good')?.textContent.includes('4.5')")
        await tab.js("document.querySelector('dialog').close()")
        await tab.until("document.querySelector('td.value').textContent === '4.5'", 1)
        await open_point(tab, "plc1/setpoint")
        await write(tab, "99")
        await tab.until("document.querySelector('dialog .note.bad')")
        await tab.js("document.querySelector('dialog').close()")
        await open_point(tab, "plc1/level")
        await tab.until("document.querySelector('dialog')")
        assert await tab.js("document.querySelector('#new')") is None, "level is read only"
        await tab.js("document.querySelector('dialog').close()")

        assert [said for said in tab.complaints if " 4" not in said] == []
        assert {url.split("/api")[0].split("/page")[0].rstrip("/#") for url in tab.urls
                if not url.startswith(("about:", plant.base))} == set()  # fmt: skip
        await plant.node.stop()
        await tab.until("document.body.classList.contains('stale')", 3)
        assert "Last news" in await tab.js("document.querySelector('#news').textContent")
