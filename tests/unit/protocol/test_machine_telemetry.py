"""Subscriptions to the Telemetry and Logs APIs: when they are taken, when not, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.model.telemetry import LogsSubscription, TelemetrySubscription
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev


@pytest.fixture
def registered(new_world: Any) -> Any:
    """Init runs and the extension `outer` has registered."""
    world = new_world(external_extensions=("outer",))
    world.tell(ev.InitRequested())
    world.register("outer", "INVOKE", "SHUTDOWN")
    return world


def refusal(world: Any, out: Any) -> tuple[int, str, str]:
    found = world.one(fx.Refuse, out)
    assert out == (found,)
    return found.status, found.error_type, found.message


@pytest.mark.parametrize(("api", "record"), [("telemetry", TelemetrySubscription), ("logs", LogsSubscription)])
def test_a_subscription_is_accepted_and_told(registered: Any, api: str, record: Any) -> None:
    out = registered.subscribe("outer", "platform", "function", api=api)
    assert out == (
        fx.AcceptSubscription("subscribe", "outer", "body"),
        fx.EmitTelemetry(record(name="outer", types=("platform", "function"))),
    )


def test_an_internal_extension_may_subscribe(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.register("inner")
    assert world.one(fx.AcceptSubscription, world.subscribe("inner", "platform")).name == "inner"


def test_repeating_a_subscription_changes_nothing(registered: Any) -> None:
    registered.subscribe("outer", "platform")
    out = registered.subscribe("outer", "platform")
    assert out == (fx.AcceptSubscription("subscribe", "outer", "body", is_repetition=True),)


def test_a_different_subscription_replaces_the_former(registered: Any) -> None:
    registered.subscribe("outer", "platform")
    out = registered.subscribe("outer", "function", body="other")
    assert registered.one(fx.AcceptSubscription, out) == fx.AcceptSubscription("subscribe", "outer", "other")
    assert registered.one(fx.EmitTelemetry, out).record.types == ("function",)


@pytest.mark.parametrize(
    ("first", "second", "error_type"),
    [
        ("telemetry", "logs", "Logs.ValidationError"),
        ("logs", "telemetry", "ValidationError"),
    ],
)
def test_one_extension_cannot_use_both_apis(registered: Any, first: str, second: str, error_type: str) -> None:
    registered.subscribe("outer", "platform", api=first)
    status, found, _ = refusal(registered, registered.subscribe("outer", "platform", api=second))
    assert (status, found) == (400, error_type)


def test_two_extensions_may_use_one_api_each(registered: Any) -> None:
    registered.register("inner")
    registered.subscribe("outer", "platform")
    assert registered.wanted(fx.AcceptSubscription, registered.subscribe("inner", "platform", api="logs"))


def test_an_unknown_extension_cannot_subscribe(registered: Any) -> None:
    found = refusal(registered, registered.subscribe("nobody", "platform"))
    assert found == (403, "Extension.UnknownExtensionIdentifier", "Unknown extension nobody")


@pytest.mark.parametrize("api", ["telemetry", "logs"])
def test_subscriptions_close_with_init(registered: Any, api: str) -> None:
    registered.poll()
    assert registered.wanted(fx.AcceptSubscription, registered.subscribe("outer", "platform", api=api))
    registered.extension_poll("outer")
    name = api.title()
    message = f"{name} API subscription is closed"
    assert refusal(registered, registered.subscribe("outer", "function", api=api)) == (403, f"{name}.SubscriptionClosed", message)


def test_a_subscription_ends_with_its_init(registered: Any) -> None:
    registered.subscribe("outer", "platform")
    registered.poll()
    registered.extension_poll("outer")
    registered.exit()
    registered.deadline()
    registered.cleared()
    registered.invoke()
    registered.register("outer", "INVOKE")
    assert not registered.one(fx.AcceptSubscription, registered.subscribe("outer", "platform")).is_repetition


def test_a_faulty_subscription_is_told_its_fault_only_by_who_could_subscribe(registered: Any) -> None:
    fault = (400, "ValidationError", "types should not be empty")

    def faulty(identifier: str) -> Any:
        return registered.tell(ev.TelemetrySubscribed("subscribe", identifier, "telemetry", (), "", None, fault))

    known = registered.machine.extensions["outer"].identifier
    assert refusal(registered, faulty(known)) == fault
    assert refusal(registered, faulty("00000000-0000-4000-8000-000000000000"))[1] == "Extension.UnknownExtensionIdentifier"
    registered.extension_poll("outer")
    registered.poll()
    assert refusal(registered, faulty(known))[1] == "Telemetry.SubscriptionClosed"
