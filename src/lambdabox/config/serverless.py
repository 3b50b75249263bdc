"""`serverless.yml`: service, provider and functions, with the framework's own defaults and names.

Keys that Serverless knows and running a function does not need are accepted quietly; a key that is a typing error of a known
one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambdabox.config import fields
from lambdabox.config.document import Diagnostic, Document, Keys, dotted
from lambdabox.config.environment import name_problem, read_dotenv, size_problem
from lambdabox.config.intrinsics import decide, is_intrinsic
from lambdabox.config.project import LoadRequest, Project
from lambdabox.config.variables import UNRESOLVED, Variables, scalar_text
from lambdabox.config.yaml12 import parse_yaml
from lambdabox.errors import ConfigError, listed
from lambdabox.model.function import DEFAULT_ACCOUNT_ID, Function, SourcePlace
from lambdabox.model.limits import EPHEMERAL_STORAGE_MB, SERVERLESS_MEMORY_MB, SERVERLESS_TIMEOUT_SECONDS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# what Serverless 3 and 4 know; of a function also the keys of widely used plugins
TOP_KEYS = _words("""
    service provider functions resources custom plugins package frameworkVersion configValidationMode useDotenv layers
    params stages build org app outputs dashboard licenseKey disabledDeprecations deprecationNotificationMode
    variablesResolutionMode unresolvedVariablesNotificationMode console extends state configVersion ai agents
    stepFunctions constructs
""")
PROVIDER_KEYS = _words("""
    name runtime region stage environment memorySize timeout logs architecture alb apiGateway apiKeys apiName cfnRole
    cloudFront cloudwatch deploymentBucket deploymentBucketObject deploymentMethod deploymentPrefix deployment
    disableDefaultOutputExportNames disableRollbackOnFailure disableLogs ecr endpointType eventBridge httpApi iam
    iamManagedPolicies iamRoleStatements kinesis kmsKeyArn lambdaHashingVersion layers logDataProtectionPolicy
    logRetentionInDays logRoleArn maximumEventAge maximumRetryAttempts minimumCompressionSize notificationArns profile
    resolver resourcePolicy role rolePermissionsBoundary rollbackConfiguration runtimeManagement s3 snapStart stackName
    stackParameters stackPolicy stackTags tags tracing usagePlan versionFunctions vpc vpcEndpointIds websocketsApiName
    websocketsApiRouteSelectionExpression websocketsDescription websocket ephemeralStorageSize reservedConcurrency
    provisionedConcurrency url fileSystemConfig build
""")
FUNCTION_KEYS = _words("""
    handler runtime name environment memorySize timeout reservedConcurrency layers logs architecture
    ephemeralStorageSize description awsKmsKeyArn kmsKeyArn build condition dependsOn destinations disableLogs events
    fileSystemConfig image logDataProtectionPolicy logRetentionInDays maximumEventAge maximumRetryAttempts module
    onError package provisionedConcurrency role runtimeManagement snapStart tags tenancy tenancyConfig durableConfig
    capacityProvider tracing url versionFunction versionFunctions vpc iamRoleStatements iamRoleStatementsName
    iamRoleStatementsInherit iamPermissionsBoundary alarms warmup vpcDiscovery prune dashboards concurrencyAutoscaling
    deploymentSettings tracingConfig
