"""The page of a site with more points than a page is sent: the node filters, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.gateway import Program

from .browser import browser
from .many_outstations import points_of, site_of
from .plant import free_ports
from .test_web_page import LIVE, go
from .web_rig import PASSWORD, users

DEVICES, POINTS = 60, 100
NODE = """\
node: a
data_dir: data
site: site.yaml
opcua: {{listen: "127.0.0.1:{opcua}", advertise: [127.0.0.1], insecure: true}}
web: {{listen: "127.0.0.1:{web}"}}
"""


@pytest.mark.slow
async def test_of_six_thousand_points_the_node_shows_those_that_fit(tmp_path: Path) -> None:
    field, opcua, web = free_ports(3)  # nothing answers at `field`: a point is there all the same
    (tmp_path / "points.csv").write_text(points_of(DEVICES, POINTS)[0])
    (tmp_path / "site.yaml").write_text(site_of(DEVICES, field) + users())
    (tmp_path / "node.yaml").write_text(NODE.format(opcua=opcua, web=web))
    log = tmp_path / "node.log"
    node = Program("node", ["run", str(tmp_path / "node.yaml")], log, "is Main")
    try:
        await node.start()
        async with browser(tmp_path) as tab:
            await tab.log_in(f"http://127.0.0.1:{web}", "otto", PASSWORD)
            await tab.until(LIVE)
            count = "document.querySelector('.count').textContent.replace(/\\u2009/g, '')"
            note = "document.querySelector('main .note')?.textContent.replace(/\\u2009/g, '')"
            await go(tab, "points")
            await tab.until(f"{count} === '1000 of 6000'")
            assert "first 1000 of 6000" in await tab.js(note)
            await tab.tab_to("input[type=search]")
            await tab.type("D59/P9")
            await tab.until(f"{count} === '11 of 11'")
            assert "first" not in await tab.js(note)
            shown = "document.querySelector('button.name').textContent"
            assert await tab.js(shown) == "d59/p9"
            await go(tab, "points/d7/p42")
            await tab.until(f"{count} === '1 of 1'")
            assert [said for said in tab.complaints if " 422" in said] == []
    finally:
        await node.stop()
