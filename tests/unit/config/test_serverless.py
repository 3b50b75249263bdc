"""Functions of a Serverless file."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.project import load_project
from lambdabox.errors import ConfigError

ORDERS = Path(__file__).parents[2] / "data" / "projects" / "orders"


def load(folder: Any, text: Any, **options: Any) -> Any:
    (folder / "serverless.yml").write_text(textwrap.dedent(text))
    return load_project(folder, environ=options.pop("environ", {}), **options)


def with_function(folder: Any, body: str, **options: Any) -> Any:
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    project = load(
        folder,
        f"service: s\nprovider:\n  name: aws\n  runtime: python3.12\nfunctions:\n  f:\n    handler: app.handler\n{lines}\n",
        **options,
    )
    return project, project.functions[0]


def refused(folder: Any, text: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value


def refused_function(folder: Any, body: str) -> Any:
    with pytest.raises(ConfigError) as caught:
        with_function(folder, body)
    return caught.value


def test_a_whole_project() -> None:
    project = load_project(ORDERS, environ={})
    create, listing = project.functions
    assert (project.service, project.stage, project.file) == ("orders", "dev", ORDERS / "serverless.yml")
    assert (create.key, create.name, create.handler, create.runtime) == (
        "create",
        "orders-dev-create",
        "src/create.handler",
        "python3.12",
    )
    assert (create.timeout, create.memory_size, create.region, create.log_format) == (20, 512, "eu-west-1", "JSON")
    assert create.environment == {
        "TABLE": "orders-dev",
        "STAGE": "dev",
        "COUNTRY": "NO",
        "AT": "1:30",
        "MODE": "12",
        "DEBUG": "true",
        "RATE": "1",
        "REGION": "eu-west-1",
        "OWN": "fallback",
    }
    assert create.layers == (ORDERS / "layers/common",)
    assert (create.code, create.project, create.description) == (ORDERS, ORDERS, "Takes an order")
    assert create.source is not None
    assert create.source.line == 38
    assert (listing.name, listing.runtime, listing.memory_size, listing.timeout) == ("list-dev", "nodejs22.x", 256, 6)
    assert listing.reserved_concurrency == 2
    assert listing.environment["REMOVED"] == "from the provider"


def test_what_was_left_out_is_said_once_each() -> None:
    warnings = [str(warning) for warning in load_project(ORDERS, environ={}).warnings]
    assert warnings == [
        "serverless.yml:55:3: function job is a container image: it is left out",
        "serverless.yml:23:5: not resolved here: ${ssm:/orders/secret}",
        "serverless.yml:25:5: only AWS knows the value of environment variable QUEUE: left out",
    ]


def test_stage_and_region_options_win() -> None:
    project = load_project(ORDERS, stage="prod", region="us-west-2", environ={"OWN_VALUE": "x"})
    create = project.functions[0]
    assert (create.name, create.region, create.environment["TABLE"]) == ("orders-prod-create", "us-west-2", "orders")
    assert (create.environment["STAGE"], create.environment["OWN"], create.environment["REGION"]) == ("prod", "x", "us-west-2")


def test_serverless_has_its_own_defaults(tmp_path: Path) -> None:
    _, function = with_function(tmp_path, "")
    assert (function.timeout, function.memory_size, function.region, function.name) == (6, 1024, "us-east-1", "s-dev-f")


def test_functions_may_be_a_list_of_mappings(tmp_path: Path) -> None:
    text = """
        service: s
        provider: {name: aws, runtime: python3.12}
        functions:
          - a: {handler: a.handler}
            b: {handler: b.handler}
          - c: {handler: c.handler}
    """
    assert [function.key for function in load(tmp_path, text).functions] == ["a", "b", "c"]


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "serverless.json").write_text(
        '{"service": "s", "provider": {"name": "aws", "runtime": "nodejs22.x"},\n "functions": {"f": {"handler": "i.h"}}}'
    )
    assert load_project(tmp_path, environ={}).functions[0].name == "s-dev-f"


def test_dotenv_is_for_env_variables_when_asked(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=from file\nB=from file\n")
    text = """
        service: s
        useDotenv: true
        provider: {name: aws, runtime: python3.12, environment: {A: "${env:A}", B: "${env:B}"}}
        functions: {f: {handler: a.handler}}
    """
    assert load(tmp_path, text, environ={"B": "shell"}).functions[0].environment == {"A": "from file", "B": "shell"}


def test_a_missing_runtime_is_told_by_the_handlers_file(tmp_path: Path) -> None:
    text = "service: s\nprovider: {name: aws}\nfunctions: {f: {handler: app.handler}}\n"
    (tmp_path / "app.mjs").write_text("export const handler = 1")
    assert load(tmp_path, text).functions[0].runtime == "nodejs24.x"
    assert load(tmp_path, text, runtime_for=lambda code, handler: "python3.11").functions[0].runtime == "python3.11"
    (tmp_path / "app.mjs").unlink()
    assert "no runtime" in refused(tmp_path, text).message


def test_keys_that_serverless_knows_are_accepted_quietly(tmp_path: Path) -> None:
    body = """
        description: x
        tags: {a: b}
        role: arn:aws:iam::1:role/x
        package: {patterns: []}
        vpc: {securityGroupIds: []}
        url: true
        logRetentionInDays: 7
        events: [{http: GET /x}]
        iamRoleStatements: []
    """
    assert with_function(tmp_path, body)[0].warnings == ()


def test_a_mistyped_key_is_refused_with_its_place(tmp_path: Path) -> None:
    error = refused_function(tmp_path, "memorysize: 128")
    assert str(error) == "serverless.yml:8:5: unknown key functions.f.memorysize"
    assert error.hint == "did you mean memorySize?"


@pytest.mark.parametrize(("key", "meant"), [("enviroment", "environment"), ("env", "environment"), ("time_out", "timeout")])
def test_common_mistakes_are_understood(tmp_path: Path, key: str, meant: str) -> None:
    assert refused_function(tmp_path, f"{key}: 1").hint == f"did you mean {meant}?"


def test_a_mistyped_top_key_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "service: s\nprovider: aws\nfunction: {}\n").hint == "did you mean functions?"


def test_an_unknown_key_that_is_no_mistake_is_a_warning(tmp_path: Path) -> None:
    project, _ = with_function(tmp_path, "zzz: 1")
    assert [str(warning) for warning in project.warnings] == ["serverless.yml:8:5: unknown key functions.f.zzz"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("memorySize: 64", "functions.f.memorySize is 64, AWS Lambda allows from 128 to 10240 MB"),
        ("memorySize: 20000", "functions.f.memorySize is 20000, AWS Lambda allows from 128 to 10240 MB"),
        ("memorySize: big", "functions.f.memorySize must be a whole number, from 128 to 10240 MB, it is 'big'"),
        ("memorySize: true", "functions.f.memorySize must be a whole number, from 128 to 10240 MB, it is true or false"),
        ("timeout: 0", "functions.f.timeout is 0, AWS Lambda allows from 1 to 900 seconds"),
        ("timeout: 901", "functions.f.timeout is 901, AWS Lambda allows from 1 to 900 seconds"),
        ("timeout: 1.5", "functions.f.timeout must be a whole number, from 1 to 900 seconds, it is 1.5"),
        ("timeout: [1]", "functions.f.timeout must be a whole number, from 1 to 900 seconds, it is a list"),
        ("reservedConcurrency: -1", "functions.f.reservedConcurrency is -1, AWS Lambda allows at least 0"),
        ("runtime: 3.12", "functions.f.runtime must be text, it is a number"),
        ("runtime: python3.1.2", "unknown runtime 'python3.1.2'"),
        ("name: a b", "function name 'a b': AWS Lambda allows up to 64 letters, digits, hyphens and underscores"),
        ("environment: text", "functions.f.environment must be a mapping, it is text"),
        ("environment: {A: [1]}", "environment variable A must be text, a number or true or false, it is a list"),
        ("environment: {A: {b: c}}", "environment variable A must be text, a number or true or false, it is a mapping"),
        ("environment: {AWS_REGION: x}", "environment variable AWS_REGION is reserved"),
        ("environment: {1A: x}", "environment variable '1A' has a name that AWS Lambda refuses"),
        ("architecture: riscv", "functions.f.architecture must be x86_64 or arm64, it is 'riscv'"),
        ("layers: [nowhere]", "layer nowhere does not exist"),
        ("logs: {logFormat: xml}", "functions.f.logs.logFormat must be Text or JSON, it is 'xml'"),
    ],
)
def test_what_cannot_be_right_names_its_place(tmp_path: Path, body: str, message: str) -> None:
    error = refused_function(tmp_path, body)
    assert message in error.message
    assert (error.file, error.line) == ("serverless.yml", 8)
    assert str(error).startswith("serverless.yml:8:")


def test_numbers_as_text_are_numbers(tmp_path: Path) -> None:
    _, function = with_function(tmp_path, "memorySize: '256'\ntimeout: '10'")
    assert (function.memory_size, function.timeout) == (256, 10)


def test_over_4_kb_of_variables_is_refused(tmp_path: Path) -> None:
    error = refused_function(tmp_path, f"environment: {{BIG: {'x' * 5000}}}")
    assert "take 5003 bytes, AWS Lambda allows 4096" in error.message


@pytest.mark.parametrize("handler", ["../x.handler", "/abs/x.handler", "a/../../x.handler", "''"])
def test_a_handler_that_leaves_the_project_is_refused(tmp_path: Path, handler: str) -> None:
    error = refused(tmp_path, f"service: s\nprovider: aws\nfunctions:\n  f:\n    handler: {handler}\n    runtime: python3.12\n")
    assert error.line == 5
    assert "functions.f.handler" in error.message


def test_an_unknown_runtime_gets_a_guess(tmp_path: Path) -> None:
    assert "did you mean nodejs22.x?" in (refused_function(tmp_path, "runtime: nodejs22").hint or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "must be a mapping, it is a list"),
        ("", "must be a mapping, it is nothing"),
        ("provider: aws", "service is missing"),
        ("service: s", "provider is missing"),
        ("service: 1x\nprovider: aws", "service name '1x'"),
        ("service: s\nprovider: aws\nfunctions: text", "cannot be resolved here"),
        ("service: s\nprovider: aws\nfunctions: {f: {}}", "function f has no handler"),
        ("service: s\nprovider: aws\nfunctions: {'f g': {handler: a.b}}", "function key 'f g'"),
        ("service: s\nprovider: aws\nfunctions: {f: {handler: '${ssm:x}'}}", "functions.f.handler: ${ssm:x} cannot be resolved"),
        (
            "service: s\nprovider: {runtime: python3.12}\nfunctions: {f: {handler: a.b, name: n}, g: {handler: a.b, name: n}}",
            "functions f and g have the same name n",
        ),
    ],
)
def test_files_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text).message


def test_unresolved_settings_fall_back_with_a_warning(tmp_path: Path) -> None:
    project, function = with_function(tmp_path, "timeout: ${ssm:/t}\nenvironment: ${file(env.yml)}")
    assert (function.timeout, function.environment) == (6, {})
    assert "${ssm:/t} and ${file(env.yml)}" in project.warnings[0].message


def test_layers_on_aws_are_left_out_with_a_warning(tmp_path: Path) -> None:
    project, function = with_function(tmp_path, "layers: ['arn:aws:lambda:us-east-1:1:layer:x:1']")
    assert function.layers == ()
    assert "arn:aws:lambda:us-east-1:1:layer:x:1 is not here" in project.warnings[0].message


def test_sub_and_join_of_pseudo_parameters_are_decided(tmp_path: Path) -> None:
    body = """
        environment:
          A: !Sub "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:q"
          B: !Join ["-", [!Ref "AWS::Region", x]]
          C: !Sub ["${x}", {x: 1}]
          D: !Ref AWS::NoValue
          E: !Sub "${Table}"
    """
    project, function = with_function(tmp_path, body)
    assert function.environment == {"A": "arn:aws:sqs:us-east-1:123456789012:q", "B": "us-east-1-x", "C": "1"}
    assert "environment variable E" in project.warnings[0].message


def test_a_retired_runtime_is_accepted(tmp_path: Path) -> None:
    assert with_function(tmp_path, "runtime: nodejs14.x")[1].runtime == "nodejs14.x"
