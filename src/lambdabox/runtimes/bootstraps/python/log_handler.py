"""The root logger's handler in Lambda's Text and JSON formats; imported together with `logging`, not before."""

from __future__ import annotations

import logging
from time import gmtime

from .logs import JSON, TEXT, frame_type

_OWN_FIELDS = frozenset(
    """
    name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName created msecs
    relativeCreated thread threadName processName process taskName aws_request_id tenant_id
    """.split()
)
_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"


class LambdaLoggerHandler(logging.Handler):
    """Sends formatted records to the log.

    What formatting raises is raised to who logs, as on Lambda.
    """

    def __init__(self, log):
        super().__init__()
        self._log = log
        self._marks_levels = log.is_json or bool(log.level)

    def emit(self, record):
        text = self.format(record)
        if self._marks_levels:
            self._log.write(text, frame_type(JSON if self._log.is_json else TEXT, _level(record)))
        else:
            self._log.write(text)


class LambdaLoggerFilter(logging.Filter):
    """Puts the invocation on each record, so that formats of the function's own may name it too."""

    def __init__(self, log):
        super().__init__()
        self._log = log

    def filter(self, record):
        record.aws_request_id = self._log.request_id
        record.tenant_id = self._log.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a record; members that are None are left out."""

    def __init__(self):
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")

    def format(self, record):
        import json

        members = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": _level(record),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            from traceback import format_tb

            kind, value, frames = record.exc_info
            members["stackTrace"] = format_tb(frames)
            members["errorType"] = kind.__name__
            members["errorMessage"] = str(value)
        members["requestId"] = getattr(record, "aws_request_id", None)
        if record.exc_info:
            members["location"] = "{0}:{1}:{2}".format(record.pathname, record.funcName, record.lineno)
        members["tenantId"] = getattr(record, "tenant_id", None)
        for name, value in record.__dict__.items():
            if name not in _OWN_FIELDS and name not in members:
                members[name] = value
        members = {name: value for name, value in members.items() if value is not None}
        return json.dumps(members, ensure_ascii=False, default=str) + "\n"


def _level(record):
    """The name of the standard level at or under the record's."""
    return logging.getLevelName(min(max(record.levelno, 0), 50) // 10 * 10)


def set_up(log):
    """Give the root logger its handler."""
    logging.Formatter.converter = gmtime
    handler = LambdaLoggerHandler(log)
    handler.setFormatter(JsonFormatter() if log.is_json else logging.Formatter(_TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LambdaLoggerFilter(log))
    root = logging.getLogger()
    if log.level in logging._nameToLevel:
        root.setLevel(log.level)
    root.addHandler(handler)
