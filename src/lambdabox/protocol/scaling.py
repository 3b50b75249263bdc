"""Who runs an invocation: an idle environment, one that is about to be idle, a new one, or nobody (contract 5.5).

AWS's rule is: an idle environment if there is one, else a new one, else throttle. Between the answer to its caller and
its next poll an environment is *finishing*: on loopback a caller is back before the poll is, so an invocation waits for a
finishing environment, a short while, before another is started for it.
"""

from __future__ import annotations

from enum import Enum

from lambdabox.model.fact import fact

FINISHING_PATIENCE_SECONDS = 0.05  # longer than any runtime needs to ask again, shorter than a cold start


class Placement(Enum):
    """What to do with an invocation."""

    REUSE = "reuse"
    WAIT = "wait"
    START = "start"
    THROTTLE = "throttle"


@fact
class Load:
    """One function's environments and everybody's: counts at the moment of the decision.

    An environment with room for several invocations is idle while it has room for one more.

    `in_flight` counts this function's invocations that occupy concurrency, `waiting` those among them that have no environment
    yet, this one not included. `environments_max` bounds the function's environments without throttling: what is over it waits.
    """

    idle: int
    finishing: int
    waiting: int
    environments: int
    in_flight: int
    in_flight_everywhere: int
    concurrency_max: int
    reserved: int | None = None
    environments_max: int | None = None


def place(load: Load) -> tuple[Placement, str | None]:
    """The decision and, for THROTTLE, AWS's reason."""
    if load.reserved is not None and load.in_flight >= load.reserved:
        return Placement.THROTTLE, "ReservedFunctionConcurrentInvocationLimitExceeded"
    if load.in_flight_everywhere >= load.concurrency_max:
        return Placement.THROTTLE, "ConcurrentInvocationLimitExceeded"
    if load.idle:
        return Placement.REUSE, None
    if load.finishing > load.waiting:
        return Placement.WAIT, None
    if load.environments_max is not None and load.environments >= load.environments_max:
        return Placement.WAIT, None
    return Placement.START, None
