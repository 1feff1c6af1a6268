"""What a person is told to do when TLS does not come about."""

from __future__ import annotations

import pytest

from drivers.modbus.settings import Tls
from drivers.modbus.tls import remedy

TLS = Tls(host="10.0.0.1", ca="ca.crt", cert="gw.crt", key="gw.key")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Hostname mismatch, certificate is not valid for 'a'", "server_name"),
        ("certificate verify failed: certificate has expired", "Renew"),
        ("certificate verify failed: self-signed certificate in chain", "ca.crt"),
        ("[X509: KEY_VALUES_MISMATCH] key values mismatch", "gw.key"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "802"),
        ("[Errno 2] No such file or directory: 'x'", "Put the file there"),
        ("tlsv13 alert certificate required", "let it trust gw.crt"),
        ("10.0.0.1:802 closed the connection", "let it trust gw.crt"),
    ],
)
def test_each_failure_names_its_remedy(reason: str, said: str) -> None:
    assert said in remedy(TLS, reason)


def test_what_has_nothing_to_do_with_certificates_gets_no_advice() -> None:
    assert remedy(TLS, "no answer within 1s") == ""
