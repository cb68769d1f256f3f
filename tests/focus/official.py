"""Runs the FinOps Foundation's focus-validator, also under a Python older than it asks for.

    build/venv-focus/bin/python tests/focus/official.py ARGUMENTS OF focus-validator

Paths are absolute: it looks for its own files from where it is installed.  Its one construct that Python 3.11 cannot read is a backslash within the braces of a formatted
string; the source is changed while it is loaded, and nothing on disk.
"""

import importlib.abc
import importlib.machinery
import os
import sys

MODULE = "focus_validator.config_objects.focus_to_duckdb_converter"
BEFORE = "k.replace('\\\"', '\\\"\\\"')"
AFTER = "k.replace(chr(34), chr(34) * 2)"


class Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data, path, *, _optimize=-1):
        text = data.decode("utf-8").replace(BEFORE, AFTER)
        return super().source_to_code(text.encode("utf-8"), path, _optimize=_optimize)

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        spec.loader = Loader(fullname, spec.origin)
        return spec


if sys.version_info < (3, 12):
    sys.meta_path.insert(0, Finder())

from focus_validator.main import main  # noqa: E402

import focus_validator  # noqa: E402

os.chdir(os.path.dirname(os.path.dirname(focus_validator.__file__)))
sys.argv[0] = "focus-validator"
sys.exit(main())
