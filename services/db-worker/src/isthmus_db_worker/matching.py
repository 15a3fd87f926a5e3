"""The arguments of one call of a routine: which routine of that name they fit, and what is bound for each."""

from collections.abc import Sequence

import msgspec

from isthmus.errors import InvalidArguments, near
from isthmus_db_worker.routines import Bound, Parameter, Routine
from isthmus_db_worker.values import JsonValue

Given = dict[str, JsonValue] | list[JsonValue]
"""By name, or in the order of the arguments that go in."""

SHOWN = 5
"""Signatures in a message."""


def choose(routines: Sequence[Routine], given: Given) -> tuple[Routine, Bound]:
    """The one routine that the arguments fit, by their names and number and then by their values.

    Raises InvalidArguments, with the signatures where several fit, or none of several.
    """
    if len(routines) == 1:
        (routine,) = routines
        return routine, _bind(routine, _place(routine, given))
    fitting: list[tuple[Routine, Bound]] = []
    for routine in routines:
        try:
            fitting.append((routine, _bind(routine, _place(routine, given))))
        except InvalidArguments:
            continue
    if len(fitting) == 1:
        return fitting[0]
    shown = "; ".join(routine.signature() for routine in [each for each, _ in fitting][:SHOWN] or routines[:SHOWN])
    if fitting:
        raise InvalidArguments(f"{len(fitting)} routines take these arguments; name them so that one does: {shown}.")
    raise InvalidArguments(f"No {routines[0].key} takes these arguments; there are {shown}.")


def _place(routine: Routine, given: Given) -> dict[str, JsonValue]:
    """Which parameter has which value."""
    inputs = {parameter.name: parameter for parameter in routine.inputs}
    if isinstance(given, list):
        if len(given) > len(inputs):
            takes = f"{len(inputs)} argument{'' if len(inputs) == 1 else 's'}"
            raise InvalidArguments(f"{len(given)} are too many: {takes} at most in {routine.signature()}.")
        placed = dict(zip(inputs, given, strict=False))
    else:
        placed = {}
        for name, value in given.items():
            parameter = _named(routine, name)
            if parameter.name in placed:
                raise InvalidArguments(f"{parameter.name} is given twice.")
            placed[parameter.name] = value
    for name, parameter in inputs.items():
        if name not in placed and parameter.default is None and parameter.mode != "variadic":
            raise InvalidArguments(f"{name} is missing: {routine.signature()}.")
    return placed


def _named(routine: Routine, name: str) -> Parameter:
    """The exact name, else the only one that differs in nothing but letter case."""
    exact = [parameter for parameter in routine.parameters if parameter.name == name]
    alike = exact or [parameter for parameter in routine.parameters if parameter.name.lower() == name.lower()]
    if len(alike) != 1:
        if not routine.inputs:
            raise InvalidArguments(f"{routine.key} takes no arguments.")
        known = [parameter.name for parameter in routine.inputs]
        raise InvalidArguments(f"{routine.key} has no argument {name[:64]}.{near(name[:64], known)}")
    if alike[0].mode == "out":
        raise InvalidArguments(f"{alike[0].name} comes back from {routine.key}: leave it out.")
    return alike[0]


def _bind(routine: Routine, placed: dict[str, JsonValue]) -> Bound:
    bound: Bound = {}
    for parameter in routine.inputs:
        value = placed.get(parameter.name, msgspec.UNSET)
        if value is msgspec.UNSET:
            continue
        try:
            bound[parameter.name] = None if value is None else parameter.conversion.parse(value)
        except (ValueError, OverflowError):
            raise InvalidArguments(f"{parameter.name} takes {parameter.conversion.noun}.") from None
    return bound
