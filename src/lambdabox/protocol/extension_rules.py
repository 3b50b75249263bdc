"""Extensions: registering, asking for events, giving up (contract 2.3-2.7)."""

from __future__ import annotations

from lambdabox.model.error_types import ErrorType
from lambdabox.model.limits import EXTENSIONS_MAX
from lambdabox.model.moment import Now
from lambdabox.model.telemetry import LogsSubscription, TelemetrySubscription
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import Extension, Teardown
from lambdabox.protocol.init_rules import AWAITED, InitRules
from lambdabox.protocol.states import EXTENSION_TABLE, ExtensionCall, ExtensionPhase, Phase, transition_refused


class ExtensionRules(InitRules):
    """The calls of the Extensions API."""

    def _is_external(self, name: str) -> bool:
        named = self.profile.external_extensions
        return name in named or name in self._spawned or (self.profile.external_by_default and not named)

    def _extension_registered(self, event: ev.ExtensionRegistered, now: Now) -> None:
        call, name = event.call, event.name
        known = self.extensions.get(name)
        is_external = self._is_external(name)
        is_late = not self.is_registration_open or (self.runtime in AWAITED and not is_external)
        begins_init = self.profile.self_started and self.phase in (Phase.CREATED, Phase.DORMANT)
        if is_late or not (begins_init or self.phase is Phase.INIT):
            self._refuse_extension(call, "RegistrationClosed", "Extension registration closed already")
        elif known is not None and known.identifier is not None:
            self._refuse_extension(call, "InvalidExtensionState", "Extension with this name already registered")
        elif known is None and len(self.extensions) >= EXTENSIONS_MAX:
            self._refuse_extension(call, "TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        elif not is_external and "SHUTDOWN" in event.events:
            message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
            self._refuse_extension(call, "InvalidEventType", message)
        else:
            if self.profile.self_started:
                self._touched(now)
            init = self.init
            assert init is not None
            extension = self.extensions.get(name) or Extension(name, is_external=is_external)
            self.extensions[name] = extension
            if name in self._spawned:
                extension.process = name
            extension.phase = ExtensionPhase.REGISTERED
            extension.identifier = event.identifier
            extension.events = event.events
            self._by_identifier[event.identifier] = extension
            self._out.append(fx.AcceptRegistration(call, event.identifier, event.wants_account_id))
            self._maybe_start_runtime(init)
            if self.runtime in AWAITED:
                self.is_registration_open = self._expects_registrations()

    def _telemetry_subscribed(self, event: ev.TelemetrySubscribed, _now: Now) -> None:
        """A subscription is taken during Init only; a further one of the same extension replaces the former.

        Parity: what AWS does with a second, different subscription is not documented.
        """
        extension = self._known_extension(event.call, event.identifier, f"Unknown extension {event.identifier}")
        if extension is None:
            return
        is_logs = event.api == "logs"
        api = "Logs" if is_logs else "Telemetry"
        former = extension.subscription
        if self.phase is not Phase.INIT:
            message = f"{api} API subscription is closed"
            self._out.append(fx.Refuse(event.call, 403, f"{api}.SubscriptionClosed", message))
        elif event.fault is not None:
            self._out.append(fx.Refuse(event.call, *event.fault))
        elif former is not None and former[0] != event.api:
            error_type = "Logs.ValidationError" if is_logs else "ValidationError"
            message = "An extension subscribes to the Telemetry API or to the Logs API, not to both"
            self._out.append(fx.Refuse(event.call, 400, error_type, message))
        else:
            extension.subscription = subscription = (event.api, event.fingerprint)
            is_repetition = former == subscription
            self._out.append(fx.AcceptSubscription(event.call, extension.name, event.fingerprint, is_repetition))
            if not is_repetition:
                record = LogsSubscription if is_logs else TelemetrySubscription
                self._emit(record(name=extension.name, types=event.types))

    def _refuse_extension(self, call: ev.Call, error_type: str, message: str) -> None:
        self._out.append(fx.Refuse(call, 403, f"Extension.{error_type}", message))

    def _known_extension(self, call: ev.Call, identifier: str, message: str) -> Extension | None:
        extension = self._by_identifier.get(identifier)
        if extension is None:
            self._refuse_extension(call, "UnknownExtensionIdentifier", message)
        return extension

    def _move_extension(self, call: ev.Call, extension: Extension, wanted: ExtensionCall) -> bool:
        target = EXTENSION_TABLE[extension.phase].get(wanted)
        if target is None:
            message = transition_refused(extension.phase, wanted, f"extension {extension.name}")
            self._refuse_extension(call, "InvalidExtensionState", message)
            return False
        extension.phase = target
        return True

    def _extension_polled_next(self, event: ev.ExtensionPolledNext, now: Now) -> None:
        extension = self._known_extension(event.call, event.identifier, f"Unknown extension {event.identifier}")
        if extension is None or not self._move_extension(event.call, extension, ExtensionCall.NEXT):
            return
        extension.parked = event.call
        extension.is_away = False
        if self._teardown is not None:
            if extension.shutdown_call is not None:
                self._extension_through(extension, self._teardown, now)
            elif self._teardown.extensions_told:
                self._tell_shutdown(extension, self._teardown)
        elif self.phase is Phase.INIT and self.init is not None:
            self._maybe_init_complete(self.init, now)
        elif self.flight is not None:
            if extension.missed_event:
                extension.phase = ExtensionPhase.RUNNING
                self._answer_extension(extension, self.flight)
            else:
                self._maybe_finish(self.flight, now)

    def _extension_through(self, extension: Extension, teardown: Teardown, now: Now) -> None:
        """One that has a process ends with it; one that was started by hand is through when it says so."""
        if extension.is_external and extension.process is None:
            extension.has_exited = True
            self._advance_teardown(teardown, now)

    def _peer_left(self, event: ev.PeerLeft, now: Now) -> None:
        """The connection over which SHUTDOWN went out is closed."""
        if self._teardown is not None:
            for extension in self.extensions.values():
                if extension.shutdown_call == event.call:
                    self._extension_through(extension, self._teardown, now)
                    return

    def _extension_failed(self, event: ev.ExtensionFailed, now: Now) -> None:
        extension = self._known_extension(event.call, event.identifier, "Unknown Lambda-Extension-Identifier")
        if extension is None:
            return
        wanted = ExtensionCall.INIT_ERROR if event.in_init else ExtensionCall.EXIT_ERROR
        if not self._move_extension(event.call, extension, wanted):
            return
        self._out.append(fx.Accept(event.call))
        if self._teardown is not None:
            self._extension_through(extension, self._teardown, now)
            return
        error_type = ErrorType.EXTENSION_INIT_ERROR if event.in_init else ErrorType.EXTENSION_EXIT_ERROR
        self._lose(error_type, error_type, now, failed=extension)

    def _lose(self, error_type: str, text: str, now: Now, *, failed: Extension | None = None) -> None:
        """A process is lost that the environment cannot do without."""
        if self.phase is Phase.INIT and self.init is not None:
            self._init_failed(self.init, error_type, text, now, failed=failed)
        elif self.restore is not None:
            self._restore_failed(self.restore, error_type, text, now)
        elif self.phase in (Phase.INVOKE, Phase.IDLE, Phase.SNAPSHOT):
            self._fail(error_type, text, now)
