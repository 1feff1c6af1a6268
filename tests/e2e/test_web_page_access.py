"""The page for everybody: axe-core finds nothing, and the keyboard alone does everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from .axe import violations
from .browser import Tab, browser
from .test_web_page import LIVE, VIEWS, go, open_point
from .web_rig import PASSWORD, web_plant

IN_DIALOG = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"


async def log_in_by_keyboard(tab: Tab, base: str, name: str) -> None:
    await tab.do("Page.navigate", url=base)
    await tab.until("document.activeElement?.id === 'name'")
    await tab.type(name)
    await tab.press("Tab")
    await tab.type(PASSWORD)
    await tab.press("Enter")
    await tab.until(LIVE)
    assert await tab.js("document.activeElement.id") == "content"


async def test_axe_finds_nothing_in_any_view(tmp_path: Path) -> None:
    async with web_plant(tmp_path) as plant, browser(tmp_path) as tab:

        async def clean(what: str) -> None:
            for dark in (False, True):
                await tab.look(1280, 900, dark)
                assert await violations(tab) == [], f"{what}, {'dark' if dark else 'light'}"

        for user in ("otto", "anna"):
            await tab.log_in(plant.base, user, PASSWORD)
            await tab.until(LIVE)
            for view in VIEWS:
                await go(tab, view)
                await tab.until("document.querySelector('main table, main .card')")
                await clean(f"{view} as {user}")
            await open_point(tab, "plc1/setpoint")
            assert await tab.js("!!document.querySelector('#new')")
            await clean("the dialog of a point")
            await tab.js("document.querySelector('dialog').close()")
            await tab.js("document.querySelector('#logout').click()")
            await tab.until("document.querySelector('#password')")
            await clean("the log-in")


@pytest.mark.slow
async def test_the_keyboard_alone_does_everything(tmp_path: Path) -> None:
    async with web_plant(tmp_path) as plant, browser(tmp_path) as tab:
        await log_in_by_keyboard(tab, plant.base, "anna")
        for view in ("devices", "points", "trend", "events", "gaps", "revisions", "certificates"):
            await tab.tab_to(f"nav a[href='#{view}']", shift=True)
            await tab.press("Enter")
            await tab.until(f"document.querySelector('nav a[aria-current]').hash === '#{view}'")
            assert await tab.js("document.activeElement.id") == "content"
            if view in ("devices", "points", "events"):
                await tab.tab_to("input[type=search]")
                await tab.type("plc1" if view != "points" else "plc1/setpoint")
                await tab.until(
                    "/^[1-9]\\S* of /.test(document.querySelector('.count').textContent)"
                )
                await tab.until(
                    "/ of /.test(document.querySelector('[role=status].heard').textContent)"
                )
            if view == "devices":
                await disable(tab)
            if view == "points":
                await write(tab)
        await tab.tab_to("#logout", shift=True)
        await tab.press("Enter")
        await tab.until("document.activeElement?.id === 'name'")


async def trapped(tab: Tab) -> None:
    """Tab leads round within the dialog and nowhere else."""
    stops = set()
    for _ in range(8):
        await tab.press("Tab")
        assert await tab.js(IN_DIALOG), await tab.focused()
        stops.add(await tab.focused())
    assert len(stops) > 1


async def disable(tab: Tab) -> None:
    """A device is disabled, and enabled again."""
    for state in ("disabled", "up"):
        await tab.tab_to("button.name")
        name = await tab.focused()
        await tab.press("Enter")
        await tab.until("document.activeElement.id === 'why'")
        await trapped(tab)
        await tab.press("Escape")
        await tab.until(f"document.activeElement.outerHTML.slice(0, 200) === {name!r}")
        await tab.press("Enter")
        await tab.type("a walk by keyboard")
        await tab.press("Enter")
        await tab.until("document.querySelector('dialog .note.good')")
        assert await tab.js("document.activeElement.textContent") == "Close"
        await tab.press("Enter")
        await tab.until(f"document.activeElement.outerHTML.slice(0, 200) === {name!r}")
        await tab.until(f"document.querySelector('td.nowrap').textContent.includes('{state}')")
        await tab.tab_to("input[type=search]", shift=True)


async def write(tab: Tab) -> None:
    """A value is written, after it was confirmed."""
    await tab.tab_to(".window")
    await tab.press("ArrowDown")
    await tab.until("document.activeElement.textContent === 'plc1/setpoint'")
    await tab.press("Enter")
    await tab.until("document.activeElement.id === 'new'")
    await tab.type("4.25")
    await tab.press("Enter")
    assert await tab.js("document.querySelector('dialog .note')") is None, "not without its tick"
    await tab.tab_to("#sure")
    await tab.press(" ")
    await tab.tab_to("dialog button[type=submit]")
    await tab.press("Enter")
    await tab.until("document.querySelector('dialog .note.good')?.textContent.includes('4.25')")
    await tab.press("Escape")
    await tab.until("document.activeElement.textContent === 'plc1/setpoint'")
