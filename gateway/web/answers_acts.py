"""What REST is told to do, and what it answers to that. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from gateway.web.answers import RoleName, Scalar


class WriteRequest(BaseModel):
    """A value for a point, in engineering units."""

    point: str = Field(max_length=160)
    value: bool | int | float | str


class Written(BaseModel):
    """What became of a write: its StatusCode by name, and what was read back."""

    status: str
    read_back: Scalar
    detail: str


class MaintenanceRequest(BaseModel):
    """What is put out of service, or back; `value` is for substitute."""

    action: Literal["disable", "enable", "substitute", "release"]
    target: str = Field(max_length=160)
    value: Scalar = None
    why: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")


class LogRequest(BaseModel):
    """A stretch [from, to) of a device's log, ns UTC; `log` may be empty where there is one."""

    device: str = Field(max_length=64)
    log: str = Field("", max_length=64)
    from_ns: int = Field(ge=0, lt=2**62)
    to_ns: int = Field(ge=0, lt=2**62)


class Difference(BaseModel):
    """A logged value that history does not have."""

    point: str
    time_ns: int
    logged: Scalar
    history: list[Scalar]


class Verified(BaseModel):
    """A log held against history: compared = equal + in_gaps + different."""

    log: str
    compared: int
    equal: int
    in_gaps: int
    different: int
    differences: list[Difference]


class Rehearsed(BaseModel):
    """What a Standby found when it knocked at a device."""

    device: str
    allowed: bool
    reached: bool
    detail: str
    remedy: str


class PeerRequest(BaseModel):
    """Whether the other node is under repair and counts as agreeing."""

    absent: bool


class Raw(BaseModel):
    """Registers or a node, past all maps."""

    values: list[Scalar]


class Revision(BaseModel):
    """A revision of the configuration; `state` is head, diverged or empty.

    `before` is the reference of the one it was made from, empty where that is not known.
    """

    number: int
    reference: str
    term: str
    at: str
    who: str
    state: str
    running: bool
    parent: str
    before: str
    points: int
    changed: str


class FileDifference(BaseModel):
    """What one revision changed of a file of another, as a unified diff."""

    file: str
    difference: str


class ApplyRequest(BaseModel):
    """The texts of a site, its own file first; `alone` goes on though the other node is away."""

    files: dict[str, str] = Field(min_length=1, max_length=1_000)
    alone: bool = False
    dry_run: bool = False


class RollbackRequest(BaseModel):
    """The revision to go back to: `6`, or `6.3.a` where the number is not enough."""

    reference: str = Field(min_length=1, max_length=100)
    alone: bool = False
    dry_run: bool = False


class Applied(BaseModel):
    """What became of a proposal; `number` 0: nothing was committed."""

    node: str
    number: int
    in_force: bool
    problems: list[str]
    warnings: list[str]
    changes: list[str]
    peer: str


class User(BaseModel):
    """A user of the site, and how they can log in."""

    name: str
    role: RoleName
    password: bool
    certificate: bool


class Token(BaseModel):
    """A token that was made; nobody can read it again."""

    name: str
    role: RoleName
    made_by: str
    made: str
    expires: str
    expired: bool


class TokenRequest(BaseModel):
    """A token for a program: its name, what it may do, and for how long."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    role: RoleName = "observer"
    days: int = Field(365, ge=1, le=3_650)


class NewToken(BaseModel):
    """A new token: this is the only time that it is shown."""

    name: str
    token: str


class Certificate(BaseModel):
    """A certificate of this node, by what it is for."""

    purpose: str
    subject: str
    sha256: str
    expires: str


class Trusted(BaseModel):
    """A certificate of an OPC UA client; `state` is trusted, issuer or rejected."""

    state: Literal["trusted", "issuer", "rejected"]
    thumbprint: str
    subject: str
    uri: str
    valid_until: str
    written: str


class TrustRequest(BaseModel):
    """A rejected certificate, by its thumbprint; `issuer`: a CA that only completes chains."""

    thumbprint: str = Field(pattern=r"^[0-9A-Fa-f]{4,40}$")
    issuer: bool = False


class BackupRequest(BaseModel):
    """The name of a folder that is made below `data_dir/backups`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")
