"""What `lambdabox.testing` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lambdabox import testing


def test_every_public_name_exists_and_is_documented() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    for name in testing.__all__:
        assert getattr(testing, name).__doc__


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        testing.Nothing  # noqa: B018  # the access is the test


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, lambdabox.testing; print([m for m in ('asyncio', 'httptools', 'json') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
