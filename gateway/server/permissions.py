"""What each role may do with which node, by table (OPC 10000-3 sections 4.8, 5.2.9, 8.55).

Every role includes the ones before it. What is not in these tables nobody may do.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Final

from gateway.server.settings import Role


class Permission(IntFlag):
    """The bits of a PermissionType that this server grants."""

    NONE = 0
    BROWSE = 1 << 0
    READ_ROLE_PERMISSIONS = 1 << 1
    READ = 1 << 5
    WRITE = 1 << 6
    READ_HISTORY = 1 << 7
    RECEIVE_EVENTS = 1 << 11
    CALL = 1 << 12


WELL_KNOWN: Final[Mapping[Role, tuple[int, ...]]] = {
    Role.OBSERVER: (15668,),
    Role.OPERATOR: (15680,),
    Role.ENGINEER: (16036,),
    Role.ADMIN: (15716, 15704),
}
"""The standard's Roles that ours are, by number in namespace 0; admin is ConfigureAdmin and
SecurityAdmin."""

TO_WRITE: Final = Role.OPERATOR
TO_READ_PERMISSIONS: Final = Role.ADMIN
CALLS: Final[Mapping[int, Role]] = {
    11492: Role.OBSERVER,  # Server.GetMonitoredItems: of one's own subscriptions only
    12873: Role.OBSERVER,  # Server.ResendData: of one's own subscriptions only
    3875: Role.OBSERVER,  # ConditionType.ConditionRefresh
    12912: Role.OBSERVER,  # ConditionType.ConditionRefresh2
    9111: Role.OPERATOR,  # AcknowledgeableConditionType.Acknowledge
    9113: Role.OPERATOR,  # AcknowledgeableConditionType.Confirm
    9029: Role.OPERATOR,  # ConditionType.AddComment
    32416: Role.ADMIN,  # NonTransparentBackupRedundancyType.Failover, as every changeover
}
"""Who may call the standard's methods; every other method is for admins."""
TO_CALL_OTHERS: Final = Role.ADMIN


def to_call(number: int | None) -> Role:
    """The least role that may call a method of namespace 0; None is a method of another one."""
    return TO_CALL_OTHERS if number is None else CALLS.get(number, TO_CALL_OTHERS)


def of_point(role: Role, readable: bool, writable: bool) -> Permission:
    """What a role may do with a point."""
    found = _everywhere(role) | Permission.READ_HISTORY
    if readable:
        found |= Permission.READ
    if writable and role >= TO_WRITE:
        found |= Permission.WRITE
    return found


def of_variable(role: Role) -> Permission:
    """What a role may do with a variable that is no point: diagnostics, properties, the Server."""
    return _everywhere(role) | Permission.READ


def of_method(role: Role, number: int | None) -> Permission:
    """What a role may do with a method."""
    call = Permission.CALL if role >= to_call(number) else Permission.NONE
    return _everywhere(role) | call


def of_other(role: Role, notifies: bool) -> Permission:
    """What a role may do with any other node; `notifies` says whether it tells events."""
    return _everywhere(role) | (Permission.RECEIVE_EVENTS if notifies else Permission.NONE)


def _everywhere(role: Role) -> Permission:
    found = Permission.BROWSE
    if role >= TO_READ_PERMISSIONS:
        found |= Permission.READ_ROLE_PERMISSIONS
    return found