""")
_MISTAKES = {"env": "environment", "memory": "memorySize", "memory_size": "memorySize", "concurrency": "reservedConcurrency"}
_LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def load_serverless(request: LoadRequest) -> Project:
    """The project that a Serverless file describes. Raises ConfigError with the place of what cannot be right."""
    try:
        text = request.file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=request.file.name) from error
    return _Loader(parse_yaml(text, request.file), request).load()


class _Loader:
    """Reads one file: what it needs, when it needs it, so that variables elsewhere do not matter."""

    def __init__(self, document: Document, request: LoadRequest) -> None:
        if not isinstance(document.data, dict):
            raise document.error((), f"a Serverless file must be a mapping, it is {fields.kind_of(document.data)}")
        self.document = document
        self.request = request
        self.folder = request.file.parent.absolute()
        self.warnings: list[Diagnostic] = []
        self.undecided: dict[str, Keys] = {}
        self.variables = Variables(
            document,
            options={"stage": request.stage, "region": request.region},
            environ=self._with_dotenv(request.environ, request.stage),
        )
        self.variables.account_id = DEFAULT_ACCOUNT_ID
        self.service = ""
        self.provider: dict[str, Any] = {}

    def load(self) -> Project:
        document, request = self.document, self.request
        for key in fields.check_keys(document, (), document.data, TOP_KEYS, {"function": "functions"}):
            self._warn((key,), f"unknown key {key}")
        provider = document.data.get("provider")
        if isinstance(provider, str):  # `provider: aws`
            provider = {"name": provider}
        if provider is None:
            raise document.error((), "provider is missing", hint="a Serverless file starts with `service:` and `provider:`")
        self.provider = fields.mapping(document, ("provider",), provider)
        fields.check_keys(document, ("provider",), self.provider, PROVIDER_KEYS, _MISTAKES)
        self.variables.stage = request.stage or self._text_of("provider", "stage") or "dev"
        self.variables.region = request.region or self._text_of("provider", "region") or "us-east-1"
        self.variables.is_settled = True
        self.service = self._service()
        functions = tuple(self._function(key, keys) for key, keys in self._function_places())
        self._name_twice(functions)
        self._leftovers()
        return Project(
            functions=tuple(function for function in functions if function is not None),
            folder=self.folder,
            file=request.file,
            service=self.service,
            stage=self.variables.stage,
            warnings=tuple(self.warnings),
        )

    # -- parts ------------------------------------------------------------------------------------------------------

    def _with_dotenv(self, environ: Mapping[str, str], stage: str | None) -> Mapping[str, str]:
        """`useDotenv: true` adds `.env.<stage>`, else `.env`, for `${env:...}`; the shell wins."""
        if self.document.data.get("useDotenv") is not True:
            return environ
        for name in (f".env.{stage or 'dev'}", ".env"):
            if (self.folder / name).is_file():
                return {**read_dotenv(self.folder / name), **environ}
        return environ

    def _service(self) -> str:
        value = self.variables.get("service")
        keys: Keys = ("service",)
        if isinstance(value, dict):
            value, keys = value.get("name"), ("service", "name")
        if value is None:
            raise self.document.error((), "service is missing", hint="name the service: `service: my-service`")
        name = fields.text(self.document, keys, value)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
            raise self.document.error(keys, f"service name {name!r} must be letters, digits and hyphens, a letter first")
        return name

    def _function_places(self) -> list[tuple[str, Keys]]:
        """Every function's key and where it stands; `functions` may be a list of mappings."""
        raw = self.document.data.get("functions")
        if isinstance(raw, str):
            raise self.document.error(
                ("functions",), f"functions: {raw} cannot be resolved here", hint="write the functions into this file"
            )
        if raw is None:
            return []
        parts = enumerate(raw) if isinstance(raw, list) else [(None, raw)]
        places: dict[str, Keys] = {}
        for index, part in parts:
            base: Keys = ("functions",) if index is None else ("functions", index)
            if isinstance(part, str):
                self._warn(base, f"{part} cannot be resolved here: its functions are left out")
                continue
            for key in fields.mapping(self.document, base, part):
                if key in places:
                    raise self.document.error((*base, key), f"function {key} is there twice")
                if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
                    raise self.document.error(
                        (*base, key), f"function key {key!r} must be letters, digits, hyphens and underscores"
                    )
                places[key] = (*base, key)
        return list(places.items())

    def _function(self, key: str, keys: Keys) -> Function | None:
        document = self.document
        own = self._raw(keys)
        if isinstance(own, str):
            self._warn(keys, f"function {key}: {own} cannot be resolved here: the function is left out")
            return None
        own = fields.mapping(document, keys, own)
        for unknown in fields.check_keys(document, keys, own, FUNCTION_KEYS, _MISTAKES):
            self._warn((*keys, unknown), f"unknown key {dotted((*keys, unknown))}")
        if own.get("handler") is None:
            if own.get("image") is None:
                raise document.error(keys, f"function {key} has no handler", hint="for example `handler: src/app.handler`")
            self._warn(keys, f"function {key} is a container image: it is left out")
            return None
        handler_keys = (*keys, "handler")
        handler = fields.handler(document, handler_keys, self._known(handler_keys))
        runtime, runtime_keys = self._setting(keys, "runtime")
        line, _ = document.place(keys)
        architecture, architecture_keys = self._setting(keys, "architecture")
        storage, storage_keys = self._setting(keys, "ephemeralStorageSize")
        memory, memory_keys = self._setting(keys, "memorySize")
        timeout, timeout_keys = self._setting(keys, "timeout")
        reserved, reserved_keys = self._value((*keys, "reservedConcurrency"))
        return Function(
            name=self._name(key, keys),
            key=key,
            handler=handler,
            runtime=fields.runtime(document, runtime_keys, runtime)
            if runtime is not None
            else self._sniffed(handler, handler_keys),
            runtime_is_assumed=runtime is None,
            code=self.folder,
            timeout=fields.timeout(document, timeout_keys, timeout) if timeout is not None else SERVERLESS_TIMEOUT_SECONDS,
            memory_size=fields.memory_size(document, memory_keys, memory) if memory is not None else SERVERLESS_MEMORY_MB,
            environment=self._environment(key, keys),
            layers=self._layers(keys),
            region=self.variables.region,
            description=scalar_text(own["description"]) if isinstance(own.get("description"), str) else "",
            architecture=fields.choice(document, architecture_keys, architecture, ("x86_64", "arm64"))
            if architecture is not None
            else "x86_64",
            ephemeral_storage=fields.whole(document, storage_keys, storage, least=512, most=10_240, unit=" MB")
            if storage is not None
            else EPHEMERAL_STORAGE_MB,
            reserved_concurrency=fields.whole(document, reserved_keys, reserved, least=0, most=None)
            if reserved is not None
            else None,
            project=self.folder,
            source=SourcePlace(file=self.request.file, line=line),
            **self._logs(keys),
        )

    def _sniffed(self, handler: str, keys: Keys) -> str:
        try:
            return self.request.runtime_for(self.folder, handler)
        except ConfigError as error:
            raise self.document.error(
                keys, f"no runtime: {error.message}", hint="name it: `provider.runtime: python3.13`"
            ) from error

    def _name(self, key: str, keys: Keys) -> str:
        value, place = self._value((*keys, "name"))
        name = fields.text(self.document, place, value) if value is not None else f"{self.service}-{self.variables.stage}-{key}"
        if not _NAME.fullmatch(name):
            raise self.document.error(
                place, f"function name {name!r}: AWS Lambda allows up to 64 letters, digits, hyphens and underscores"
            )
        return name

    def _environment(self, key: str, keys: Keys) -> dict[str, str]:
        """Provider variables, the function's own over them; null takes one away; values are text as JavaScript makes it."""
        merged: dict[str, tuple[Any, Keys]] = {}
        for base in (("provider", "environment"), (*keys, "environment")):
            value, _ = self._value(base)
            for name, item in fields.mapping(self.document, base, value).items():
                merged[name] = (item, (*base, name))
        out: dict[str, str] = {}
        for name, (item, place) in merged.items():
            value = decide(
                item,
                region=self.variables.region,
                account_id=DEFAULT_ACCOUNT_ID,
                stack=f"{self.service}-{self.variables.stage}",
            )
            if value is None:
                continue
            problem = name_problem(name)
            if problem is not None:
                raise self.document.error(place, problem)
            if value is UNRESOLVED:
                if is_intrinsic(item):
                    self.undecided.setdefault(name, place)
                continue
            if isinstance(value, (dict, list)):
                raise self.document.error(
                    place, f"environment variable {name} must be text, a number or true or false, it is {fields.kind_of(value)}"
                )
            out[name] = scalar_text(value)
        problem = size_problem(out)
        if problem is not None:
            raise self.document.error((*keys, "environment"), f"function {key}: {problem}")
        return out

    def _layers(self, keys: Keys) -> tuple[Path, ...]:
        """Local layers: `{Ref: NameLambdaLayer}` of this file's `layers`, and paths. Others are not fetched."""
        value, place = self._setting(keys, "layers")
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.document.error(place, f"{dotted(place)} must be a list, it is {fields.kind_of(value)}")
        own = self.variables.get("layers")
        local = {_layer_id(name): facts for name, facts in own.items()} if isinstance(own, dict) else {}
        out: list[Path] = []
        for index, item in enumerate(value):
            facts = local.get(item["Ref"]) if isinstance(item, dict) and isinstance(item.get("Ref"), str) else None
            named = facts.get("path") or (facts.get("package") or {}).get("artifact") if isinstance(facts, dict) else item
            path = self.folder / named if isinstance(named, str) and not named.startswith("arn:") else None
            if path is not None and path.exists():
                out.append(path)
            elif path is not None:
                raise self.document.error((*place, index), f"layer {named} does not exist")
            else:
                self._warn(
                    (*place, index),
                    f"layer {item['Ref'] if isinstance(item, dict) and 'Ref' in item else item} is not here: left out",
                )
        return tuple(out)

    def _logs(self, keys: Keys) -> dict[str, Any]:
        """`logs` of the function over `provider.logs.lambda`."""
        merged: dict[str, tuple[Any, Keys]] = {}
        for base in (("provider", "logs", "lambda"), (*keys, "logs")):
            value, _ = self._value(base)
            if isinstance(value, dict):
                merged |= {name: (item, (*base, name)) for name, item in value.items() if item is not UNRESOLVED}
        out: dict[str, Any] = {}
        if "logFormat" in merged:
            value, place = merged["logFormat"]
            out["log_format"] = fields.choice(self.document, place, value, ("Text", "JSON"))
        for name, field in (("applicationLogLevel", "application_log_level"), ("systemLogLevel", "system_log_level")):
            if name in merged:
                value, place = merged[name]
                out[field] = fields.choice(self.document, place, value, _LOG_LEVELS)
        if isinstance(merged.get("logGroup", (None,))[0], str):
            out["log_group"] = merged["logGroup"][0]
        return out

    # -- values -----------------------------------------------------------------------------------------------------

    def _raw(self, keys: Keys) -> Any:
        value = self.document.data
        for key in keys:
            if isinstance(value, dict):
                value = value.get(str(key))
            elif isinstance(value, list) and isinstance(key, int):
                value = value[key]
            else:
                return None
        return value

    def _value(self, keys: Keys) -> tuple[Any, Keys]:
        """The value at a place, None where there is none or where it cannot be resolved."""
        value = self.variables.resolve(self._raw(keys), keys)
        return (None if value is UNRESOLVED else value), keys

    def _setting(self, keys: Keys, name: str) -> tuple[Any, Keys]:
        """A setting of the function, else the provider's, and where it stands."""
        value, place = self._value((*keys, name))
        return (value, place) if value is not None else self._value(("provider", name))

    def _known(self, keys: Keys) -> Any:
        """A value that must be known."""
        raw = self._raw(keys)
        value = self.variables.resolve(raw, keys)
        if value is UNRESOLVED:
            raise self.document.error(
                keys, f"{dotted(keys)}: {raw} cannot be resolved here", hint="give it a fallback: ${...,'value'}"
            )
        return value

    def _text_of(self, *keys: str) -> str | None:
        value, _ = self._value(keys)
        return fields.text(self.document, keys, value) if value is not None else None

    # -- messages ---------------------------------------------------------------------------------------------------

    def _warn(self, keys: Keys, message: str, *, hint: str | None = None) -> None:
        warning = self.document.diagnostic(keys, message, hint=hint)
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _leftovers(self) -> None:
        """One warning for variables, one for intrinsics: what was left out, by name."""
        if self.variables.unresolved:
            names = list(self.variables.unresolved)
            first = self.variables.unresolved[names[0]]
            self._warn(
                first, f"not resolved here: {listed(names)}", hint="what has no fallback is left out; --env sets a variable"
            )
        if self.undecided:
            names = list(self.undecided)
            message = f"only AWS knows the value of environment variable{'s' if len(names) > 1 else ''} {listed(names)}: left out"
            self._warn(self.undecided[names[0]], message, hint="--env NAME=VALUE sets one")

    def _name_twice(self, functions: tuple[Function | None, ...]) -> None:
        seen: dict[str, str] = {}
        for function in functions:
            if function is None:
                continue
            if function.name in seen:
                message = f"functions {seen[function.name]} and {function.key} have the same name {function.name}"
                raise self.document.error(("functions", function.key), message)
            seen[function.name] = function.key


def _layer_id(name: str) -> str:
    """The logical id that Serverless gives a layer: `my-common_code` is MyDashcommonUnderscorecodeLambdaLayer."""
    spelled = name.replace("-", "Dash").replace("_", "Underscore")
    return f"{spelled[:1].upper()}{spelled[1:]}LambdaLayer"
