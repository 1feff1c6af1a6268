"""What /metrics says: in Prometheus' format, of everything, and what the dashboard asks for."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path

from web_world import STATUS, WINDBACK

from gateway.driver.port import RTT_BOUNDS_NS, Diagnostics
from gateway.model import NS_PER_MS
from gateway.web.answers import NodeStatus
from gateway.web.exposition import Exposition
from gateway.web.metrics import Measured, metrics_text

SAMPLE = re.compile(
    r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\+Inf|-?[0-9.e+-]+)\Z'
)
DASHBOARD = Path(__file__).parents[2] / "gateway" / "web" / "grafana.json"


def measured(status: dict[str, object] = STATUS) -> Measured:
    meter = Diagnostics()
    for rtt_ms in (0.5, 1, 30, 9_000):
        meter.round_trip(int(rtt_ms * NS_PER_MS))
    return Measured(
        status=status,
        gaps={("plc1", "link", "open"): (1, 2 * 10**9), ("plc1", "device", "lost"): (3, 10**9)},
        round_trips={"plc1": (meter.rtt_counts, meter.rtt_sum_ns)},
        windback=WINDBACK,
        opcua={"sessions": 2, "subscriptions": 3, "items": 400, "notifications": 5_000},
        expires_ns={"opcua": 1_800_000_000 * 10**9},
        disk=(7, 9),
        memory_bytes=10**8,
        cpu_s=1.5,
        started_ns=1_790_000_000 * 10**9,
        sessions=1,
        streams={"live": 2, "events": 0},
    )


def read(text: str) -> dict[str, float]:
    """Sample by name and labels; fails on what isn't the format."""
    found: dict[str, float] = {}
    families: set[str] = set()
    family = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in families, f"{family} is there twice"
            families.add(family)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
        else:
            match = SAMPLE.match(line)
            assert match is not None, line
            assert match[1].startswith(family), f"{line} lies in {family}"
            key = line.rpartition(" ")[0]
            assert key not in found, f"{key} is there twice"
            found[key] = float(match[3])
    return found


def test_the_node_of_these_tests_is_one_that_rest_could_show() -> None:
    NodeStatus.model_validate(STATUS)


def test_everything_is_told_in_the_format() -> None:
    found = read(metrics_text(measured()))
    assert found['hotpair_build_info{version="0.1.0",site="pump \\"7\\"",node="a"}'] == 1
    assert found['hotpair_role{role="main"}'] == 1
    assert found['hotpair_role{role="synced"}'] == 0
    assert found["hotpair_term"] == 3
    assert found['hotpair_peer{state="standby"}'] == 1
    assert found["hotpair_history_lag_seconds"] == 0.5
    assert found['hotpair_replication_lag_samples{direction="sending"}'] == 2
    assert found['hotpair_replication_lag_seconds{direction="receiving"}'] == 0.0035
    assert found['hotpair_errors_total{device="plc1",kind="timeout"}'] == 3
    assert found['hotpair_exceptions_total{device="plc1",code="2"}'] == 5
    assert found['hotpair_gaps{device="plc1",cause="link",state="open"}'] == 1
    assert found['hotpair_gap_seconds{device="plc1",cause="device",state="lost"}'] == 1
    assert found['hotpair_windback_left_seconds{device="plc1"}'] == 1.5
    assert found["hotpair_opcua_items"] == 400
    assert found['hotpair_northbound_delivering{feed="mqtt"}'] == 1
    assert found['hotpair_northbound_lag_seconds{feed="mqtt"}'] == 0.25
    assert 'hotpair_northbound_lag_seconds{feed="postgres"}' not in found, "a Standby doesn't know"
    assert found['hotpair_northbound_samples_total{feed="mqtt"}'] == 4_000
    assert found['hotpair_certificate_expiry_timestamp_seconds{purpose="opcua"}'] == 1.8e9


def test_round_trips_are_counted_up_to_each_bound() -> None:
    found = read(metrics_text(measured()))
    of = 'hotpair_round_trip_seconds_bucket{device="plc1",le="'
    assert found[f'{of}0.001"}}'] == 2, "a bound belongs to its count"
    assert found[f'{of}0.02"}}'] == 2
    assert found[f'{of}0.05"}}'] == 3
    assert found[f'{of}+Inf"}}'] == found['hotpair_round_trip_seconds_count{device="plc1"}'] == 4
    assert found['hotpair_round_trip_seconds_sum{device="plc1"}'] == 9.0315
    assert len(Diagnostics().rtt_counts) == len(RTT_BOUNDS_NS) + 1


def test_what_a_node_alone_does_not_have_is_not_told() -> None:
    status = deepcopy(STATUS)
    status |= {"peer": None, "replication": None, "links": [], "witness": [], "devices": {}}
    found = read(metrics_text(measured(status)))
    assert not [key for key in found if key.startswith(("hotpair_replication", "hotpair_link"))]
    assert "hotpair_peer_heard_seconds" not in found


def test_texts_are_escaped() -> None:
    out = Exposition()
    out.gauge("x", "a\\b\nc", [({"y": 'say "hi"\n\\'}, 1.5), ({"y": "none"}, None)])
    expected = '# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{y="say \\"hi\\"\\n\\\\"} 1.5\n'
    assert out.text() == expected


def test_the_dashboard_asks_only_for_what_there_is() -> None:
    known = {key.partition("{")[0] for key in read(metrics_text(measured()))}
    dashboard = json.loads(DASHBOARD.read_text())
    asked: list[str] = []
    for panel in dashboard["panels"]:
        asked += [target["expr"] for target in panel.get("targets", [])]
    asked += [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    assert len(asked) > 15
    for query in asked:
        names = set(re.findall(r"\b(?:hotpair|process)_[a-z_]+", query))
        assert names, f"{query} asks for nothing of ours"
        assert names <= known, f"{query} asks for {names - known}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
