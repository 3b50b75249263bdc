"""Starts a Python function: `python bootstrap.py <handler>`.

This file is compiled at each start, so it only gives the two folders of ours private names, under which Python finds (and caches as
bytecode) what is in them. No folder of ours stays on sys.path: the function's own `bootstrap`, `loader` or `lambdabox_runtime` are
found as if we were not here.
"""

if __name__ == "__main__":
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and sys.path[0] and os.path.realpath(sys.path[0]) == os.path.realpath(here):
        del sys.path[0]

    library = os.environ.pop("_LAMBDABOX_RUNTIME_LIBRARY", None) or os.path.join(here, "lambdabox_runtime")
    if not os.path.isdir(library):  # a source checkout
        library = os.path.join(here, *[os.pardir] * 5, "runtime", "src", "lambdabox_runtime")

    for name, folder in (("_lambdabox_bootstrap", here), ("_lambdabox_runtime", os.path.abspath(library))):
        package = type(sys)(name)
        package.__path__ = [folder]
        sys.modules[name] = package

    from _lambdabox_bootstrap.serve import main

    main(here, os.path.abspath(library))
