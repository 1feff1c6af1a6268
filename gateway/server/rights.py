"""What the user of a session may do with a node, as the node's attributes tell it."""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua

from gateway.server import permissions
from gateway.server.context import Context
from gateway.server.permissions import Permission
from gateway.server.sessions import Session
from gateway.server.settings import Role

_CODES = ua.StatusCodes
_A = ua.AttributeIds
TOLD: Final = frozenset({_A.RolePermissions, _A.UserRolePermissions, _A.UserExecutable})
"""The attributes that `read` answers; UserAccessLevel is beside the values."""


def role_of(session: Session) -> Role | None:
    """The role of a session's user; None before a log-in."""
    return None if session.account is None else session.account.role


def may_write(session: Session) -> bool:
    """Whether the user of a session may operate the plant."""
    role = role_of(session)
    return role is not None and role >= permissions.TO_WRITE


def may_call(session: Session, method: ua.NodeId) -> bool:
    """Whether the user of a session may call a method."""
    role = role_of(session)
    return role is not None and role >= permissions.to_call(_number(method))


def read(context: Context, session: Session, nodeid: ua.NodeId, attribute: int) -> ua.DataValue:
    """One of the attributes TOLD; what a role may not know is BadUserAccessDenied."""
    role = role_of(session)
    data = context.space.get(nodeid)
    if data is None:
        return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadNodeIdUnknown))
    if role is None or (attribute == _A.RolePermissions and role < permissions.TO_READ_PERMISSIONS):
        return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadUserAccessDenied))
    if attribute == _A.UserExecutable:
        if _A.UserExecutable not in data.attributes:
            return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadAttributeIdInvalid))
        return ua.DataValue(ua.Variant(may_call(session, nodeid), ua.VariantType.Boolean))
    roles = tuple(Role) if attribute == _A.RolePermissions else (role,)
    told = [
        ua.RolePermissionType(
            RoleId=ua.NodeId(number, 0),
            Permissions=ua.PermissionType(int(_permissions(context, nodeid, data, each))),
        )
        for each in roles
        for number in permissions.WELL_KNOWN[each]
    ]
    return ua.DataValue(ua.Variant(told, ua.VariantType.ExtensionObject, is_array=True))


def _permissions(context: Context, nodeid: ua.NodeId, data: Any, role: Role) -> Permission:
    point = context.tree.point(nodeid)
    if point is not None:
        return permissions.of_point(role, point.access.readable, point.access.writable)
    kind = int(data.attributes[_A.NodeClass].value.Value.Value)
    if kind == ua.NodeClass.Variable:
        return permissions.of_variable(role)
    if kind == ua.NodeClass.Method:
        return permissions.of_method(role, _number(nodeid))
    notifier = data.attributes.get(_A.EventNotifier)
    return permissions.of_other(role, bool(notifier and notifier.value.Value.Value))


def _number(nodeid: ua.NodeId) -> int | None:
    """The number of a node of the standard; None for any other node."""
    standard = nodeid.NamespaceIndex == 0 and isinstance(nodeid.Identifier, int)
    return int(nodeid.Identifier) if standard else None
