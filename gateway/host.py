"""The machine of a node: its supervisor, its clock, and what is run when the role changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.clock import SystemClock
from gateway.config.node import NodeConfig
from gateway.doors import Doors
from gateway.notify import Notifier
from gateway.pair.words import Role
from gateway.role_commands import RoleCommands, word_of
from gateway.timekeeping import Timekeeper


class Host:
    """What a node tells its machine, and hears from it."""

    def __init__(
        self, node: NodeConfig, clock: SystemClock, doors: Doors, stepped: Callable[[int], None]
    ) -> None:
        alarm = partial(doors.alarm, "")
        names = {"HOTPAIR_NODE": node.node, "HOTPAIR_NODE_FILE": str(node.node_file.absolute())}
        self.timekeeper = Timekeeper(clock, stepped, alarm)
        self.notifier = Notifier.from_environment(os.environ)
        self._commands = RoleCommands(node.on_role_change, names, alarm)

    def works(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs as long as the node does, by name."""
        return {
            "clock": self.timekeeper.run(),
            "role commands": self._commands.run(),
            "watchdog": self.notifier.keep_alive(),
        }

    def changed(self, role: Role, why: str) -> None:
        """The node has this role. Returns at once."""
        self.notifier.status(f"{role.shown}: {why}")
        self._commands.tell(word_of(role), why)

    def ready(self) -> None:
        """The node runs."""
        self.changed(Role.STARTING, "started")
        self.notifier.ready()

    async def stop(self) -> None:
        """The node ends: the commands hear of it, and have a bounded time for it."""
        await self._commands.stop()
