"""Fifty tests of nothing: what pytest costs by itself."""

from __future__ import annotations

import asyncio

import pytest


@pytest.mark.parametrize("number", range(50))
def test_nothing(number):
    async def story():
        assert number >= 0

    asyncio.run(story())
