"""The OpenAPI document against a running node: every route, as each role and as nobody.

Requests are made up from the document; an answer must be one that it describes, and never a fault
of the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .web_rig import API, PAGE, PASSWORD, ROLES, WebPlant

EXAMPLES = 3
EXAMPLES_OF_ADMIN = 8
"""Of an operation. An admin gets furthest; a minute must be enough for all of them."""
STREAMS = (f"{API}/live", f"{API}/events/live", f"{API}/trace/{{device}}")
"""They don't end by themselves; tests/e2e/test_web_node.py listens to them."""
LAST = (f"{API}/login", f"{API}/logout")
"""The one locks strangers out, the other ends what is tried."""


def no_fault(_context: Any, answer: Any, case: Any) -> None:
    """A node that is no Standby says so by 503: that is its health, not a fault."""
    health = case.path.startswith("/health/")
    assert answer.status_code < 500 or (health and answer.status_code == 503), answer.text


CHECKS = [
    no_fault,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
REAL = {
    "from": "0",
    "to": "2100-01-01T00:00:00Z",
    "point": "plc1/level",
    "points": ["plc1/level", "meter1/power"],
    "pattern": "plc?/*",
    "target": "plc1/setpoint",
    "device": "plc1",
    "area": "holding",
    "address": "0",
    "reference": "1",
    "old": "1",
    "new": "",
    "name": "grafana",
}


class Running:
    """A node that runs while its tests do."""

    def __init__(self, plant: WebPlant) -> None:
        self.plant = plant
        self.sessions = {name: self._log_in(name) for name in ROLES}
        self.document = self.sessions["olga"].get(f"{plant.base}{API}/openapi.json").json()

    def session(self) -> requests.Session:
        found = requests.Session()
        found.verify = str(self.plant.certificate)
        found.trust_env = False
        found.headers.update(PAGE)
        return found

    def _log_in(self, name: str) -> requests.Session:
        found = self.session()
        asked = {"user": name, "password": PASSWORD}
        answer = found.post(f"{self.plant.base}{API}/login", json=asked)
        assert answer.status_code == 200, answer.text
        return found

    def operations(self) -> Iterator[Any]:
        schema = schemathesis.openapi.from_dict(self.document)
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.path not in STREAMS:
                yield operation


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    plant = WebPlant(tmp_path_factory.mktemp("schema"))
    with asyncio.Runner() as runner:
        try:
            runner.run(plant.start())
            yield Running(plant)
        finally:
            runner.run(plant.stop())


def run(
    running: Running,
    operation: Any,
    session: requests.Session,
    checks: list[Any],
    examples: int = EXAMPLES,
) -> None:
    """Some requests to one operation, always the same ones."""

    how = {"base_url": running.plant.base, "session": session, "timeout": 30}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), real=st.booleans())
    def every(case: Any, real: bool) -> None:
        for invented in (case.headers, case.cookies):
            invented.clear()  # who asks is the session's to say
        if real:  # else nearly all would be of points and devices that aren't there
            for part in (case.query, case.path_parameters, case.body):
                if isinstance(part, dict):
                    part.update({key: REAL[key] for key in part.keys() & REAL.keys()})
        answer = case.call(verify=session.verify, **how)
        case.validate_response(answer, checks=checks)

    every()


@pytest.mark.parametrize("name", ROLES)
def test_every_answer_is_one_that_the_document_describes(running: Running, name: str) -> None:
    tried = 0
    for operation in running.operations():
        if operation.path not in LAST and not operation.path.startswith("/health/"):
            examples = EXAMPLES_OF_ADMIN if name == "anna" else EXAMPLES
            run(running, operation, running.sessions[name], CHECKS, examples)
            tried += 1
    assert tried > 30


def test_a_stranger_gets_401_everywhere_but_at_health(running: Running) -> None:
    def refused(context: Any, answer: Any, case: Any) -> None:
        assert answer.status_code == 401, f"{case.method} {case.path}: {answer.status_code}"

    stranger = running.session()
    for operation in running.operations():
        if operation.path.startswith("/health/"):
            run(running, operation, stranger, CHECKS)
        elif operation.path != f"{API}/login":
            run(running, operation, stranger, [refused])
    for path in LAST:
        for operation in running.operations():
            if operation.path == path:
                run(running, operation, stranger, CHECKS)
    log = (running.plant.folder / "node.log").read_text()
    assert "Traceback" not in log
