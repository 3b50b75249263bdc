"""Finding and loading the handler, and every way Init fails."""

from __future__ import annotations

import re

import pytest
from tests.contract.nodejs.conftest import Starter

ESM = "export const handler = async () => import.meta.url.split('/').pop()"
CJS = "exports.handler = async () => __filename.split('/').pop()"


@pytest.mark.parametrize(
    ("files", "handler", "expected"),
    [
        pytest.param({"index.js": CJS}, "index.handler", "index.js", id="js"),
        pytest.param({"index.mjs": ESM}, "index.handler", "index.mjs", id="mjs"),
        pytest.param({"index.cjs": CJS}, "index.handler", "index.cjs", id="cjs"),
        pytest.param({"index.js": ESM, "package.json": '{"type": "module"}'}, "index.handler", "index.js", id="type-module"),
        pytest.param(
            {"src/index.js": ESM, "package.json": '{"type":"module"}'}, "src/index.handler", "index.js", id="parent-type"
        ),
        pytest.param({"src/a/app.js": CJS}, "src/a/app.handler", "app.js", id="folders"),
        pytest.param({"index.js": CJS, "index.mjs": ESM, "index.cjs": CJS}, "index.handler", "index.js", id="js-before-mjs"),
        pytest.param({"index.mjs": ESM, "index.cjs": CJS}, "index.handler", "index.mjs", id="mjs-before-cjs"),
        pytest.param({"index": CJS, "index.js": "boom("}, "index.handler", "index", id="exact-name"),
        pytest.param({"app/index.js": CJS}, "app.handler", "index.js", id="folder-with-index"),
        pytest.param(
            {"node_modules/app/main.js": CJS, "node_modules/app/package.json": '{"main":"main"}'},
            "app.handler",
            "main.js",
            id="package",
        ),
        pytest.param({"index.js": "exports.a = { b: { c: async () => 'nested' } }"}, "index.a.b.c", "nested", id="nested"),
        pytest.param({"index.mjs": "export const a = { b: async () => 'nested' }"}, "index.a.b", "nested", id="nested-esm"),
        pytest.param(
            {"index.mjs": "const x = await Promise.resolve(9); export const handler = async () => x"},
            "index.handler",
            9,
            id="await",
        ),
    ],
)
def test_the_handler_is_found(start_any: Starter, files: dict[str, str], handler: str, expected: object) -> None:
    if handler.startswith("index") and "await Promise" in str(files) and start_any.major == 14:
        files = {"index.mjs": "export const handler = async () => 9"}  # 14 needs 14.8 for top-level await: kept simple
    assert start_any(files, handler=handler).result({}) == expected


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        pytest.param(
            {},
            "index.handler",
            "Runtime.ImportModuleError",
            r"Error: Cannot find module 'index'\nRequire stack:\n- .*",
            id="no-module",
        ),
        pytest.param(
            {"index.js": "require('nope')"},
            "index.handler",
            "Runtime.ImportModuleError",
            r"Error: Cannot find module 'nope'\nRequire stack:\n- .*index\.js\n.*",
            id="no-dependency",
        ),
        pytest.param(
            {"index.js": "exports.handler = ("}, "index.handler", "Runtime.UserCodeSyntaxError", r"SyntaxError: .+", id="syntax"
        ),
        pytest.param(
            {"index.mjs": "export const handler = ("},
            "index.handler",
            "Runtime.UserCodeSyntaxError",
            r"SyntaxError: .+",
            id="syntax-esm",
        ),
        pytest.param(
            {"index.js": "exports.other = 1"},
            "index.handler",
            "Runtime.HandlerNotFound",
            r"index\.handler is undefined or not exported",
            id="no-export",
        ),
        pytest.param(
            {"index.js": "exports.a = {}"},
            "index.a.b.c",
            "Runtime.HandlerNotFound",
            r"index\.a\.b\.c is undefined or not exported",
            id="no-nested",
        ),
        pytest.param(
            {"src/index.js": "exports.handler = 5"},
            "src/index.handler",
            "Runtime.HandlerNotFound",
            r"src/index\.handler is not a function",
            id="not-callable",
        ),
        pytest.param(
            {"index.mjs": "export default { handler: async () => 1 }"},
            "index.handler",
            "Runtime.HandlerNotFound",
            r"index\.handler is undefined or not exported",
            id="default-is-not-searched",
        ),
        pytest.param(
            {},
            "../index.handler",
            "Runtime.MalformedHandlerName",
            r"'\.\./index\.handler' is not a valid handler name\. Use absolute paths when specifying root directories in handler names\.",
            id="dots",
        ),
        pytest.param({"index.js": ""}, "index", "Runtime.MalformedHandlerName", r"Bad handler", id="no-dot"),
        pytest.param({"index.js": "throw new RangeError('at load')"}, "index.handler", "RangeError", r"at load", id="throws"),
        pytest.param(
            {"index.mjs": "throw new RangeError('at load')"}, "index.handler", "RangeError", r"at load", id="throws-esm"
        ),
        pytest.param({"index.js": "throw 'text'"}, "index.handler", "string", r"text", id="throws-text"),
        pytest.param(
            {
                "index.js": "exports.handler = async () => 1; exports.handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'odd'"
            },
            "index.handler",
            "Runtime.MalformedStreamingHandler",
            r"Only response streaming is supported\.",
            id="odd-streaming",
        ),
    ],
)
def test_a_failed_init_is_reported_before_the_process_ends(
    start_any: Starter, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    function = start_any(files, handler=handler)
    request = function.api.wait_for_request("/runtime/init/error")
    document = request.json()
    if start_any.is_ric and error_type == "Runtime.MalformedStreamingHandler":
        pytest.skip("AWS's client 3.3.0 fails with a ReferenceError of its own there")
    assert document["errorType"] == error_type
    assert re.fullmatch(message, document["errorMessage"], re.DOTALL)
    assert request.headers["lambda-runtime-function-error-type"] == error_type
    assert list(document) == ["errorType", "errorMessage", "trace"]
    assert function.exit_code() == 129
    assert function.api.next_waiting == 0


def test_an_init_error_is_logged_before_it_is_posted(start: Starter) -> None:
    function = start({"index.js": "exports.other = 1"})
    function.init_error()
    assert function.exit_code() == 129
    line = next(line for line in function.lines() if "\tUncaught Exception\t" in line)
    assert '"errorType":"Runtime.HandlerNotFound"' in line
    assert line.split("\t")[1:3] == ["undefined", "ERROR"]


def test_an_uncaught_exception_during_init_is_an_init_error(start: Starter) -> None:
    function = start(
        {"index.mjs": "setTimeout(() => { throw new Error('early') }, 1); await new Promise(() => setTimeout(() => {}, 9999))"}
    )
    if start.major != 14:
        assert function.init_error()["errorMessage"] == "early"
        assert function.exit_code() == 129


def test_a_rejection_nobody_handles_during_init_is_an_init_error(start: Starter) -> None:
    function = start("Promise.reject(new Error('early')); exports.handler = async () => 1")
    document = function.init_error()
    assert (document["errorType"], document["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "Error: early")
    assert function.exit_code() == 128
    assert function.api.next_waiting == 0


def test_a_syntax_error_names_its_place(start: Starter) -> None:
    function = start({"index.js": "\n\nexports.handler = ("})
    trace = function.init_error()["trace"]
    assert trace[0].startswith("Runtime.UserCodeSyntaxError: SyntaxError: ")
    assert any("index.js:" in line for line in trace)


def test_the_handler_may_be_an_argument(start: Starter) -> None:
    function = start("exports.own = async () => process.env._HANDLER", env={"_HANDLER": "index.other"}, argument="index.own")
    assert function.result({}) == "index.other"


def test_user_modules_see_nothing_of_ours(start: Starter) -> None:
    source = (
        "exports.handler = async () => ({ cached: Object.keys(require.cache), main: require.main === undefined,"
        " paths: module.paths[0], console: require.resolve('./console'), env: Object.keys(process.env) })"
    )
    result = start({"index.js": source, "console.js": "", "loader.cjs": ""}).result({})
    assert [path.rsplit("/", 1)[-1] for path in result["cached"]] == ["index.js"]
    assert result["main"] is True
    assert result["paths"].endswith("/task/node_modules")
    assert result["console"].endswith("/task/console.js")


def test_node_path_is_searched_after_the_task_root(start: Starter, task_root: object) -> None:
    layer = f"{task_root}/../opt/nodejs/node_modules"
    function = start(
        {
            "index.js": "exports.handler = async () => [require('both'), require('only')]",
            "node_modules/both/index.js": "module.exports = 'task'",
            "../opt/nodejs/node_modules/both/index.js": "module.exports = 'layer'",
            "../opt/nodejs/node_modules/only/index.js": "module.exports = 'layer'",
        },
        env={"NODE_PATH": layer},
    )
    assert function.result({}) == ["task", "layer"]


def test_es_modules_find_packages_through_node_path(start: Starter, task_root: object) -> None:
    if start.major < 20:
        pytest.skip("module hooks came with Node.js 18.19, AWS's own with the nodejs18.x runtime")
    function = start(
        {
            "index.mjs": "import both from 'both'; import only from '@scope/only'; export const handler = async () => [both, only]",
            "node_modules/both/index.js": "module.exports = 'task'",
            "../opt/nodejs/node_modules/both/index.js": "module.exports = 'layer'",
            "../opt/nodejs/node_modules/@scope/only/package.json": '{"type": "module", "exports": "./main.js"}',
            "../opt/nodejs/node_modules/@scope/only/main.js": "export default 'layer'",
        },
        env={"NODE_PATH": f"{task_root}/../opt/nodejs/node_modules"},
    )
    assert function.result({}) == ["task", "layer"]


def test_import_in_a_commonjs_handler_finds_packages_through_node_path(start: Starter, task_root: object) -> None:
    if start.major < 22:
        pytest.skip("hooks that cost nothing came with Node.js 22.15")
    function = start(
        {
            "index.js": "exports.handler = async () => [(await import('only')).default, require('plain')]",
            "../opt/nodejs/node_modules/only/package.json": '{"type": "module", "exports": "./main.js"}',
            "../opt/nodejs/node_modules/only/main.js": "export default 'layer'",
            "../opt/nodejs/node_modules/plain/index.js": "module.exports = 'plain'",
        },
        env={"NODE_PATH": f"{task_root}/../opt/nodejs/node_modules"},
    )
    assert function.result({}) == ["layer", "plain"]


def test_a_missing_package_of_an_es_module_keeps_nodes_own_error(start: Starter) -> None:
    document = start({"index.mjs": "import x from 'nope'; export const handler = async () => x"}).init_error()
    assert document["errorType"] == "Error"
    assert "Cannot find package 'nope'" in document["errorMessage"]
