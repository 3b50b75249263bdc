"""Who sees which variable (contract 6.1-6.3, 2.8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function
from lambdabox.protocol.environment_variables import (
    RESERVED,
    Surroundings,
    extension_environment,
    masked,
    runtime_environment,
    size_of,
)


def function(**more: Any) -> Function:
    facts: dict[str, Any] = {"name": "orders", "handler": "app.handler", "runtime": "python3.12", "code": Path("/code")}
    return Function(**(facts | more))


def surroundings(**more: Any) -> Surroundings:
    facts: dict[str, Any] = {
        "runtime_api": "127.0.0.1:9001",
        "task_root": "/code",
        "tmp": "/scratch",
        "log_stream_name": "2026/01/01/[$LATEST]ab",
        "search_path": "/bin",
        "library_path": "/lib",
    }
    return Surroundings(**(facts | more))


def runtime(given: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
    return runtime_environment(function(**(given or {})), surroundings(**more))


def extension(given: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
    return extension_environment(function(**(given or {})), surroundings(**more))


PLATFORM = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_LAMBDA_FUNCTION_NAME": "orders",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "TZ": ":UTC",
    "LANG": "en_US.UTF-8",
    "PATH": "/bin",
    "LD_LIBRARY_PATH": "/lib",
    "TMPDIR": "/scratch",
    "IS_LOCAL": "true",
    "AWS_SAM_LOCAL": "true",
}
RUNTIME_ONLY = {
    "_HANDLER": "app.handler",
    "LAMBDA_TASK_ROOT": "/code",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]ab",
    "AWS_LAMBDA_LOG_FORMAT": "Text",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
}


def test_what_a_runtime_sees() -> None:
    assert runtime() == PLATFORM | RUNTIME_ONLY


def test_what_an_extension_sees() -> None:
    assert extension() == PLATFORM


@pytest.mark.parametrize("identifier", ["provided.al2023", "provided.al2", "provided"])
def test_a_custom_runtime_has_no_execution_environment_name(identifier: str) -> None:
    assert "AWS_EXECUTION_ENV" not in runtime({"runtime": identifier})


def test_json_logging_has_a_level() -> None:
    assert runtime({"log_format": "JSON"})["AWS_LAMBDA_LOG_LEVEL"] == "INFO"
    assert runtime({"log_format": "JSON", "application_log_level": "WARN"})["AWS_LAMBDA_LOG_LEVEL"] == "WARN"


def test_credentials_reach_both() -> None:
    found = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    for seen in (runtime(credentials=found), extension(credentials=found)):
        assert found.items() <= seen.items()
        assert seen["AWS_ACCESS_KEY"] == "k"
        assert "AWS_SESSION_TOKEN" not in seen


def test_customers_variables_reach_both_but_no_underscores_an_extension() -> None:
    customer = {"environment": {"STAGE": "dev", "_PRIVATE": "x"}}
    assert {"STAGE": "dev", "_PRIVATE": "x"}.items() <= runtime(customer).items()
    assert extension(customer)["STAGE"] == "dev"
    assert "_PRIVATE" not in extension(customer)


@pytest.mark.parametrize("name", ["LANG", "TZ", "AWS_XRAY_CONTEXT_MISSING", "TMPDIR", "IS_LOCAL"])
def test_presets_are_the_customers_to_override(name: str) -> None:
    customer = {"environment": {name: "mine"}}
    assert runtime(customer)[name] == "mine"
    assert extension(customer)[name] == "mine"


@pytest.mark.parametrize("name", sorted(RESERVED & (PLATFORM.keys() | RUNTIME_ONLY.keys())))
def test_reserved_names_cannot_be_overridden(name: str) -> None:
    assert runtime({"environment": {name: "mine"}})[name] != "mine"


@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH"])
def test_a_customers_search_path_goes_before_the_preset_one(name: str) -> None:
    customer = {"environment": {name: "/mine"}}
    assert runtime(customer)[name] == f"/mine:{PLATFORM[name]}"
    assert extension(customer)[name] == f"/mine:{PLATFORM[name]}"


def test_without_a_preset_library_path_the_customers_stands_alone() -> None:
    assert "LD_LIBRARY_PATH" not in runtime(library_path="")
    assert runtime({"environment": {"LD_LIBRARY_PATH": "/mine"}}, library_path="")["LD_LIBRARY_PATH"] == "/mine"


def test_the_order_of_the_sources() -> None:
    """Host, presets, what the user gives for all functions, the language, the function, the platform: the later wins."""
    seen = runtime(
        {"environment": {"A": "function", "AWS_REGION": "function"}},
        host={"A": "host", "HOME": "host", "LANG": "host"},
        defaults={"A": "default", "TZ": "Europe/Berlin", "B": "default"},
        language={"A": "language", "B": "language", "LAMBDA_RUNTIME_DIR": "/rt"},
    )
    assert (seen["A"], seen["B"], seen["HOME"], seen["LANG"]) == ("function", "language", "host", "en_US.UTF-8")
    assert (seen["TZ"], seen["AWS_REGION"], seen["LAMBDA_RUNTIME_DIR"]) == ("Europe/Berlin", "us-east-1", "/rt")


@pytest.mark.parametrize(
    "name",
    [
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL",
    ],
)  # fmt: skip
def test_every_row_of_the_contracts_reserved_table(name: str) -> None:
    assert name in RESERVED


def test_names_and_values_count_in_bytes() -> None:
    assert size_of({"Ä": "ö"}) == 4
    assert size_of({"A": "\udcff"}) == 2


def test_what_may_be_secret_is_masked() -> None:
    shown = masked(runtime({"environment": {"STAGE": "dev"}}, credentials={"AWS_ACCESS_KEY_ID": "k", "AWS_SESSION_TOKEN": "t"}))
    assert (shown["STAGE"], shown["AWS_ACCESS_KEY_ID"], shown["AWS_ACCESS_KEY"], shown["AWS_SESSION_TOKEN"]) == ("***",) * 4
    assert (shown["_HANDLER"], shown["AWS_REGION"]) == ("app.handler", "us-east-1")
    assert list(shown) == sorted(shown)
