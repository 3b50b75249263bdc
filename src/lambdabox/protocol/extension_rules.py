"""Extensions: registering, asking for events, giving up (contract 2.3-2.7)."""

from __future__ import annotations

from lambdabox.model.error_types import ErrorType
from lambdabox.model.limits import EXTENSIONS_MAX
from lambdabox.model.moment import Now
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import Extension
from lambdabox.protocol.init_rules import InitRules
from lambdabox.protocol.states import EXTENSION_TABLE, ExtensionCall, ExtensionPhase, Phase, transition_refused


class ExtensionRules(InitRules):
    """The calls of the Extensions API."""

    def _extension_registered(self, event: ev.ExtensionRegistered, _now: Now) -> None:
        call, name, init = event.call, event.name, self.init
        known = self.extensions.get(name)
        is_external = name in self.profile.external_extensions
        if init is None or not self.is_registration_open or self.phase is not Phase.INIT:
            self._refuse_extension(call, "RegistrationClosed", "Extension registration closed already")
        elif known is not None and known.identifier is not None:
            self._refuse_extension(call, "InvalidExtensionState", "Extension with this name already registered")
        elif known is None and len(self.extensions) >= EXTENSIONS_MAX:
            self._refuse_extension(call, "TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        elif not is_external and "SHUTDOWN" in event.events:
            message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
            self._refuse_extension(call, "InvalidEventType", message)
        else:
            extension = known or Extension(name, is_external=is_external)
            self.extensions[name] = extension
            extension.phase = ExtensionPhase.REGISTERED
            extension.identifier = event.identifier
            extension.events = event.events
            self._by_identifier[event.identifier] = extension
            self._out.append(fx.AcceptRegistration(call, event.identifier, event.wants_account_id))
            self._maybe_start_runtime(init)

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
        if self._teardown is not None:
            if self._teardown.extensions_told:
                self._tell_shutdown(extension, self._teardown)
        elif self.phase is Phase.INIT and self.init is not None:
            self._maybe_init_complete(self.init, now)
        elif self.flight is not None:
            if extension.missed_event:
                extension.phase = ExtensionPhase.RUNNING
                self._answer_extension(extension, self.flight)
            else:
                self._maybe_finish(self.flight, now)

    def _extension_failed(self, event: ev.ExtensionFailed, now: Now) -> None:
        extension = self._known_extension(event.call, event.identifier, "Unknown Lambda-Extension-Identifier")
        if extension is None:
            return
        wanted = ExtensionCall.INIT_ERROR if event.in_init else ExtensionCall.EXIT_ERROR
        if not self._move_extension(event.call, extension, wanted):
            return
        self._out.append(fx.Accept(event.call))
        if self._teardown is not None:
            return
        error_type = ErrorType.EXTENSION_INIT_ERROR if event.in_init else ErrorType.EXTENSION_EXIT_ERROR
        self._lose(error_type, error_type, now, failed=extension)

    def _lose(self, error_type: str, text: str, now: Now, *, failed: Extension | None = None) -> None:
        """A process is lost that the environment cannot do without."""
        if self.phase is Phase.INIT and self.init is not None:
            self._init_failed(self.init, error_type, text, now, failed=failed)
        elif self.phase in (Phase.INVOKE, Phase.IDLE):
            self._fail(error_type, text, now)
