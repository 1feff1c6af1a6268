"""A revision's texts become the same site as the files did, and two of them can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from test_config_scenarios import DRIVERS, ROOT, run, site_of

from drivers.modbus import driver as modbus
from drivers.opcua import driver as opcua
from gateway.config.build import NodeDraft
from gateway.config.differences import brief, changes, forbidden, shared_changes
from gateway.config.explain import Place
from gateway.config.site import SiteConfig
from gateway.config.text import YAML_MAX_BYTES
from gateway.config.texts import build_texts, first_difference, root_of, shipped_in

BUS = "  m: {driver: modbus, line: bus1, unit_id: 2, points: {p: {address: 0}}}\n"
SITE = (
    "site: s\nlines: {bus1: {rtu: {baudrate: 9600}}}\ndevices:\n"
    "  a: {driver: modbus, line: {tcp: {host: h}}, points: {x: {address: 0}, y: {address: 1}}}\n"
    + BUS
)


def built(files: Mapping[str, str]) -> SiteConfig:
    found = build_texts(files, DRIVERS)
    assert found.site is not None, found.problems
    return found.site


def test_a_revision_builds_the_site_that_its_files_built() -> None:
    site = run(ROOT / "plant_ok").site
    assert site is not None
    node = NodeDraft("node.yaml", {"bus1": "/dev/ttyUSB0"}, {}, Place("node.yaml", 0, "site"))
    again = build_texts(site.files, DRIVERS, node)
    assert again.site == site
    assert shipped_in(site.files) == ("acme/meter",)


def test_the_profile_of_the_revision_counts_and_not_the_one_installed() -> None:
    text = "site: s\ndevices: {m: {driver: modbus, line: {tcp: {host: h}}, profile: acme/meter}}\n"
    profile = "profile: acme/meter\npoints: {only: {register: input, address: 7}}\n"
    site = built({"site.yaml": text, "acme/meter": profile})
    assert [p.id for p in site.points] == ["m/only"]
    lacking = build_texts({"site.yaml": text}, DRIVERS)
    assert lacking.site is None
    assert str(lacking.problems[0]).startswith("site.yaml:2: devices.m.profile: there is no")


def test_problems_name_the_revisions_files_and_lines() -> None:
    files = {
        "site.yaml": "site: s\npoints_csv: [./sub/p.csv, gone.csv]\ndevices:\n"
        "  a: {driver: modbus, line: {tcp: {host: h}}}\n",
        "./sub/p.csv": "device,point,address\na,x,-1\n",
    }
    assert [f"{p.file}:{p.line}" for p in build_texts(files, DRIVERS).problems] == [
        "site.yaml:2",
        "sub/p.csv:2",
    ]
    with pytest.raises(ValueError, match=r"site\.yaml"):
        root_of({})
    huge = build_texts({"site.yaml": "#" * (YAML_MAX_BYTES + 1)}, DRIVERS)
    assert "larger than 4 MiB" in huge.problems[0].message


def test_a_serial_line_needs_a_port_of_the_node_and_a_spare_port_is_only_doubtful() -> None:
    node = NodeDraft("node.yaml", {"bus2": "/dev/x", "h": "/dev/y"}, {}, Place("node.yaml", 0, ""))
    found = build_texts({"site.yaml": SITE}, DRIVERS, node)
    assert [str(p) for p in found.problems] == [
        "site.yaml:2: lines.bus1: this node has no port for the serial line `bus1`. "
        "Add `ports: {bus1: /dev/ttyUSB0}` to node.yaml."
    ]
    both = NodeDraft("node.yaml", {"bus1": "/dev/x", "bus9": "/dev/y"}, {}, node.site)
    again = build_texts({"site.yaml": SITE}, DRIVERS, both)
    assert again.site is not None
    assert "no serial line `bus9`" in str(again.warnings[0])


def test_what_a_revision_changes_is_named_and_what_goes_on_is_not() -> None:
    old = built({"site.yaml": SITE})
    new = built(
        {
            "site.yaml": SITE.replace("y: {address: 1}", "b: {address: 1, renamed_from: y}")
            + "  z: {driver: modbus, line: {tcp: {host: k}}, points: {x: {address: 3}}}\n"
            "pair: {duty: discard, heartbeat: 50ms}\n"
            "history: {retention: 7d}\n"
        }
    )
    found = changes(old, new)
    assert found.devices_added == ("z",) and found.devices_changed == ("a",)
    assert found.points_added == ("a/b", "z/x") and found.points_removed == ("a/y",)
    assert found.renamed == ("a/y -> a/b",)
    assert found.lines_reopened == ("tcp h:502",) and found.lines_opened == ("tcp k:502",)
    assert found.sections == ("pair.heartbeat", "pair.duty", "history")
    assert found.from_start == ("pair.heartbeat",)
    assert shared_changes(old.pair, new.pair) == ["heartbeat"]
    assert "points renamed, with their history: 1: a/y -> a/b" in found.told()
    assert changes(new, new).told() == []
    assert "bus1" not in " ".join(found.told()), "the numbers of its points are not the line"


def test_many_names_are_counted() -> None:
    points = ", ".join(f"p{n:02}: {{address: {n}}}" for n in range(20))
    device = f"a: {{driver: modbus, line: {{tcp: {{host: h}}}}, points: {{{points}}}}}"
    found = changes(
        site_of({"site.yaml": "site: s\ndevices: {}\n"}),
        site_of({"site.yaml": f"site: s\ndevices: {{{device}}}\n"}),
    )
    assert found.told()[1].endswith("a/p11 and 8 more")


def test_site_namespace_and_types_stay_as_they_are() -> None:
    old = built({"site.yaml": SITE})
    other = built({"site.yaml": SITE.replace("site: s", "site: t")})
    assert [str(p) for p in forbidden(old, other)] == [
        "site.yaml:1: site: the site is `s` (found 't'). Another site is another pair of nodes, "
        "each with a data_dir of its own."
    ]
    named = built({"site.yaml": SITE.replace("site: s\n", "site: s\nnamespace: urn:x\n")})
    assert [p.line for p in forbidden(old, named)] == [2]
    typed = built({"site.yaml": SITE.replace("{address: 1}", "{address: 1, type: int32}")})
    (found,) = forbidden(old, typed)
    assert (found.line, found.where) == (4, "devices.a.points.y")
    assert "`renamed_from: y`" in found.remedy
    assert forbidden(old, replace(old)) == []


def test_the_first_difference_has_a_line() -> None:
    assert first_difference("a\nb\n", "a\nb\n") == 0
    assert first_difference("a\nb\n", "a\nc\n") == 2
    assert first_difference("a\n", "a\nb\n") == 2


def test_a_change_of_files_fits_in_a_line() -> None:
    old, new = (
        {"site.yaml": "1", "a.csv": "2", "c": "3"},
        {"site.yaml": "9", "b.csv": "2", "c": "3"},
    )
    assert brief(old, new) == "b.csv added, a.csv removed, site.yaml changed"


def test_the_root_may_have_any_name(tmp_path: Path) -> None:
    assert built({"plant": SITE}).files == {"plant": SITE}


def test_a_witness_on_udp_is_refused_as_one_on_a_serial_line_is() -> None:
    text = (
        "site: s\npair: {witness: {modbus: [{device: a, address: 9}, {device: b, address: 9}]}}\n"
        "devices:\n  a: {driver: modbus, line: {udp: {host: h}}, points: {x: {address: 0}}}\n"
        "  b: {driver: modbus, line: {tcp: {host: h}}, points: {x: {address: 0}}}\n"
    )
    found = build_texts({"site.yaml": text}, {"modbus": modbus.schema})
    assert [str(p) for p in found.problems] == [
        "site.yaml:2: pair.witness.modbus.0.device: is reached by UDP, where a request may arrive "
        "twice (found 'a'). Name a PLC that both nodes reach by TCP."
    ]


def test_the_certificates_and_secrets_that_a_node_needs_are_known() -> None:
    text = (
        "site: s\ndevices:\n"
        "  a: {driver: modbus, line: {tls: {host: h, ca: ca.pem, cert: c.pem, key: k.pem}},"
        " points: {x: {address: 0}}}\n"
        "  b: {driver: modbus, line: {tcp: {host: k}}, points: {x: {address: 0}}}\n"
        "  c: {driver: opcua, endpoint: 'opc.tcp://h:1', security: {user: u, password:"
        " {file: p.pw}, server_certificate: s.der}, points: {}}\n"
        "  d: {driver: opcua, endpoint: 'opc.tcp://h:2', insecure: true, points: {}}\n"
    )
    schemas = {"modbus": modbus.schema, "opcua": opcua.schema}
    site = build_texts({"site.yaml": text}, schemas).site
    assert site is not None
    assert [f for line in site.lines for f in (schemas[line.driver].files or list)(line)] == [
        ("c", "security.password.file", "p.pw"),
        ("c", "security.server_certificate", "s.der"),
        ("a", "line.tls.ca", "ca.pem"),
        ("a", "line.tls.cert", "c.pem"),
        ("a", "line.tls.key", "k.pem"),
    ]
