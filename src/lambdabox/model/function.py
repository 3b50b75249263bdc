"""What a function is: its configuration, as the deployed thing would have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambdabox.model.limits import EPHEMERAL_STORAGE_MB, MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_SECONDS

DEFAULT_ACCOUNT_ID = "123456789012"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlace:
    """Where a function was declared, for messages."""

    file: Path
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """The configuration of one function version.

    `name` is the deployed name, `key` the short name in the project file (the name itself when there is none).
    `code` is the task root: a folder. `runtime_is_assumed`: nobody named the runtime, it follows what is installed here. `timeout` is in seconds, `memory_size` in MB. `environment` holds the customer's
    variables. `layers` are folders merged to /opt in list order; `extensions` are further executables that count as
    external extensions. `snap_start`: environments are restored from a snapshot of their Init. `max_concurrency`: how many
    invocations an environment of a custom runtime runs at once; over 1 logs are JSON, as AWS has it. `project` is the folder
    whose virtual environment and node_modules serve the function.
    """

    name: str
    handler: str
    runtime: str
    code: Path
    runtime_is_assumed: bool = False
    key: str = ""
    timeout: float = TIMEOUT_DEFAULT_SECONDS
    memory_size: int = MEMORY_DEFAULT_MB
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    extensions: tuple[Path, ...] = ()
    region: str = DEFAULT_REGION
    account_id: str = DEFAULT_ACCOUNT_ID
    version: str = "$LATEST"
    description: str = ""
    architecture: str = "x86_64"
    ephemeral_storage: int = EPHEMERAL_STORAGE_MB
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None
    log_group: str | None = None
    reserved_concurrency: int | None = None
    snap_start: bool = False
    max_concurrency: int = 1
    project: Path | None = None
    source: SourcePlace | None = None

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)
        if self.is_concurrent:
            object.__setattr__(self, "log_format", "JSON")

    @property
    def arn(self) -> str:
        """The unqualified ARN."""
        return f"arn:{partition(self.region)}:lambda:{self.region}:{self.account_id}:function:{self.name}"

    @property
    def initialization_type(self) -> str:
        """AWS's word for how environments come to be."""
        if self.is_concurrent:
            return "lambda-managed-instances"
        return "snap-start" if self.snap_start else "on-demand"

    @property
    def is_concurrent(self) -> bool:
        """An environment runs several invocations at once: only a custom runtime knows how."""
        return self.max_concurrency > 1 and self.runtime.startswith("provided")

    @property
    def log_group_name(self) -> str:
        return self.log_group or f"/aws/lambda/{self.name}"


def partition(region: str) -> str:
    """The ARN partition of a region."""
    if region.startswith("cn-"):
        return "aws-cn"
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws"
