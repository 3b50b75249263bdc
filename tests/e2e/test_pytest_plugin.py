"""The pytest plugin in test runs of its own, as a user's: no configuration, only the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

EXTENSION = """
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body, **headers):
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer, json.loads(answer.read())
answer, _ = call("POST", "register", '{"events": ["INVOKE", "SHUTDOWN"]}', **{"Lambda-Extension-Name": os.path.basename(sys.argv[0])})
identity = {"Lambda-Extension-Identifier": answer.getheader("Lambda-Extension-Identifier")}
while True:
    _, event = call("GET", "event/next", None, **identity)
    if os.environ.get("NOTES"):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(event["eventType"] + "\\n")
    if event["eventType"] == "SHUTDOWN":
        break
"""

HANDLER = """
def handler(event, context):
    print("a log line")
    return {"hello": event["name"]}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "layer" / "extensions").mkdir(parents=True)
    (folder / "app.py").write_text(HANDLER)
    for path in (folder / "collector.py", folder / "layer" / "extensions" / "in-layer"):
        path.write_text(f"#!{sys.executable}\n{EXTENSION}")
        path.chmod(0o755)
    (folder / "serverless.yml").write_text(
        f"service: shop\nprovider:\n  name: aws\n  runtime: python3.{sys.version_info.minor}\nfunctions:\n  hello:\n    handler: app.handler\n"
    )
    return folder


