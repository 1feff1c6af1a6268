"""Who a node says it is, falsified: a certificate that is over, a node of another site."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from ruamel.yaml import YAML

from hil.settings import load_yaml

FOREIGN_SITE: Final = "elsewhere"
NOBODYS_PORT: Final = 1
"""Of the only device of the foreign site: it must not poll anything of the plant."""


def reissued(certificate_pem: bytes, key_pem: bytes, ends: datetime) -> bytes:
    """The same certificate by the same key, but valid to another moment, as PEM."""
    key = serialization.load_pem_private_key(key_pem, None)
    old = x509.load_pem_x509_certificate(certificate_pem)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(ends)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM)


def tls_files(node_file: Path) -> dict[str, Path]:
    """`cert`, `key` and `peer_cert` of a node's links; {} without TLS."""
    said = load_yaml(node_file.read_text(encoding="utf-8")).get("link", {}).get("tls", {})
    return {name: node_file.parent / path for name, path in said.items()}


def foreign_node(
    folder: Path, node_file: Path, to: list[str], link_ports: list[int], opcua_port: int
) -> Path:
    """The node.yaml of a node with this one's name and certificates, but of another site.

    `to` is where it dials. It knows one device, which nobody is, and keeps its data in `folder`.
    """
    said: dict[str, Any] = load_yaml(node_file.read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    files = tls_files(node_file)
    for path in files.values():
        shutil.copy(path, folder / path.name)
    site = {
        "site": FOREIGN_SITE,
        "pair": {"startup_wait": "1s"},
        "devices": {
            "nobody": {
                "driver": "modbus",
                "line": {"tcp": {"host": "127.0.0.1", "port": NOBODYS_PORT}},
                "points": {"none": {"address": 0}},
            }
        },
    }
    node: dict[str, Any] = {
        "node": said["node"],
        "data_dir": "data",
        "site": "site.yaml",
        "opcua": {
            "listen": f"127.0.0.1:{opcua_port}",
            "advertise": ["127.0.0.1"],
            "insecure": True,
        },
        "link": {"listen": [f"127.0.0.1:{port}" for port in link_ports], "peer": to},
    }
    if files:
        node["link"]["tls"] = {name: path.name for name, path in files.items()}
    yaml = YAML()
    for name, content in (("site.yaml", site), ("node.yaml", node)):
        with (folder / name).open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
    return folder / "node.yaml"
