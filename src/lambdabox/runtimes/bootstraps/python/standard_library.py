"""Keeps the modules that AWS's runtime has already imported out of reach of a function's files with the same names.

On Lambda, `json`, `logging` and their kind are in sys.modules before the handler's module is looked for, so a `json.py` in the function's
folder is never found, and the runtime cannot stumble over it. We import them late or never, and get the same answer from
a finder that looks for these names in the standard library only. `logging` gets its handler the moment it is there.
"""

from __future__ import annotations

import os
import sys

# What the standard modules that awslambdaric imports bring along, on any Python from 3.8 on.
NAMES = frozenset(
    """
    __future__ _collections_abc _colorize _decimal _heapq _json _weakrefset abc annotationlib codecs codeop collections
    contextlib copyreg decimal encodings enum functools genericpath heapq importlib io json keyword linecache logging
    numbers operator os posixpath re reprlib sre_compile sre_constants sre_parse stat string textwrap threading token
    tokenize traceback types warnings weakref zipimport
    """.split()
)


class StandardLibraryFirst:
    """A finder for sys.meta_path."""

    def __init__(self, folders, logging_imported):
        self._folders = folders
        self._logging_imported = logging_imported

    @classmethod
    def install(cls, logging_imported):
        """Watch imports from now on; `logging_imported` is called once, within the import of `logging`."""
        library = os.path.dirname(os.__file__)
        folders = [
            entry
            for entry in sys.path
            if entry == library or (entry.startswith(library + os.sep) and "-packages" not in entry) or entry.endswith(".zip")
        ]
        if "logging" in sys.modules:  # a .pth file or sitecustomize was first
            logging_imported()
        sys.meta_path.insert(0, cls(folders, logging_imported))

    def find_spec(self, name, path=None, target=None):
        if name not in NAMES or path is not None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            # Only the path finder looks at folders; the ones before it know built-in and frozen modules.
            is_path_finder = getattr(finder, "__name__", "") == "PathFinder"
            spec = finder.find_spec(name, self._folders if is_path_finder else None, target)
            if spec is not None:
                if name == "logging" and spec.loader is not None:
                    spec.loader = _LoggingLoader(spec.loader, self._logging_imported)
                return spec
        return None


class _LoggingLoader:
    """Runs the real loader, steps out of the module's sight, and reports."""

    def __init__(self, loader, imported):
        self._loader = loader
        self._imported = imported

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._imported()
