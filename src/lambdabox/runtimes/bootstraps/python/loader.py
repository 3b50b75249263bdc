"""Finds the handler: the search path, the module, the attribute, and AWS's words for what can be wrong with them."""

from __future__ import annotations

import sys

from _lambdabox_runtime.errors import RuntimeFaultError


def set_search_path(task_root, layers):
    """The task root first, then the layers' folders, then what Python brought along (PYTHONPATH, library, site-packages)."""
    first = [task_root]
    first += [folder for folder in layers if folder not in first]
    sys.path[:] = first + [entry for entry in sys.path if entry not in first and entry]


def load_handler(handler):
    """Import the handler's module and return the handler.

    Raises:
        RuntimeFaultError: with the error type and message of AWS's Python runtimes. What the module itself raises, apart from
            ImportError and SyntaxError, is passed on as it is.
    """
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise RuntimeFaultError("Runtime.MalformedHandlerName", "Bad handler '{0}': {1}".format(handler, error)) from error

    if module_name.split(".")[0] in sys.builtin_module_names:
        raise RuntimeFaultError(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module {0} as a handler module".format(module_name),
        )
    from importlib import import_module

    try:
        module = import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise RuntimeFaultError(
            "Runtime.ImportModuleError", "Unable to import module '{0}': {1}".format(module_name, error)
        ) from error
    except SyntaxError as error:
        raise RuntimeFaultError(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '{0}': {1}".format(module_name, error),
            ['  File "{0}" Line {1}\n    {2}'.format(error.filename, error.lineno, error.text)],
        ) from error

    try:
        return getattr(module, function_name)
    except AttributeError as error:
        raise RuntimeFaultError(
            "Runtime.HandlerNotFound", "Handler '{0}' missing on module '{1}'".format(function_name, module_name)
        ) from error
