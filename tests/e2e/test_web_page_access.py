"""The page for everybody: axe-core finds nothing, and the keyboard alone does everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from certificates import make

from gateway.server.trust_folder import TrustFolder

from .axe import violations
from .browser import STOPS_MAX, Tab, browser
from .test_web_page import LIVE, VIEWS, go, open_point
from .web_rig import PASSWORD, WebPlant, web_plant

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
        await second_revision(plant)
        TrustFolder(plant.folder / "data/a/pki").reject(make("HMI").der, datetime.now(UTC))
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
            if view == "trend":
                await trend(tab)
            if view == "revisions":
                await go_back(tab)
            if view == "certificates":
                await let_in(tab)
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


async def second_revision(plant: WebPlant) -> None:
    """One more revision, so that there is one to go back to."""
    text = plant.site_file.read_text()
    plant.site_file.write_text(text.replace("unit: m,", "unit: cm,", 1))
    status, _, err = await plant.hotpair("apply", str(plant.site_file))
    assert status == 0, err


async def trend(tab: Tab) -> None:
    """A point is added, and its trend moved and zoomed by each tool and key, and taken away."""
    await tab.tab_to("#add")
    await tab.type("plc1/level")
    await tab.press("Enter")
    await tab.until("document.querySelector('.chart path[data-point]')")
    said = "document.querySelector('.tools [role=status].heard').textContent"
    length = "(({to, from}) => to - from)(document.querySelector('.chart').dataset)"
    await tab.tab_to("main button[aria-pressed=false]")
    assert await tab.js("document.activeElement.textContent") == "1 h"
    await tab.press("Enter")
    await tab.until(f"{length} === 36e5 && document.activeElement.ariaPressed === 'true'")
    await tab.until(f"{said}.includes(' UTC, follows now')")
    for label, minutes in (("Earlier", 60), ("Zoom in", 30), ("Zoom out", 60)):
        before = await tab.js(said)
        await tab.tab_to(f"[aria-label='{label}']")
        await tab.press("Enter")
        await tab.until(f"{length} === {minutes} * 6e4 && {said} !== {before!r}")
        assert "follows" not in await tab.js(said), "it stands still"
    await tab.tab_to("[role=group].live")
    for key, minutes in (("+", 30), ("-", 60), ("ArrowLeft", 60), ("ArrowRight", 60), ("End", 60)):
        before = await tab.js(said)
        await tab.press(key)
        await tab.until(f"{length} === {minutes} * 6e4 && {said} !== {before!r}")
    assert "follows now" in await tab.js(said)
    await tab.tab_to("[aria-label='Remove plc1/level']", shift=True)
    await tab.press("Enter")
    await tab.until("document.activeElement.id === 'add' && !document.querySelector('.chart')")


async def go_back(tab: Tab) -> None:
    """What a revision changed is read, and it is taken back; focus ends where it began."""
    await tab.until("document.querySelectorAll('main tbody tr').length === 2")
    await tab.tab_to("main td button")
    await tab.press("Enter")
    await tab.until("document.activeElement.tagName === 'H2'")
    await tab.tab_to("pre.diff")
    for _ in range(STOPS_MAX):
        await tab.press("Tab", shift=True)
        if await tab.js("document.activeElement.textContent") == "Go back…":
            break
    name = await tab.focused()
    await confirmed(tab, "was committed")
    await tab.until(f"document.activeElement.outerHTML.slice(0, 200) === {name!r}")
    await tab.until("document.querySelectorAll('main tbody tr').length === 3")


async def let_in(tab: Tab) -> None:
    """A client that was refused is let in; focus ends where its button was."""
    await tab.until("document.querySelector('main td.bad')")
    await tab.tab_to("main td button")
    assert await tab.js("document.activeElement.textContent") == "Let in…"
    await confirmed(tab, "trusted")
    await tab.until("document.activeElement.textContent === 'Remove…'")
    assert await tab.js("!document.querySelector('dialog')")


async def confirmed(tab: Tab, says: str) -> None:
    """The dialog of a button: dismissed, then gone through with."""
    await tab.press("Enter")
    assert await tab.js("document.activeElement.textContent") == "Cancel", "nothing by accident"
    await trapped(tab)
    await tab.press("Escape")
    await tab.until("!document.querySelector('dialog')")
    await tab.press("Enter")
    await tab.tab_to("dialog button[type=submit]", shift=True)
    await tab.press("Enter")
    await tab.until(f"document.querySelector('dialog .note.good')?.textContent.includes({says!r})")
    assert await tab.js("document.activeElement.textContent") == "Close"
    await tab.press("Enter")


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
