"""Plans: what a preview promised, as a short text that any worker of the source can check; and who must agree to it.

A plan is made for one change, one caller and ten minutes, and knows things as they were. Nothing is kept of it: it is
signed with the workers' common secret.
"""

import base64
import binascii
import hmac
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import msgspec

from isthmus.asking import form
from isthmus.errors import Conflict, InvalidArguments, NotAllowed
from isthmus.tools import Call

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)

Writes = Literal["direct", "preview", "confirm"]
"""How a source wants changes: at once, after a preview, or after the user agreed."""

SECONDS = 600
"""For which a plan holds."""
FORM = 4000
"""Characters of a preview in a form."""
APPROVAL = "approval"
"""The key of the question."""

_UNTIL = struct.Struct(">I")
_SIGNATURE = 12


class Approval(msgspec.Struct):
    """Nothing to fill in: the user agrees, or does not."""


@dataclass(frozen=True)
class Shown(Generic[A]):
    """What a preview found."""

    answer: A
    """For a caller who asked for a preview."""
    plan: str
    question: str
    """The same for the user, in at most FORM characters or a little more."""


def id_of(plan: str) -> str:
    """What audit events call it."""
    return plan[:16]


def make_plan(call: Call[T], change: object, seen: bytes) -> str:
    """The plan for a change, which msgspec can encode, and for what was seen of the things that it touches."""
    body = _UNTIL.pack(int(time.time()) + SECONDS) + seen
    return base64.urlsafe_b64encode(_signature(call, change, body) + body).decode().rstrip("=")


def open_plan(call: Call[T], change: object, plan: str) -> bytes:
    """What was seen. Raises InvalidArguments for a plan of something or somebody else, and Conflict for an old one."""
    try:
        sealed = base64.b64decode(plan + "=" * (-len(plan) % 4), altchars=b"-_", validate=True)
        signature, body = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
        (until,) = _UNTIL.unpack_from(body)
    except (binascii.Error, ValueError, struct.error):
        raise InvalidArguments("This is no plan; preview the change again.") from None
    if not hmac.compare_digest(signature, _signature(call, change, body)):
        raise InvalidArguments("This plan is for another change or another caller; preview this one.")
    if time.time() > until:
        raise Conflict("This plan is too old; nothing was changed. Preview the change again.")
    return body[_UNTIL.size :]


async def agree(
    call: Call[T],
    writes: Writes,
    show: Callable[[str], Awaitable[Shown[A]]],
    *,
    preview: bool,
    plan: str,
) -> A | str:
    """The preview to answer with, or the plan to carry out; an empty one stands for doing it without.

    `show` makes a preview, of a change that keeps to the plan if one is given; `plan` was opened before. Raises
    NotAllowed if the user does not agree.
    """
    if preview and plan:
        raise InvalidArguments("Give preview or plan, not both.")
    if preview or (writes == "preview" and not plan):
        return (await show("")).answer
    if writes == "confirm":
        if call.client.elicitation:
            return await _approved(call, show, plan)
        if not plan:
            return (await show("")).answer
    return plan


def user_agrees(call: Call[T], question: str, state: str) -> bool:
    """The answer of the user, who sees the question; until it is there, as `Call.ask`."""
    return call.ask({APPROVAL: form(question, Approval)}, state)[APPROVAL].action == "accept"


async def _approved(call: Call[T], show: Callable[[str], Awaitable[Shown[A]]], plan: str) -> str:
    """The plan of what the user has seen and agreed to."""
    agreed, seen = call.state, "Go on with the change?"
    if not agreed:
        shown = await show(plan)
        agreed = shown.plan
        seen = f"Allow this change in {call.source.title or call.source.name}?\n{shown.question}"
    if not user_agrees(call, seen, agreed):
        raise NotAllowed("The user did not agree to this change; nothing was changed.")
    return agreed


def _signature(call: Call[T], change: object, body: bytes) -> bytes:
    who = call.principal
    bound = (
        "plan", call.source.name, call.source.target, who.id, who.client_id, who.service, call.granted.digest,
        change, body,
    )  # fmt: skip
    return call.sign(msgspec.json.encode(bound, order="sorted"))[:_SIGNATURE]
