"""What ships a node, held against the tools that read it; what they say, not what we think."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gateway.cli.shipped import PACKAGING, ROOT
from gateway.web.certificate import make

from .manual import Shell, can_be_played
from .third_party.rig import need

REPOSITORY = Path(__file__).parents[2]
FOLDER = ROOT / "packaging"
EXPOSURE_MAX = 3.0


def tool(name: str) -> str:
    """A program from outside, where it is for everybody or for root."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    need(found, name)
    assert found is not None
    return found


def run(
    *words: str | Path, folder: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=60, start_new_session=True,
        env={**os.environ, **more},
    )  # fmt: skip


def test_every_file_is_listed_and_can_be_written(tmp_path: Path) -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PACKAGING)
    hotpair = (sys.executable, "-m", "gateway.cli", "packaging")
    assert run(*hotpair, "--out", tmp_path / "p").returncode == 0
    for name in PACKAGING:
        assert (tmp_path / "p" / name).read_bytes() == (FOLDER / name).read_bytes()
    assert os.access(tmp_path / "p" / "floating-address", os.X_OK)
    assert "WatchdogSec=" in run(*hotpair, "hotpair.service").stdout
    wrong = run(*hotpair, "haproxy.conf")
    assert wrong.returncode == 3 and "haproxy.cfg" in wrong.stderr


@pytest.mark.external
def test_the_unit_is_one_that_systemd_takes_and_is_hardened() -> None:
    analyze = tool("systemd-analyze")
    told = run(analyze, "verify", FOLDER / "hotpair.service").stderr.splitlines()
    ours = [line for line in told if "hotpair" in line and "is not executable" not in line]
    assert not ours, "the program is not installed here, all else must be right"
    said = run(analyze, "security", "--offline=true", "--no-pager", FOLDER / "hotpair.service")
    found = re.search(r"exposure level for hotpair.service: ([0-9.]+)", said.stdout)
    assert found, said
    assert float(found[1]) < EXPOSURE_MAX, said.stdout


@pytest.mark.external
def test_haproxy_takes_its_example(tmp_path: Path) -> None:
    _, certificate = make("gw-a", ["gw-a"], datetime.now(UTC))
    (tmp_path / "hotpair.pem").write_bytes(certificate)
    text = (FOLDER / "haproxy.cfg").read_text()
    (tmp_path / "haproxy.cfg").write_text(text.replace("/etc/haproxy", str(tmp_path)))
    said = run(tool("haproxy"), "-c", "-f", tmp_path / "haproxy.cfg")
    assert said.returncode == 0 and "WARNING" not in said.stderr, said


@pytest.mark.external
def test_keepalived_takes_its_example(tmp_path: Path) -> None:
    # keepalived 2.2.7 ends itself by SIGTERM while it looks at a script of another user.
    text = (
        (FOLDER / "keepalived.conf").read_text().replace("script_user nobody", "script_user root")
    )
    for wrong in ("", "intervall 1"):
        file, log = tmp_path / "keepalived.conf", tmp_path / "log"
        file.write_text(text.replace("interval 1", wrong or "interval 1"))
        said = run(tool("keepalived"), f"--config-test={log}", "-f", file)
        assert (said.returncode == 0) is (not wrong), said
        assert wrong.partition(" ")[0] in log.read_text()


