"""Questions in the middle of a call, as the kit keeps them from round to round."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.asking import Conversation, InputRequired, form, roots, sample
from isthmus.messages import ClientCan, Envelope, Principal


class Age(msgspec.Struct):
    """A form."""

    age: int


class Name(msgspec.Struct):
    """A form."""

    name: str


def conversation(state: str = "", **answers: object) -> Conversation:
    """One round, with these answers from the client."""
    return Conversation.of(
        Envelope(
            id="c",
            principal=Principal("ann", "c", "default"),
            grants={},
            arguments=msgspec.Raw(b"{}"),
            client=ClientCan(elicitation=True),
            answers={key: msgspec.Raw(json.dumps(answer).encode()) for key, answer in answers.items()},
            state=state,
        )
    )


def accept(**content: object) -> dict[str, object]:
    return {"action": "accept", "content": content}


def asked(talk: Conversation, **questions: Any) -> tuple[list[str], str]:
    """The keys that are still asked for, and the state that goes with them."""
    with pytest.raises(InputRequired) as required:
        talk.ask(questions, "own")
    return list(required.value.result.input_requests), required.value.result.request_state


def test_questions_without_an_answer_end_the_call() -> None:
    keys, _ = asked(conversation(), age=form("Age?", Age), model=sample("Hm?", 5), roots=roots())
    assert keys == ["age", "model", "roots"]


def test_only_what_is_missing_is_asked_for_again() -> None:
    keys, state = asked(conversation(age=accept(age=7)), age=form("Age?", Age), name=form("Name?", Name))
    assert keys == ["name"]
    talk = conversation(state, name=accept(name="Ada"))
    found = talk.ask({"age": form("Age?", Age), "name": form("Name?", Name)}, "")
    assert (found["age"].content, found["name"].content) == ({"age": 7}, {"name": "Ada"})
    assert talk.state == "own"


def test_a_later_answer_takes_the_place_of_an_earlier_one() -> None:
    _, state = asked(conversation(age=accept(age=7)), age=form("Age?", Age), name=form("Name?", Name))
    found = conversation(state, age=accept(age=8)).ask({"age": form("Age?", Age)}, "")
    assert found["age"].content == {"age": 8}


def test_answers_that_nobody_asked_for_are_not_carried_on() -> None:
    _, state = asked(conversation(other=accept(age=1), age=accept(age=7)), age=form("Age?", Age), name=form("N?", Name))
    assert json.loads(state) == {"answers": {"age": accept(age=7)}, "own": "own"}


@pytest.mark.parametrize(
    "answer", [accept(), accept(age="seven"), accept(age=None), {"action": "yes"}, {}, [], 7, None, "x", {"roots": []}]
)
def test_an_answer_that_does_not_fit_is_none(answer: object) -> None:
    keys, state = asked(conversation(age=answer), age=form("Age?", Age))
    assert keys == ["age"]
    assert json.loads(state) == {"own": "own"}


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_who_declines_is_not_asked_again(action: str) -> None:
    assert conversation(age={"action": action}).ask({"age": form("Age?", Age)}, "")["age"].action == action


def test_the_text_of_what_the_model_said() -> None:
    block = {"type": "text", "text": "Yes"}
    said = {"role": "assistant", "model": "m", "content": [block, {"type": "image"}, block]}
    assert conversation(model=said).ask({"model": sample("Hm?", 5)}, "")["model"].text == "Yes\nYes"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(answer=JSON | st.fixed_dictionaries({"action": st.just("accept"), "content": JSON}))
def test_whatever_a_client_answers_it_is_an_answer_or_asked_for_again(answer: object) -> None:
    try:
        found = conversation(age=answer).ask({"age": form("Age?", Age)}, "")["age"]
    except InputRequired:
        return
    assert found.action != "accept" or isinstance(found.content["age"], int)
