"""What the user of a session may do with a node, as the node's attributes tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from gateway.server import permissions
from gateway.server.permissions import Permission
from gateway.server.sessions import Session
from gateway.server.settings import Role

if TYPE_CHECKING:
    from gateway.server.context import Context

_CODES = ua.StatusCodes
_A = ua.AttributeIds
TOLD: Final = frozenset({_A.RolePermissions, _A.UserRolePermissions, _A.UserExecutable})
"""The attributes that are answered from the table, not from the node."""
CURRENT_WRITE: Final = 2
"""The bit of AccessLevel (OPC 10000-3 section 8.57)."""


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


def shown(context: Context, session: Session, nodeid: ua.NodeId, attribute: int) -> ua.DataValue:
    """An attribute as the user of a session is told it: those of users differ by role."""
    point = context.tree.point(nodeid)
    if point is not None:
        if attribute == _A.Value and not point.access.readable:
            return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadNotReadable))
        if attribute == _A.UserAccessLevel and not may_write(session):
            level = context.space.read_attribute_value(nodeid, _A.AccessLevel).Value.Value
            return ua.DataValue(ua.Variant(level & ~CURRENT_WRITE, ua.VariantType.Byte))
    if attribute in (_A.Executable, _A.UserExecutable):
        method = context.methods.find(nodeid)
        if method is not None:
            allowed = attribute == _A.Executable or method.allows(session)
            can = allowed and method.executable()
            return ua.DataValue(ua.Variant(can, ua.VariantType.Boolean))
    if attribute in TOLD:
        return _told(context, session, nodeid, attribute)
    found: ua.DataValue = context.space.read_attribute_value(nodeid, attribute)
    return found


def _told(context: Context, session: Session, nodeid: ua.NodeId, attribute: int) -> ua.DataValue:
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
