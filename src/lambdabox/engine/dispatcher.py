"""Finds the function an invocation names and hands it to that function's pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lambdabox.engine.pool import EngineContext, FunctionPool
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import ResourceNotFoundException, ServiceException
from lambdabox.model.function import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Function, partition
from lambdabox.model.names import FunctionReference, parse_function_reference


class Dispatcher:
    """The functions of one engine and their pools."""

    def __init__(self, functions: Iterable[Function], context: EngineContext) -> None:
        self.context = context
        self.functions: tuple[Function, ...] = tuple(functions)
        self._by_name: dict[str, Function] = {}
        for function in self.functions:
            self._by_name.setdefault(function.key, function)
        for function in self.functions:
            self._by_name[function.name] = function
        self._pools: dict[str, FunctionPool] = {}
        self._is_closed = False
        self._found: dict[tuple[str, str | None], tuple[Function, str]] = {}

    def find(self, name: str, qualifier: str | None = None) -> tuple[Function, str]:
        """The function that a caller names, and the ARN its invocation carries: with the qualifier only if one was given.

        Raises ResourceNotFoundException, ValidationException, InvalidParameterValueException.
        """
        found = self._found.get((name, qualifier))
        if found is None:
            found = self._find(parse_function_reference(name, qualifier))
            if len(self._found) < 10_000:
                self._found[name, qualifier] = found
        return found

    def _find(self, reference: FunctionReference) -> tuple[Function, str]:
        function = self._by_name.get(reference.name)
        if (
            function is None
            or reference.region not in (None, function.region)
            or reference.account_id not in (None, function.account_id)
            or reference.qualifier not in (None, function.version)
        ):
            raise ResourceNotFoundException(self._wanted_arn(reference, function), known=[f.key for f in self.functions])
        arn = function.arn if reference.qualifier is None else f"{function.arn}:{reference.qualifier}"
        return function, arn

    def _wanted_arn(self, reference: FunctionReference, function: Function | None) -> str:
        """The ARN that AWS's message names."""
        model = function or next(iter(self.functions), None)
        region = reference.region or (DEFAULT_REGION if model is None else model.region)
        account = reference.account_id or (DEFAULT_ACCOUNT_ID if model is None else model.account_id)
        name = reference.name if function is None else function.name
        suffix = "" if reference.qualifier is None else f":{reference.qualifier}"
        return f"arn:{partition(region)}:lambda:{region}:{account}:function:{name}{suffix}"

    def submit(self, ticket: Ticket) -> None:
        """Run an invocation. Raises TooManyRequestsException when it is throttled, and what makes its function ready raises."""
        self.pool(ticket.function).submit(ticket)

    def pool(self, function: Function) -> FunctionPool:
        pool = self._pools.get(function.name)
        if pool is None:
            if self._is_closed:
                raise ServiceException("the service was closed before the invocation could begin")
            pool = self._pools[function.name] = FunctionPool(function, self.context)
        return pool

    async def close(self) -> None:
        """Run every environment's Shutdown phase."""
        self._is_closed = True
        await asyncio.gather(*(pool.close() for pool in tuple(self._pools.values())))

    async def kill(self) -> None:
        """End every environment at once."""
        self._is_closed = True
        await asyncio.gather(*(pool.kill() for pool in tuple(self._pools.values())))
