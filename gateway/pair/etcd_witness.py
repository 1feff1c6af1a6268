"""etcd's vote: one key, attached to a lease, created only where it is absent (rules.md 6).

Each renewal takes a lease of its own and attaches the key to it by a transaction that names the
key's last revision. Both go through consensus, and the vote counts from before the first was sent.
Keepalives are not used: a leader that was deposed without knowing answers them for up to two
elections (etcd before 3.5.11), so that a vote could outlast its key. A transaction that is carried
out late finds another revision and does nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from gateway.clock import Clock
from gateway.model import NS_PER_S, format_duration
from gateway.pair.complaint import Complaint
from gateway.pair.votes import etcd_lease_ns, etcd_renew_ns

ATTEMPTS_KEPT: Final = 16
LOOK_NS: Final = 5 * NS_PER_S
FAREWELL_S: Final = 0.5
REPLY_SIZE_MAX: Final = 64 * 1024
_UNWELL: Final = "Look at the cluster, and at `pair: witness: etcd: endpoints:`"


class EtcdError(Exception):
    """A request that brought nothing; it may have been carried out."""


class EtcdWitness:
    """Claims and keeps one key. `told` takes until when the vote counts, 0 when it is lost."""

    def __init__(
        self,
        endpoints: tuple[str, ...],
        key: str,
        me: str,
        ttl_s: int,
        flight_ns: int,
        clock: Clock,
        chance: Callable[[int], int],
        told: Callable[[int], None],
        complaint: Complaint,
    ) -> None:
        """`chance(bits)` gives a random number; `me` is shown to people who look at the key."""
        self._endpoints = tuple(e if "://" in e else f"http://{e}" for e in endpoints)
        self._key = _b64(key)
        self._value = f"{me} {chance(64):016x}"
        self._ttl_s = ttl_s
        self._lease_ns = etcd_lease_ns(ttl_s, flight_ns)
        self._renew_ns = etcd_renew_ns(ttl_s)
        self._clock = clock
        self._chance = chance
        self._told = told
        self._complaint = complaint
        self._at = 0
        self._revision = 0
        self._sent_ns: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self.wanted = False
        self.until_ns = 0
        self.owner = ""

    @property
    def endpoint(self) -> str:
        """The member that is asked."""
        return self._endpoints[self._at]

    def claim(self) -> None:
        """Take the key as soon as nobody has it, and keep it."""
        self.wanted = True
        self._wake.set()

    def release(self) -> None:
        """The vote counts no more, from now on; the key goes as soon as etcd answers."""
        self.wanted = False
        self._vote(0)
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled; then let the key go, if that is quick."""
        context = ssl.create_default_context()
        self._client = httpx.AsyncClient(
            verify=context, timeout=self._renew_ns / NS_PER_S, trust_env=False
        )
        try:
            while True:
                began_ns = self._clock.monotonic_ns()
                await self._turn()
                await self._rest(began_ns)
        finally:
            self.wanted = False
            self._vote(0)
            with contextlib.suppress(TimeoutError, EtcdError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._forget_leases()
            await self._client.aclose()

    async def _turn(self) -> None:
        failure, remedy = "", ""
        try:
            if self.wanted:
                await self._keep()
            else:
                await self._forget_leases()
                self._saw(await self._ask("kv/range", {"key": self._key}))
        except EtcdError as error:
            failure, remedy = str(error), _UNWELL
            self._at = (self._at + 1) % len(self._endpoints)
        now_ns = self._clock.monotonic_ns()
        if self.until_ns and now_ns >= self.until_ns:
            self._vote(0)
        self._complaint.is_now(now_ns, failure, remedy)

    async def _rest(self, began_ns: int) -> None:
        """Until the next turn: a renewal, a look at another's key, or a sign of life."""
        now_ns = self._clock.monotonic_ns()
        failed = bool(self._complaint.text)
        if not self.wanted:
            wait_ns = LOOK_NS // 5 if failed else LOOK_NS
        elif self.until_ns:
            wait_ns = began_ns + self._renew_ns // (4 if failed else 1) - now_ns
            wait_ns = min(wait_ns, self.until_ns - now_ns)
        else:
            wait_ns = began_ns + self._renew_ns // 4 - now_ns
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait_ns, self._renew_ns // 40) / NS_PER_S):
                await self._wake.wait()
        self._wake.clear()

    # --------------------------------------------------------------------------- the key

    async def _keep(self) -> None:
        """Create the key, or attach it to a lease that begins now."""
        if not self.until_ns:
            self._saw(await self._ask("kv/range", {"key": self._key}))
            if self._revision == 0 and self.owner:
                return  # somebody else's
        sent_ns = self._clock.monotonic_ns()
        lease = self._chance(62) + 1
        while len(self._sent_ns) >= ATTEMPTS_KEPT:
            self._sent_ns.pop(next(iter(self._sent_ns)))
        self._sent_ns[lease] = sent_ns
        granted = await self._ask("lease/grant", {"TTL": str(self._ttl_s), "ID": str(lease)})
        if int(granted.get("TTL", 0)) < self._ttl_s:
            raise EtcdError(f"{self.endpoint} grants {granted.get('TTL', 0)} s, not {self._ttl_s}")
        outcome = await self._ask("kv/txn", self._transaction(lease))
        if outcome.get("succeeded"):
            self._revision = int(outcome["header"]["revision"])
            self.owner = self._value
            self._count(lease)
            await self._forget_leases(but=lease)
        else:
            self._saw(outcome["responses"][0]["response_range"])

    def _transaction(self, lease: int) -> dict[str, Any]:
        put = {"key": self._key, "value": _b64(self._value), "lease": str(lease)}
        revision = {"key": self._key, "target": "MOD", "result": "EQUAL"}
        return {
            "compare": [{**revision, "mod_revision": str(self._revision)}],
            "success": [{"request_put": put}],
            "failure": [{"request_range": {"key": self._key}}],
        }

    def _saw(self, found: Mapping[str, Any]) -> None:
        """What holds of the key; an attempt without an answer may have been carried out."""
        kvs = found.get("kvs") or []
        value = base64.b64decode(kvs[0].get("value", "")) if kvs else b""
        self.owner = value.decode("utf-8", "replace")
        if self.owner != self._value:
            self._revision = 0
            self._vote(0)
            return
        self._revision = int(kvs[0]["mod_revision"])
        self._count(int(kvs[0].get("lease", 0)))

    def _count(self, lease: int) -> None:
        """The key hangs on that lease: the vote lasts as long, counted from the sending."""
        sent_ns = self._sent_ns.get(lease)
        until_ns = sent_ns + self._lease_ns if sent_ns is not None else 0
        lasts = self.wanted and self._clock.monotonic_ns() < until_ns
        self._vote(until_ns if lasts else 0)

    def _vote(self, until_ns: int) -> None:
        if until_ns != self.until_ns:
            self.until_ns = until_ns
            self._told(until_ns)

    async def _forget_leases(self, but: int = 0) -> None:
        """Revoke what the key does not hang on (all of it after a release): none outlives us."""
        for lease in [each for each in self._sent_ns if each != but]:
            with contextlib.suppress(_Unknown):
                await self._ask("lease/revoke", {"ID": str(lease)})
            self._sent_ns.pop(lease, None)

    # ------------------------------------------------------------------------------ asking

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request to the present member. Raises EtcdError."""
        assert self._client is not None
        url = f"{self.endpoint}/v3/{path}"
        try:
            async with (
                asyncio.timeout(self._renew_ns / NS_PER_S),
                self._client.stream("POST", url, json=dict(body)) as response,
            ):
                data = b""
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > REPLY_SIZE_MAX:
                        raise EtcdError(f"{self.endpoint} does not speak as etcd does")
            reply = json.loads(data)
        except (TimeoutError, httpx.TimeoutException) as error:
            patience = format_duration(self._renew_ns)
            raise EtcdError(f"{self.endpoint} gives no answer within {patience}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise EtcdError(f"{self.endpoint}: {error or type(error).__name__}") from error
        except ValueError as error:
            raise EtcdError(f"{self.endpoint} does not speak as etcd does") from error
        if response.status_code != 200 or not isinstance(reply, dict):
            said = reply.get("error", "") if isinstance(reply, dict) else ""
            text = f"{self.endpoint} answers {response.status_code} {said}".rstrip()
            raise (_Unknown if "lease not found" in text else EtcdError)(text)
        return reply


class _Unknown(EtcdError):
    """The lease is gone already."""


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
