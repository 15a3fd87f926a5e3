"""What a tool may ask the client for in the middle of a call: a form for the user, a model's answer, its roots.

Nothing waits here. A question without an answer ends the call with MCP's `InputRequiredResult`; the client asks its
user and makes the call again, with the answers. Clients of the protocol's 2025 versions are asked by the gateway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec

from isthmus.forms import form_schema
from isthmus.messages import ClientCan, Envelope
from isthmus.results import InputMethod, InputRequest, InputRequiredResult
from isthmus.schemas import JsonSchema

A_co = TypeVar("A_co", bound=msgspec.Struct, covariant=True)
A = TypeVar("A", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)


class Elicited(msgspec.Struct, frozen=True):
    """What came of a form."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, str | int | float | bool | list[str] | None] = {}
    """The fields of the form; empty unless it was accepted."""


class Sampled(msgspec.Struct, frozen=True):
    """What the client's model said."""

    role: str
    model: str
    content: dict[str, Any] | list[dict[str, Any]]
    """A content block of MCP, or a list of them."""

    @property
    def text(self) -> str:
        """The text of it."""
        blocks = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(block["text"] for block in blocks if block.get("type") == "text")


class Root(msgspec.Struct, frozen=True):
    """A folder or file of the client's."""

    uri: str
    name: str = ""


class Roots(msgspec.Struct, frozen=True):
    """What the client works on."""

    roots: tuple[Root, ...]


@dataclass(frozen=True)
class Question(Generic[A_co]):
    """One thing to ask."""

    request: InputRequest
    answer: type[A_co]
    accepts: type[msgspec.Struct] | None = None
    """What the content of an accepted form must fit."""


def form(message: str, fields: type[msgspec.Struct] | JsonSchema) -> Question[Elicited]:
    """A form for the user: a Struct of texts, numbers, booleans and choices, or MCP's schema of one.

    Raises ConfigurationError for a Struct that no form can show.
    """
    schema = fields if isinstance(fields, dict) else form_schema(fields)
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    accepts = None if isinstance(fields, dict) else fields
    return Question(_request("elicitation/create", params), Elicited, accepts)


def sample(messages: str | Sequence[JsonSchema], max_tokens: int, **more: Any) -> Question[Sampled]:
    """A question for the client's model: one text, or MCP's `SamplingMessage`s; `more` are further parameters."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": {"type": "text", "text": messages}}]
    params = {"messages": list(messages), "maxTokens": max_tokens, **more}
    return Question(_request("sampling/createMessage", params), Sampled)


def roots() -> Question[Roots]:
    """What the client works on."""
    return Question(_request("roots/list", {}), Roots)


class InputRequired(Exception):
    """Some questions have no answer yet."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__()
        self.result = result


class _State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes to the client and back, sealed by the gateway."""

    answers: dict[str, msgspec.Raw] = {}
    own: str = ""


@dataclass
class Conversation:
    """The questions and answers of one call, over all its rounds."""

    client: ClientCan = field(default_factory=ClientCan)
    state: str = ""
    """What the tool itself wanted to be told again."""
    answers: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    asked: set[str] = field(default_factory=set[str])
    """The keys that this run of the tool has asked for: other answers are not carried on."""

    @classmethod
    def of(cls, envelope: Envelope) -> "Conversation":
        """The conversation so far. Raises msgspec.DecodeError for a state that no worker made."""
        before = msgspec.json.decode(envelope.state, type=_State) if envelope.state else _State()
        return cls(client=envelope.client, state=before.own, answers={**before.answers, **envelope.answers})

    def ask(self, questions: Mapping[str, Question[A]], state: str) -> dict[str, A]:
        """The answers, by the questions' keys. Raises InputRequired for those that have none that fits."""
        self.asked |= questions.keys()
        found = {key: self._answer(key, question) for key, question in questions.items()}
        missing = {key: questions[key] for key, answer in found.items() if answer is None}
        if missing:
            kept = {key: self.answers[key] for key in self.asked - missing.keys() if key in self.answers}
            raise InputRequired(
                InputRequiredResult(
                    input_requests={key: question.request for key, question in missing.items()},
                    request_state=msgspec.json.encode(_State(kept, state)).decode(),
                )
            )
        return {key: answer for key, answer in found.items() if answer is not None}

    def _answer(self, key: str, question: Question[A]) -> A | None:
        if (raw := self.answers.get(key)) is None:
            return None
        try:
            answer = msgspec.json.decode(raw, type=question.answer)
            if isinstance(answer, Elicited) and answer.action == "accept" and question.accepts is not None:
                msgspec.convert(answer.content, question.accepts)
        except msgspec.DecodeError:
            return None
        return answer


def _request(method: InputMethod, params: object) -> InputRequest:
    return InputRequest(method, msgspec.Raw(msgspec.json.encode(params)))
