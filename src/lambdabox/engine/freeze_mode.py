"""Freezing as an option."""

from __future__ import annotations

from enum import Enum


class FreezeMode(Enum):
    """Whether the processes of an environment stand still between invocations, as they do on AWS."""

    DISABLED = "disabled"
    ENABLED = "enabled"
