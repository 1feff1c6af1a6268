"""A client by the old PyPI package `opcua`. Usage: freeopcua_client.py TASKS_FILE

Each task is a session of its own; what they found is one JSON object, in their order. A task with
`stays` goes on reading until its connection ends, and says `stays` when it begins to.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from opcua import Client, ua

WITHIN_S = 20.0
PACE_S = 0.05


class Heard:
    """What a subscription tells, from the library's thread to ours."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()

    def datachange_notification(self, _node: Any, value: Any, data: Any) -> None:
        self.queue.put([value, data.monitored_item.Value.StatusCode.name])

    def event_notification(self, event: Any) -> None:
        self.queue.put([event.SourceName, event.Message.Text])

    def take(self, count: int) -> list[Any]:
        return [self.queue.get(timeout=WITHIN_S) for _ in range(count)]


def connect(task: dict[str, Any]) -> Client:
    client = Client(task["endpoint"], timeout=10)
    if "security" in task:
        client.set_security_string(",".join(task["security"]))
    if "user" in task:
        client.set_user(task["user"])
        client.set_password(task["password"])
    client.connect()
    return client


def plain(found: Any) -> dict[str, Any]:
    at = found.SourceTimestamp
    return {
        "value": found.Value.Value,
        "type": found.Value.VariantType.name,
        "status": found.StatusCode.name,
        "source": at and at.isoformat(),
    }


def walk(client: Client, names: list[str]) -> dict[str, str]:
    """The names and ids below a path from Objects; the standard's own are left out."""
    node = client.get_objects_node()
    for name in names:
        node = node.get_child(f"2:{name}")
    children = [(child.get_browse_name(), child) for child in node.get_children()]
    return {
        name.Name: child.nodeid.to_string() for name, child in children if name.NamespaceIndex == 2
    }


def write(client: Client, node: str, value: float, stamped: bool) -> str:
    """`stamped` is the library's own `set_value`, which adds a source timestamp."""
    variant = ua.Variant(value, ua.VariantType.Float)
    try:
        client.get_node(node).set_value(variant if stamped else ua.DataValue(variant))
    except ua.UaStatusCodeError as error:
        return type(error).__name__
    return "Good"


def stays(client: Client, node: str) -> str:
    """Read until it is refused; what ended it."""
    print(json.dumps({"stays": True}), flush=True)
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        try:
            client.get_node(node).get_value()
        except Exception as error:  # whatever the library makes of it
            return repr(error)
        time.sleep(PACE_S)  # paces: reads as an old script does
    return "nothing ended it"


def comes_back(task: dict[str, Any], endpoint: str, node: str) -> Any:
    """The value of a point at the other endpoint, as soon as somebody is there."""
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            client = connect({**task, "endpoint": endpoint})
            try:
                return plain(client.get_node(node).get_data_value())
            finally:
                client.disconnect()
        except (OSError, ua.UaError):
            if time.monotonic() > ends:
                raise
            time.sleep(PACE_S)  # paces: nobody may be there yet


def carry_out(task: dict[str, Any]) -> dict[str, Any]:
    client = connect(task)
    found: dict[str, Any] = {}
    try:
        if "browse" in task:
            found["browse"] = walk(client, task["browse"])
        if "read" in task:
            found["read"] = [plain(client.get_node(n).get_data_value()) for n in task["read"]]
        if "subscribe" in task:
            heard = Heard()
            subscription = client.create_subscription(100, heard)
            subscription.subscribe_data_change(client.get_node(task["subscribe"]["node"]))
            found["subscribe"] = heard.take(task["subscribe"]["count"])
            subscription.delete()
        if "history" in task:
            start, end = map(datetime.fromisoformat, task["history"]["between"])
            values = client.get_node(task["history"]["node"]).read_raw_history(start, end)
            found["history"] = [plain(value) for value in values]
        if "write" in task:
            found["write"] = [write(client, *what) for what in task["write"]]
        if "stays" in task:
            heard = Heard()
            client.create_subscription(100, heard).subscribe_events()
            found["ended"] = stays(client, task["stays"])
    finally:
        try:
            client.disconnect()
        except Exception as error:
            found["disconnect"] = repr(error)
    if "then" in task:
        found["then"] = comes_back(task, task["then"], task["stays"])
    return found


def main() -> None:
    said = []
    for task in json.loads(Path(sys.argv[1]).read_text()):
        try:
            said.append(carry_out(task))
        except Exception as error:  # the test judges it
            said.append({"error": repr(error)})
    print(json.dumps({"found": said}), flush=True)


if __name__ == "__main__":
    main()
