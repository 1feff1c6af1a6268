"""How long a takeover takes: from the fault to the first fresh value at the other node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.model import NS_PER_MS, parse_duration
from hil.fresh import Wanted, first_fresh_ns
from hil.gateway import ProgramError
from hil.laying import go_to
from hil.pair import Pair, PairNode
from hil.recording import Switch

SECOND_MS: Final = 1_000


def limit_ms(settings: Mapping[str, Any], status: Mapping[str, Any]) -> int:
    """What is promised now: a second over the silence it waits for, and a witness's lease.

    `settings` are those under `pair:` in site.yaml; after an arbitration a node is more patient,
    and says so in its status.
    """
    after = parse_duration(settings.get("takeover_after", "1s")) // NS_PER_MS
    patience = max(after, int(status.get("patience_ms", after)))
    return patience + SECOND_MS + (2 * after + SECOND_MS if settings.get("witness") else 0)


async def wait_for_fresh(
    pair: Pair, kind: str, left: PairNode, fault_ns: int, limit: int
) -> Switch:
    """When the node that takes over served fresh values to a client; 0 when not within 30 s."""
    taken = pair.other(left)
    wanted = pair.wanted(taken, fault_ns)
    try:
        if pair.lab is None:
            fresh_ns = await first_fresh_ns(*wanted)
        else:
            fresh_ns = await _on_machine(pair.lab.namespace(taken.name), wanted)
    except ProgramError:
        fresh_ns = 0
    return Switch(kind, left.name, taken.name, fault_ns, fresh_ns, limit)


async def _on_machine(namespace: str, wanted: Wanted) -> int:
    """`first_fresh_ns` as a client on a machine of the lab: in a thread that ends there."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    def tell(found: int, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(found)
        else:
            done.set_exception(error)

    def work() -> None:
        found, failed = 0, None
        try:
            go_to(namespace)
            found = asyncio.run(first_fresh_ns(*wanted))
        except (ProgramError, OSError) as error:
            failed = error
        with suppress(RuntimeError):  # the run has ended meanwhile
            loop.call_soon_threadsafe(tell, found, failed)

    threading.Thread(target=work, name="client", daemon=True).start()
    return await done
