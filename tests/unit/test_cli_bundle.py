"""What leaves in a support bundle: what the models know, and no secret wherever one was put."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from command import hotpair

from gateway.app import schemas
from gateway.cli.secrets import REMOVED, kept, known_secrets, struck
from gateway.config.editor import node_schema, site_schema
from gateway.config.yaml import parse

SITE = """\
# comment: hunter2comment
site: plant
devices:
  plc1:
    driver: modbus
    line: {tcp: {host: 10.0.0.1}, tsl: {key: hunter2line}}
    passwrd: hunter2device
    password: {is: [hunter2deep]}
    windback: {method: ring, hidden: hunter2windback}
    points:
      level: {address: 0, unit: m, note: hunter2point}
  plc2:
    driver: opcua
    endpoint: opc.tcp://gw:hunter2url@10.0.0.12:4840
    security: {policy: Basic256Sha256, user: gw, password: {file: plc2.pw}}
    points:
      flow: {node: ns=2;s=Flow, type: double}
  plc3: {driver: unknown, token: hunter2unknown}
users:
  alice: {role: operator, password_hash: "scrypt$hunter2hash"}
  bob: {role: admin, password: hunter2plain}
  carol: hunter2user
points_csv: [points.csv]
unknown_section: {a: hunter2section, b: [hunter2list]}
"""
NODE = """\
node: a            # hunter2nodecomment
data_dir: data
site: plant.yaml
link:
  {listen: "127.0.0.1:7700", peer: "127.0.0.1:7701",
   tls: {cert: a.crt, key: a.key, peer_cert: b.crt}}
web: {listen: 127.0.0.1:8080, token: hunter2token}
opcua: {listen: "127.0.0.1:4840", insecure: true, secret: hunter2opcua}
"""
KEY = "-----BEGIN PRIVATE KEY-----\nhunter2keyline1\nhunter2keyline2\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    for name, text in {
        "node.yaml": NODE,
        "plant.yaml": SITE,
        "points.csv": "# hunter2csv\ndevice,point,address,unit\nplc1,ph,2,pH\n",
        "plc2.pw": "hunter2password\n",
        "a.key": KEY,
        "a.crt": "x",
        "b.crt": "x",
        "data/control.txt": "hunter2file",
        "data/pki/own/server.pem": KEY,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "n.log").write_text(
        "plc2: login failed with hunter2password\nread hunter2keyline2 from a.key\n"
        'user alice "scrypt$hunter2hash"\nplc1 is lost\n'
    )
    return tmp_path / "node.yaml"


def unpacked(file: Path) -> dict[str, str]:
    found = {}
    with tarfile.open(file) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            assert content is not None and entry.name.startswith("hotpair-support/")
            found[entry.name.partition("/")[2]] = content.read().decode()
    return found


def test_no_planted_secret_leaves_and_what_helps_does(node: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.tar.gz"
    said = hotpair("support-bundle", out, "-n", node, "--log", tmp_path / "n.log", "--json")
    assert said.status == 0, said
    parts = unpacked(out)
    assert sorted(parts) == said.json["parts"]
    for name, text in parts.items():
        assert "hunter2" not in text, name
    assert out.stat().st_mode & 0o777 == 0o600
    site, own = json.loads(parts["config/site.json"]), json.loads(parts["config/node.json"])
    plc1 = site["devices"]["plc1"]
    assert plc1["line"]["tcp"] == {"host": "10.0.0.1"}
    assert plc1["points"]["level"] == {"address": 0, "unit": "m", REMOVED: REMOVED}
    assert site["devices"]["plc2"]["security"]["password"] == {"file": "plc2.pw"}
    assert site["devices"]["plc2"]["endpoint"] == f"opc.tcp://{REMOVED}@10.0.0.12:4840"
    assert site["users"]["alice"] == {"role": "operator", "password_hash": REMOVED}
    assert own["link"]["tls"] == {"cert": "a.crt", "key": "a.key", "peer_cert": "b.crt"}
    assert "plc1 is lost" in parts["logs/n.log"]
    assert "plc1,ph," in parts["config/points.csv"]
    assert "plc1,level" not in parts["config/points.csv"], "a point with a mistake is none"
    assert not json.loads(parts["config/check.json"])["ok"]
    assert "no node runs" in parts["node/README.txt"]
    names = [entry["name"] for entry in json.loads(parts["journal.json"])["files"]]
    assert names == ["control.txt"]
    assert json.loads(parts["versions.json"])["packages"]["asyncua"]


def test_a_bundle_is_made_of_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "node.yaml").write_text("- no mapping")
    said = hotpair(
        *("support-bundle", tmp_path / "b.tar.gz", "-n", tmp_path / "node.yaml"),
        *("--journald", "hotpair"),
    )
    assert said.status == 0, said
    assert "look before you send it" in said.out
    parts = unpacked(tmp_path / "b.tar.gz")
    assert "unreadable" in parts["config/node.json"] and "unreadable" in parts["config/site.json"]
    assert "journalctl can't be asked" in parts["logs/journald.txt"]
    again = hotpair("support-bundle", tmp_path / "b.tar.gz", "-n", tmp_path)
    assert again.status == 1 and "exists: nothing was written" in again.err
    said = hotpair("support-bundle", tmp_path / "c.tar.gz", "-n", tmp_path)
    assert said.status == 0 and "config/README.txt" in said.out


@pytest.mark.parametrize(("file", "make"), [("site", site_schema), ("node", node_schema)])
def test_a_configuration_without_secrets_is_kept_whole(file: str, make: Any) -> None:
    folder = Path(__file__).parents[2] / "hil" / "sites" / "demo"
    tree, _ = parse((folder / f"{file}.yaml").read_text(), file)
    assert tree is not None
    schema, data = make(schemas()), tree.plain()
    for device in data.get("devices", {}).values():
        device.pop("windback", None)  # the schema of a site does not say what is in it
    assert kept(data, schema, schema) == json.loads(json.dumps(data))


def test_what_has_another_type_or_depth_than_the_models_have_is_left_out() -> None:
    schema = site_schema(schemas())
    assert kept({"site": ["x"], "history": "x"}, schema, schema) == {
        "site": REMOVED,
        "history": REMOVED,
    }
    deep: Any = "hunter2"
    for _ in range(60):
        deep = {"$ref": deep}
    assert "hunter2" not in json.dumps(kept(deep, schema, schema))
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert kept("x", loop, loop) == REMOVED


def test_secrets_are_struck_as_json_writes_them_and_short_ones_are_not(tmp_path: Path) -> None:
    secret = 'geheim "ä"\n'
    assert "geheim" not in struck(json.dumps({"a": secret}), [secret])
    assert "geheim" not in struck(json.dumps({"a": secret}, ensure_ascii=False), [secret])
    (tmp_path / "node.yaml").write_text("node: a\npassword: abc\ntoken: abcdef\n")
    assert known_secrets(tmp_path / "node.yaml") == ["abcdef"]