def test_a_floating_address_is_set_by_a_main_and_taken_away_by_all_others(tmp_path: Path) -> None:
    for name in ("ip", "arping"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/done\n')
        (tmp_path / name).chmod(0o755)
    for role in ("main", "standby", "stopped"):
        said = run(
            *("/bin/sh", FOLDER / "floating-address", "eth0", "10.0.9.100/24", role, "a reason"),
            PATH=f"{tmp_path}:{os.environ['PATH']}",
        )
        assert said.returncode == 0, said
    assert (tmp_path / "done").read_text().splitlines() == [
        "ip address replace 10.0.9.100/24 dev eth0",
        "arping -q -c 3 -U -I eth0 10.0.9.100",
        "ip address delete 10.0.9.100/24 dev eth0",
        "ip address delete 10.0.9.100/24 dev eth0",
    ]


def test_the_compose_file_runs_the_two_nodes_that_init_makes(tmp_path: Path) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    compose = YAML(typ="safe").load(text)
    line = next(line for line in text.splitlines() if "hotpair init" in line)
    command = line.lstrip("# ").split()[1:]
    said = run(sys.executable, "-m", "gateway.cli", *command, "--yes", "--json", folder=tmp_path)
    assert said.returncode == 0, said
    told = json.loads(said.stdout)
    assert told["ok"], told
    addresses = [s["networks"]["plant"]["ipv4_address"] for s in compose["services"].values()]
    assert addresses == [command[i + 1] for i, word in enumerate(command) if word == "--address"]
    for name, service in compose["services"].items():
        assert f"./plant/{name}:/etc/hotpair:ro" in service["volumes"]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_debian_package_and_its_parts_list_are_made_and_run(tmp_path: Path) -> None:
    tool("dpkg-deb")
    made = subprocess.run(
        ["make", "deb", "sbom"], cwd=REPOSITORY, capture_output=True, text=True, timeout=550
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (package,) = (REPOSITORY / "dist").glob("hotpair_*.deb")
    info = run("dpkg-deb", "--info", package).stdout
    assert "Package: hotpair" in info and "python3 (<< 3." in info
    assert run("dpkg-deb", "-x", package, tmp_path).returncode == 0
    for path in ("usr/bin/hotpair", "opt/hotpair/bin/hotpair"):
        assert (tmp_path / path).is_symlink() or os.access(tmp_path / path, os.X_OK)
    assert (tmp_path / "usr/lib/systemd/system/hotpair.service").exists()
    library = str(tmp_path / "opt/hotpair/lib")
    version = run(
        sys.executable, "-S", "-m", "gateway.cli", "--version",
        PYTHONPATH=library, PYTHONSAFEPATH="1",
    )  # fmt: skip
    assert version.stdout.startswith("hotpair "), version
    parts = json.loads((REPOSITORY / "dist" / "hotpair.cdx.json").read_text())
    assert parts["bomFormat"] == "CycloneDX"
    names = {part["name"] for part in parts["components"]}
    assert {"asyncua", "pymodbus", "aiomqtt", "asyncpg"} <= names and "pytest" not in names
    lintian = subprocess.run(
        [tool("lintian"), package], capture_output=True, text=True, timeout=300
    )
    assert lintian.returncode == 0 and not lintian.stdout, lintian.stdout


HAPROXY = """\
hotpair outstation eastron/sdm120 --listen tcp:127.0.0.1:5020 > o.log 2>&1 &
hotpair init plant --yes --site s --device tcp:127.0.0.1:5020 --profile eastron/sdm120 \
  --address 127.0.0.2 --address 127.0.0.3 > init.log
sed -i "s/0.0.0.0/127.0.0.2/" plant/a/node.yaml; sed -i "s/0.0.0.0/127.0.0.3/" plant/b/node.yaml
hotpair run plant/a/node.yaml > a.log 2>&1 & A=$!
hotpair run plant/b/node.yaml > b.log 2>&1 & B=$!
until grep -qs synced a.log b.log && grep -qs 'is Main' a.log b.log; do sleep 0.2; done
cat plant/?/data/web/web.crt > hotpair.pem
/usr/sbin/haproxy -f haproxy.cfg > haproxy.log 2>&1 &
until grep -q 'Server opcua/. is DOWN' haproxy.log; do sleep 0.2; done
"""


@pytest.mark.slow
@pytest.mark.external
def test_haproxy_leads_to_the_main_and_to_the_next_one(tmp_path: Path) -> None:
    tool("haproxy")
    need(can_be_played(), "unshare --net")
    text = (FOLDER / "haproxy.cfg").read_text().replace("/etc/haproxy", str(tmp_path))
    for said, here in (("10.0.9.1", "127.0.0.2"), ("10.0.9.2", "127.0.0.3"), ("bind ", "bind lo")):
        text = text.replace(said, here)
    text = text.replace("bind lo:", "bind 127.0.0.1:")
    (tmp_path / "haproxy.cfg").write_text(text)
    shell = Shell(tmp_path)
    try:
        shell.run(HAPROXY)
        main = "a" if "is Main" in shell.run("cat a.log") else "b"
        seen = [shell.run("hotpair probe opc.tcp://127.0.0.1:4840 --json")]
        shell.run(f"kill -9 ${main.upper()}; sleep 3")  # paces: takeover, and two checks of 0.5 s
        seen.append(shell.run("hotpair probe opc.tcp://127.0.0.1:4840 --json"))
        page = shell.run("curl -sk -o page -w '%{http_code}' https://127.0.0.1:8443/")
    finally:
        shell.close()
    assert all("SignAndEncrypt" in one for one in seen), seen
    assert seen[0] != seen[1], "another certificate answers: that of the other node"
    assert page.endswith("200"), page
