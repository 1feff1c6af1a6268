"""A pair with its pages: a device whose log is wound back, and one that keeps none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .plant import PAIR_DEVICE, PAIR_TLS, PairNode, free_ports
from .web_rig import users
from .windback_methods import BY_NAME
from .windback_rig import WindbackPair

RING, PLAIN = "ring", "plain"
"""The device with a log, and the one without: what it missed is lost."""


class PagePair(WindbackPair):
    """The nodes are started by the test; each names the other's page as its peer's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, [BY_NAME[RING]], "", "")
        port, *pages = free_ports(3)
        self.pages = dict(zip("ab", pages, strict=True))
        with self.site_file.open("a") as site:
            site.write(PAIR_DEVICE.format(name=PLAIN, port=port, scan="fast") + users())
        for name, peer in (("a", "b"), ("b", "a")):
            web = f"web: {{listen: '127.0.0.1:{self.pages[name]}', peer: '{self.page(peer)}'}}\n"
            self.write_node(name, peer, tls=PAIR_TLS.format(id=name, peer=peer) + web)

    def page(self, name: str) -> str:
        """Where the page of a node is."""
        return f"http://127.0.0.1:{self.pages[name]}"

    async def paired(self) -> tuple[PairNode, PairNode]:
        """Both nodes started, all values there: (Main, Standby)."""
        for node in self.nodes.values():
            await node.start()
        main, standby = await self.until_paired()
        await self.all_good(main)
        await self.until_equal()
        return main, standby


@asynccontextmanager
async def page_pair(folder: Path) -> AsyncIterator[PagePair]:
    """A pair with outstations that run."""
    plant = PagePair(folder)
    try:
        await plant.make_certificates()
        await plant.outstations.start()
        yield plant
    finally:
        await plant.stop()
