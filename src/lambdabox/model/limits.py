"""AWS Lambda's limits, each with its source in AWS's documentation or emulator.

MB is AWS's MB: 1024 KB.
"""

from __future__ import annotations

MEMORY_MIN_MB = 128  # Developer Guide, gettingstarted-limits: memory 128 MB to 10,240 MB in 1-MB steps
MEMORY_MAX_MB = 10_240  # same page
MEMORY_DEFAULT_MB = 128  # API reference, CreateFunction MemorySize
TIMEOUT_MIN_SECONDS = 1  # API reference, CreateFunction Timeout
TIMEOUT_MAX_SECONDS = 900  # Developer Guide, gettingstarted-limits: 900 seconds
TIMEOUT_DEFAULT_SECONDS = 3  # API reference, CreateFunction Timeout
SERVERLESS_TIMEOUT_SECONDS = 6  # Serverless Framework's own default for provider.timeout
SERVERLESS_MEMORY_MB = 1024  # Serverless Framework's own default for provider.memorySize
EPHEMERAL_STORAGE_MB = 512  # Developer Guide, configuration-ephemeral-storage

INIT_SECONDS = 10.0  # Developer Guide, lambda-runtime-environment: Init phase limited to 10 seconds
INIT_LONG_SECONDS = 130.0  # same page: SnapStart and Managed Instances, or the function's timeout when that is longer
RESTORE_SECONDS = 10.0  # Developer Guide, snapstart-runtime-hooks: runtime load and after-restore hooks within 10 seconds
SHUTDOWN_INTERNAL_SECONDS = 0.5  # Developer Guide, runtimes-extensions-api: 500 ms with a registered internal extension
SHUTDOWN_EXTERNAL_SECONDS = 2.0  # same page: 2,000 ms with external extensions
SHUTDOWN_RUNTIME_SHARE_SECONDS = 0.3  # same page: up to 300 ms of the 2,000 for the runtime

REQUEST_MAX_BYTES = 6_291_456  # Developer Guide, gettingstarted-limits: 6 MB synchronous request
RESPONSE_MAX_BYTES = 6_291_556  # emulator, interop.MaxPayloadSize: 6 MB + 100 bytes
ASYNC_REQUEST_MAX_BYTES = 1_048_576  # Developer Guide, gettingstarted-limits: 1 MB asynchronous request
STREAMED_RESPONSE_MAX_BYTES = 200 * 1024 * 1024  # Developer Guide, configuration-response-streaming: 200 MB
INVOKE_ASYNC_MAX_BYTES = 262_144  # API model, InvokeAsync: 256 KB
HEADERS_MAX_BYTES = 1_048_576  # Developer Guide, gettingstarted-limits: request line and header values 1 MB
CLIENT_CONTEXT_MAX_BYTES = 3583  # API reference, Invoke X-Amz-Client-Context
LOG_TAIL_BYTES = 4096  # API reference, Invoke LogResult: the last 4 KB of the execution log
ENVIRONMENT_MAX_BYTES = 4096  # Developer Guide, gettingstarted-limits: environment variables 4 KB in aggregate
EXTENSIONS_MAX = 10  # Developer Guide, lambda-extensions: up to 10 extensions
LAYERS_MAX = 5  # Developer Guide, gettingstarted-limits: five layers
HANDLER_MAX_CHARS = 128  # API reference, CreateFunction Handler
UNZIPPED_MAX_BYTES = 262_144_000  # Developer Guide, gettingstarted-limits: 250 MB, contents of a deployment package, unzipped
RETRY_AFTER_SECONDS = 1  # observed on throttled invocations
ERROR_CAUSE_MAX_BYTES = 65_536  # emulator, model.MaxErrorCauseSizeBytes: 64 KB of X-Ray error cause

TELEMETRY_ITEMS_MIN = 1000  # Developer Guide, telemetry-api-reference: buffering.maxItems 1,000 to 10,000
TELEMETRY_ITEMS_MAX = 10_000  # same page
TELEMETRY_ITEMS_DEFAULT = 10_000  # Developer Guide, telemetry-api: default 10,000 events
TELEMETRY_BYTES_MIN = 262_144  # Developer Guide, telemetry-api-reference: buffering.maxBytes 262,144 to 1,048,576
TELEMETRY_BYTES_MAX = 1_048_576  # same page
TELEMETRY_BYTES_DEFAULT = 262_144  # same page
TELEMETRY_TIMEOUT_MIN_MS = 25  # Developer Guide, telemetry-api-reference: buffering.timeoutMs 25 to 30,000
TELEMETRY_TIMEOUT_MAX_MS = 30_000  # same page
TELEMETRY_TIMEOUT_DEFAULT_MS = 1000  # same page
TELEMETRY_PORT_RESERVED = 9001  # Developer Guide, telemetry-api: port 9001 is reserved
