"""axe-core over an open page (https://www.deque.com/axe/core-documentation/api-documentation/)."""

from __future__ import annotations

import json
from typing import Any

from .browser import Tab
from .third_party.rig import NODE_MODULES, need_npm

RUN = """axe.run(document, {resultTypes: ["violations"]}).then((found) =>
  JSON.stringify(found.violations.map((broken) => [broken.id, broken.nodes.map((n) => n.html)])))"""


async def violations(tab: Tab) -> list[Any]:
    """Which rules of axe-core the page breaks now, and where; all of its rules are asked."""
    need_npm("axe-core")
    if not await tab.js("!!window.axe"):
        await tab.js((NODE_MODULES / "axe-core" / "axe.min.js").read_text() + "; 0")
    return list(json.loads(await tab.js(RUN)))