@pytest.fixture
def run_tests(project: Path, environ: dict[str, str]) -> Run:
    """Run tests in the project with the plugins that are named, and no others."""

    def run(source: str, *plugins: str) -> subprocess.CompletedProcess[str]:
        (project / "test_it.py").write_text(textwrap.dedent(source))
        options = [word for plugin in ("lambdabox.pytest_plugin", *plugins) for word in ("-p", plugin)]
        if "pytest_asyncio.plugin" in plugins:
            options += ["-o", "asyncio_default_fixture_loop_scope=function"]  # what it warns about when nobody says it
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "-W", "error", "--import-mode=importlib"],
            cwd=project,
            env={**environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NOTES": str(project / "notes")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def passed(found: subprocess.CompletedProcess[str], count: int) -> None:
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{count} passed" in found.stdout


def test_plain_tests_use_the_blocking_forms(run_tests: Run) -> None:
    source = """
        import sys, urllib.request

        def test_a_function(local_lambda):
            result = local_lambda("app.handler", timeout=5).invoke({"name": "Ada"})
            assert result.json() == {"hello": "Ada"}
            assert "a log line" in result.logs

        def test_a_service(lambda_service):
            service = lambda_service()
            assert service.invoke("hello", {"name": "Ada"}).json() == {"hello": "Ada"}
            url = f"{service.endpoint_url}/2015-03-31/functions/shop-dev-hello/invocations"
            with urllib.request.urlopen(urllib.request.Request(url, data=b'{"name": "Grace"}')) as answer:
                assert b"Grace" in answer.read()

        def test_a_service_of_a_handler(lambda_service):
            assert lambda_service("app.handler").endpoint_url.startswith("http://127.0.0.1:")

        def test_a_simulator(simulator):
            environment = simulator(function_name="orders")
            request_id = environment.enqueue_payload({})
            url = f"{environment.runtime_api_url}/2018-06-01/runtime/invocation"
            with urllib.request.urlopen(f"{url}/next") as answer:
                assert answer.headers["Lambda-Runtime-Aws-Request-Id"] == request_id
            urllib.request.urlopen(urllib.request.Request(f"{url}/{request_id}/response", data=b"1")).close()
            assert environment.wait_for_invocation_complete(request_id).json() == 1
    """
    passed(run_tests(source), 4)


def test_functions_run_with_their_extensions_and_layers(run_tests: Run, project: Path) -> None:
    source = """
        from lambdabox import LambdaService

        def test_a_function_with_both(local_lambda):
            function = local_lambda("app.handler", extensions=["collector.py"], layers=["layer"], environment={"NOTES": "notes"}, timeout=5)
            assert function.invoke({"name": "Ada"}).json() == {"hello": "Ada"}
            function.close()

        def test_a_service_with_both(lambda_service):
            service = lambda_service(extensions=["collector.py"], layers=["layer"])
            assert [path.name for path in service.functions[0].extensions] == ["collector.py"]
            assert service.invoke("hello", {"name": "Ada"}).json() == {"hello": "Ada"}

        def test_a_simulator_with_both(simulator):
            environment = simulator(extensions=["collector.py"], layers=["layer"])
            environment.wait_for(lambda: environment.extension_count == 2)
            assert {found.name for found in environment.registered_extensions} == {"collector.py", "in-layer"}
    """
    passed(run_tests(source), 3)
    assert sorted((project / "notes").read_text().split()) == ["INVOKE"] * 2 + ["SHUTDOWN"] * 2


@pytest.mark.parametrize(("plugin", "mark"), [("pytest_asyncio", "asyncio"), ("anyio", "anyio")])
def test_tests_with_a_loop_use_the_asynchronous_forms(run_tests: Run, plugin: str, mark: str) -> None:
    pytest.importorskip(plugin)
    module = {"anyio": "anyio.pytest_plugin", "pytest_asyncio": "pytest_asyncio.plugin"}[plugin]
    source = f"""
        import pytest
        from lambdabox.testing import ScriptedRuntime

        pytestmark = pytest.mark.{mark}

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_a_function(local_lambda):
            async with local_lambda("app.handler", timeout=5) as function:
                assert (await function.ainvoke({{"name": "Ada"}})).json() == {{"hello": "Ada"}}

        async def test_a_service(lambda_service):
            async with lambda_service() as service:
                assert (await service.invoke("hello", {{"name": "Ada"}})).json() == {{"hello": "Ada"}}
                assert service.endpoint_url.startswith("http://127.0.0.1:")

        async def test_a_simulator(simulator):
            async with simulator(extensions=["collector.py"]) as environment:
                await environment.wait_for(lambda: environment.extension_count == 1)
                async with ScriptedRuntime(environment) as runtime:
                    runtime.start(lambda event: event)
                    state = await environment.wait_for_invocation_complete(await environment.enqueue_payload(1))
                    assert state.json() == 1
    """
    found = run_tests(source, module)
    passed(found, 3)


def test_a_failure_says_what_the_invocation_said(run_tests: Run) -> None:
    source = """
        def test_it(local_lambda):
            result = local_lambda("app.handler", timeout=5).invoke({})
            assert result.status.name == "SUCCESS"
    """
    found = run_tests(source)
    assert found.returncode == 1
    assert " lambdabox " in found.stdout
    assert "KeyError: 'name'" in found.stdout
    assert 'return {"hello": event["name"]}' in found.stdout
    assert "log: a log line" in found.stdout


def test_a_failure_says_how_a_simulator_stands(run_tests: Run) -> None:
    source = """
        import sys

        def test_it(simulator):
            environment = simulator(extensions=["collector.py"])
            environment.wait_for(lambda: environment.extension_count == 1)
            environment.enqueue_payload({"a": 1})
            assert environment.is_initialized
    """
    found = run_tests(source)
    assert found.returncode == 1
    assert "phase init; runtime Started; extensions collector.py" in found.stdout
    assert "platform.initStart" in found.stdout
    assert " PENDING" in found.stdout


def test_a_result_that_is_compared_with_a_payload_is_explained(run_tests: Run) -> None:
    source = """
        def test_it(local_lambda):
            assert local_lambda("app.handler", timeout=5).invoke({"name": "Ada"}) == {"hello": "Ada"}
    """
    found = run_tests(source)
    assert found.returncode == 1
    assert "a result is not its payload: compare `.json()`, which is {'hello': 'Ada'}" in found.stdout


def test_a_test_that_passes_says_nothing(run_tests: Run) -> None:
    found = run_tests(
        "def test_it(local_lambda):\n    assert local_lambda('app.handler', timeout=5).invoke({'name': 'Ada'}).json()\n"
    )
    passed(found, 1)
    assert "lambdabox" not in found.stdout


def test_paths_count_from_the_test_when_they_exist_only_there(run_tests: Run, project: Path) -> None:
    inner = project / "tests"
    inner.mkdir()
    (inner / "beside.py").write_text(HANDLER)
    (inner / "test_inner.py").write_text(
        "def test_it(local_lambda):\n"
        "    assert local_lambda('beside.handler', timeout=5).invoke({'name': 'Ada'}).json() == {'hello': 'Ada'}\n"
    )
    passed(run_tests("def test_nothing(): pass\n"), 2)


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import lambdabox.pytest_plugin; print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert not {"httptools", "uvloop", "lambdabox.service", "lambdabox.simulator", "msgspec", "yaml"} & set(eval(found.stdout))


def test_a_fixture_that_stands_on_the_simulator_has_it_to_its_end(run_tests: Run) -> None:
    source = """
        import pytest

        @pytest.fixture
        def environment(simulator):
            made = simulator()
            yield made
            assert made.phase == "init"
            made.enqueue_payload(1)

        def test_it(environment, local_lambda):
            local_lambda("app.handler")
    """
    passed(run_tests(source), 1)
