"""Who is found, and where: FindServers and GetEndpoints (OPC 10000-4 sections 5.5.2 and 5.5.4).

A client is told the address that it used first, since that one works for it, then every name that
the node advertises. Each server of a redundant set describes all of them (section 6.6.2.4.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlparse

from asyncua import ua

URL_MAX: Final = 4096
"""A longer address is not repeated to whoever claims to have used it."""
PRODUCT_URI: Final = "urn:hotpair"


@dataclass(frozen=True, slots=True)
class Member:
    """One server of a redundant set, as it tells the other: at least one URL."""

    node: str
    application_uri: str
    name: str
    urls: tuple[str, ...]


def url_of(host: str, port: int) -> str:
    """The address of an endpoint."""
    return f"opc.tcp://{f'[{host}]' if ':' in host else host}:{port}"


def used_url(asked: str | None) -> str | None:
    """The address by which a client says it came, without a path; None if that is none."""
    if not asked or len(asked) > URL_MAX:
        return None
    try:
        netloc = urlparse(asked).netloc
    except ValueError:
        return None
    return f"opc.tcp://{netloc}" if netloc else None


class Discovery:
    """Answers for this server and for the other one of the set.

    `members` gives this server first; `endpoints` are one of each security policy, as the library
    made them.
    """

    def __init__(self, members: Callable[[], Sequence[Member]]) -> None:
        self._members = members
        self.policies: list[ua.EndpointDescription] = []

    def endpoints(self, asked: str | None) -> list[ua.EndpointDescription]:
        """Each security policy at each address."""
        own = self._members()[0]
        urls = _distinct((used_url(asked), *own.urls))
        described = describe(own, urls)
        found = []
        for url in urls:
            for policy in self.policies:
                endpoint = copy(policy)
                endpoint.EndpointUrl, endpoint.Server = url, described
                found.append(endpoint)
        return found

    def servers(self, asked: str | None, wanted: Iterable[str]) -> list[ua.ApplicationDescription]:
        """The servers of the set, or those of the ApplicationUris that are wanted."""
        own, *others = self._members()
        found = [describe(own, _distinct((used_url(asked), *own.urls)))]
        found += [describe(other, list(other.urls)) for other in others]
        only = set(wanted)
        return [server for server in found if not only or server.ApplicationUri in only]


def describe(member: Member, urls: list[str]) -> ua.ApplicationDescription:
    """A server as discovery tells of it."""
    return ua.ApplicationDescription(
        ApplicationUri=member.application_uri,
        ProductUri=PRODUCT_URI,
        ApplicationName=ua.LocalizedText(member.name),
        ApplicationType=ua.ApplicationType.Server,
        DiscoveryUrls=urls,
    )


def _distinct(urls: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(url for url in urls if url))
