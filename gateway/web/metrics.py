"""What is measured of a node, as Prometheus has it: pure, from what status and counters say.

Labels are bounded by what is configured: devices, links, causes, states, and exception codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.driver.port import RTT_BOUNDS_NS
from gateway.model import NS_PER_S, parse_time
from gateway.pair.roles import PeerView
from gateway.web.exposition import Exposition

ROLES: Final = ("starting", "syncing", "synced", "main")
DEVICE_STATES: Final = ("up", "down", "starting", "disabled", "idle")
ERRORS: Final = (
    ("timeout", "timeouts"),
    ("invalid", "invalid_replies"),
    ("link", "link_failures"),
)


class Measured(NamedTuple):
    """Everything that is shown; `gaps` is by (device, cause, state): how many, and ns together.

    `round_trips` is by device: a count for each of RTT_BOUNDS_NS and one for the rest, and the
    sum in ns. `expires_ns` is by the purpose of a certificate, `disk` is free and all bytes.
    """

    status: Mapping[str, Any]
    gaps: Mapping[tuple[str, str, str], tuple[int, int]]
    round_trips: Mapping[str, tuple[Sequence[int], int]]
    windback: Mapping[str, Mapping[str, Any]]
    opcua: Mapping[str, int]
    expires_ns: Mapping[str, int]
    disk: tuple[int, int]
    memory_bytes: int
    cpu_s: float
    started_ns: int
    sessions: int
    streams: Mapping[str, int]


def metrics_text(found: Measured) -> str:
    """The whole answer of /metrics."""
    out = Exposition()
    _node(out, found.status)
    _pair(out, found.status)
    _devices(out, found)
    _gaps(out, found)
    _northbound(out, found.status["northbound"])
    _doors(out, found)
    return out.text()


def _node(out: Exposition, status: Mapping[str, Any]) -> None:
    labels = {key: str(status[key]) for key in ("version", "site", "node")}
    out.gauge("hotpair_build_info", "Which version runs, of which site and node.", [(labels, 1)])
    out.states("hotpair_role", "The node's role.", "role", ROLES, status["role"])
    out.one("hotpair_is_main", "1 while this node is Main.", status["role"] == "main")
    out.one("hotpair_may_send", "1 while its reign holds.", status["may_send"])
    out.one("hotpair_term", "The number of the term.", int(status["term"].partition(".")[0]))
    out.one(
        "hotpair_role_age_seconds", "How long it has had its role.", status["role_age_ms"] / 1e3
    )
    out.one("hotpair_storing", "1 while the store takes records.", status["storing"])
    out.one("hotpair_conflicts", "Records that came with another's position.", status["conflicts"])
    clock = status["clock"]
    out.one("hotpair_clock_synchronised", "1 while a time server sets it.", clock["synchronised"])
    out.one("hotpair_points", "Points of the revision that runs.", status["points"])
    out.one("hotpair_points_substituted", "Substituted points.", len(status["substituted"]))
    out.one("hotpair_disabled", "Disabled devices and points.", len(status["disabled"]))
    revision = status["revision"]
    out.one("hotpair_revision", "The revision of the configuration that runs.", revision["running"])
    out.one("hotpair_revision_fault", "1 when the head can't run here.", bool(revision["not_able"]))
    out.one("hotpair_revisions_diverged", "Revisions of a lost branch.", revision["diverged"])
    through = status["complete_through"]
    through_s = parse_time(through) / NS_PER_S if through else None
    out.one(
        "hotpair_complete_through_timestamp_seconds", "History is complete up to then.", through_s
    )
    now_s = parse_time(status["now"]) / NS_PER_S
    lag_s = None if through_s is None else max(0.0, now_s - through_s)
    out.one("hotpair_history_lag_seconds", "How old the end of history is.", lag_s)
    out.one(
        "hotpair_late_max_seconds", "The latest tick of the roles.", status["late_max_ms"] / 1e3
    )


def _pair(out: Exposition, status: Mapping[str, Any]) -> None:
    known = [view.value for view in PeerView]
    out.states("hotpair_peer", "The other node as seen here.", "state", known, status["peer_view"])
    peer = status["peer"]
    heard_s = peer["heard_ms_ago"] / 1e3 if peer else None
    out.one("hotpair_peer_heard_seconds", "How long ago it was heard.", heard_s)
    out.one("hotpair_paused", "1 while changes of roles are paused.", status["paused"])
    ahead_s = status["clock_ahead_ms"] / 1e3 if peer else None
    out.one("hotpair_peer_clock_ahead_seconds", "The other node's clock, ahead of this.", ahead_s)
    links = [({"link": link["name"], "kind": link["kind"]}, link) for link in status["links"]]
    out.gauge("hotpair_link_up", "1 while a link is up.", [(of, x["up"]) for of, x in links])
    round_trips = [(of, _seconds(link["rtt_ms"])) for of, link in links]
    out.gauge("hotpair_link_round_trip_seconds", "The last round trip of a link.", round_trips)
    out.gauge(
        "hotpair_witness_votes",
        "1 while a witness votes for this node.",
        [({"witness": w["name"], "kind": w["kind"]}, w["votes"]) for w in status["witness"]],
    )
    replication = status["replication"]
    ways = [(name, replication[name]) for name in ("sending", "receiving")] if replication else []

    def both(name: str, told: str, key: str, scale: float = 1) -> None:
        out.gauge(name, told, [({"direction": way}, pull[key] * scale) for way, pull in ways])

    both("hotpair_replication_connected", "1 while a direction is connected.", "connected")
    both("hotpair_replication_lag_samples", "Samples that are not there yet.", "samples_behind")
    both("hotpair_replication_lag_records", "Records that are not there yet.", "records_behind")
    both("hotpair_replication_lag_seconds", "From commit to acknowledgement.", "lag_ms", 1e-3)
    out.one(
        "hotpair_replication_equal",
        "1 when both journals were proven equal by digest.",
        replication["equal"] if replication else None,
    )
    waiting = replication["waiting_samples"] if replication else None
    out.one("hotpair_replication_waiting_samples", "Held back until the other has them.", waiting)


def _northbound(out: Exposition, feeds: Mapping[str, Mapping[str, Any]]) -> None:
    def each(key: str) -> list[tuple[dict[str, str], float | None]]:
        return [({"feed": name}, feed[key]) for name, feed in feeds.items()]

    up = [({"feed": name}, feed["state"] == "delivering") for name, feed in feeds.items()]
    out.gauge("hotpair_northbound_delivering", "1 while a feed delivers.", up)
    behind = each("records_behind")
    out.gauge("hotpair_northbound_lag_records", "Records yet to be delivered.", behind)
    told = "How old what was delivered last is, while anything is behind."
    out.gauge("hotpair_northbound_lag_seconds", told, each("lag_s"))
    out.counter("hotpair_northbound_samples_total", "Samples delivered.", each("samples"))
    out.counter("hotpair_northbound_skipped_total", "Records passed over.", each("skipped"))
    out.counter("hotpair_northbound_failures_total", "Sessions that failed.", each("failures"))


def _devices(out: Exposition, found: Measured) -> None:
    devices: Mapping[str, Mapping[str, Any]] = found.status["devices"]

    def each(key: str) -> list[tuple[dict[str, str], float | None]]:
        return [({"device": name}, device[key]) for name, device in devices.items()]

    out.gauge(
        "hotpair_device_state",
        "What a device is: up, down, starting, disabled, or idle on a Standby.",
        [
            ({"device": name, "state": state}, device["state"] == state)
            for name, device in devices.items()
            for state in DEVICE_STATES
        ],
    )
    out.counter("hotpair_polls_total", "Good scans.", each("scans"))
    out.counter("hotpair_samples_total", "Samples that were journalled.", each("samples"))
    out.counter("hotpair_overruns_total", "Scans that were skipped.", each("overruns"))
    out.counter("hotpair_requests_total", "Requests that were sent.", each("requests"))
    out.counter("hotpair_replies_total", "Good replies.", each("replies"))
    out.counter(
        "hotpair_errors_total",
        "What failed, by kind.",
        [
            ({"device": name, "kind": kind}, device[key])
            for name, device in devices.items()
            for kind, key in ERRORS
        ],
    )
    out.counter(
        "hotpair_exceptions_total",
        "Exceptions that a device answered, by code.",
        [
            ({"device": name, "code": code}, count)
            for name, device in devices.items()
            for code, count in device["exceptions"].items()
        ],
    )
    ages = [({"device": n}, _seconds(d["last_scan_age_ms"])) for n, d in devices.items()]
    out.gauge("hotpair_last_scan_age_seconds", "How long ago the last good scan was.", ages)
    out.histogram(
        "hotpair_round_trip_seconds",
        "From a request to its reply.",
        [bound / NS_PER_S for bound in RTT_BOUNDS_NS],
        [
            ({"device": name}, counts, total_ns / NS_PER_S)
            for name, (counts, total_ns) in found.round_trips.items()
        ],
    )


def _gaps(out: Exposition, found: Measured) -> None:
    gaps = [
        ({"device": device, "cause": cause, "state": state}, number, length_ns / NS_PER_S)
        for (device, cause, state), (number, length_ns) in sorted(found.gaps.items())
    ]
    out.gauge("hotpair_gaps", "Gaps of the history that is kept.", [(of, n) for of, n, _ in gaps])
    out.gauge("hotpair_gap_seconds", "How long they are together.", [(of, s) for of, _, s in gaps])

    def each(key: str) -> list[tuple[dict[str, str], float | None]]:
        return [({"device": name}, device[key]) for name, device in found.windback.items()]

    out.gauge("hotpair_windback_open_gaps", "Gaps that a log may fill.", each("open_gaps"))
    out.counter("hotpair_windback_records_total", "Records read from logs.", each("records"))
    out.counter("hotpair_windback_samples_total", "Samples wound back.", each("samples"))
    reading = {name: device["reading"] for name, device in found.windback.items()}
    out.gauge(
        "hotpair_windback_reading",
        "1 while a log is read.",
        [({"device": name}, now is not None) for name, now in reading.items()],
    )
    out.gauge(
        "hotpair_windback_left_seconds",
        "How long that will take.",
        [({"device": name}, _seconds(now["left_ms"])) for name, now in reading.items() if now],
    )


def _doors(out: Exposition, found: Measured) -> None:
    out.one("hotpair_opcua_open", "1 while the endpoint is open.", found.status["endpoint_open"])
    for key, told in (
        ("sessions", "OPC UA sessions."),
        ("subscriptions", "OPC UA subscriptions."),
        ("items", "OPC UA monitored items."),
    ):
        out.one(f"hotpair_opcua_{key}", told, found.opcua[key])
    out.counter(
        "hotpair_opcua_notifications_total",
        "Changes of values that were sent.",
        [({}, found.opcua["notifications"])],
    )
    out.one("hotpair_web_sessions", "People who are logged in at this node.", found.sessions)
    streams = [({"kind": kind}, number) for kind, number in found.streams.items()]
    out.gauge("hotpair_web_streams", "Server-sent event streams.", streams)
    out.gauge(
        "hotpair_certificate_expiry_timestamp_seconds",
        "When a certificate ends.",
        [({"purpose": name}, end_ns / NS_PER_S) for name, end_ns in found.expires_ns.items()],
    )
    out.one("hotpair_disk_free_bytes", "Room where the journal is.", found.disk[0])
    out.one("hotpair_disk_size_bytes", "Size of that disk.", found.disk[1])
    out.one("process_resident_memory_bytes", "Resident memory.", found.memory_bytes)
    out.counter("process_cpu_seconds_total", "Processor time.", [({}, found.cpu_s)])
    started_s = found.started_ns / NS_PER_S
    out.one("process_start_time_seconds", "When the program started.", started_s)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1e3
