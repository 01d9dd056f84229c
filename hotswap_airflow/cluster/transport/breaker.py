"""Pauses after a failed login, so that a node that needs a person, or was away, does not get too many attempts."""

from __future__ import annotations

import datetime as dt
import random
import time
from typing import TYPE_CHECKING, TypeVar

from hotswap_airflow.errors import ConnectionLost, LoginAwaited, LoginRequired

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Value = TypeVar("Value")
FIRST_REST, LONGEST_REST = 60.0, 300.0
"""Seconds until a login is tried again: after the first refusal, and after many refusals."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
"""The same if there was no answer; multiplied by 0.5 to 1.5 at random, so that not all clients come back at once."""


class Breaker:
    """Tries logins, but not during the pause after a failed login.

    With ``waits_for_login``, and after a login that succeeded, a refusal is ``LoginAwaited``: jobs go on meanwhile.
    Otherwise it is ``LoginRequired``: the caller gets the reason at once.
    """

    def __init__(self, *, waits_for_login: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._waits = waits_for_login
        self._clock = clock
        self._refusal: LoginRequired | None = None
        self._rest = FIRST_REST
        self._until = 0.0
        self._loss: ConnectionLost | None = None
        self._pause = FIRST_PAUSE

    async def attempt(self, login: Callable[[], Awaitable[Value]]) -> Value:
        """Log in. Raises ``LoginAwaited``, ``LoginRequired``, ``ConnectionLost``, and any other error of the login."""
        if self._clock() < self._until:
            if self._refusal is not None:
                raise self._to_raise(self._refusal)
            if self._loss is not None:
                raise ConnectionLost(str(self._loss))
        try:
            made = await login()
        except LoginRequired as error:
            raise self.refused(error) from error
        except ConnectionLost as error:
            self._lost(error)
            raise
        self._waits, self._refusal, self._rest = True, None, FIRST_REST
        self._loss, self._pause = None, FIRST_PAUSE
        return made

    def _lost(self, error: ConnectionLost) -> None:
        self._loss, self._refusal = error, None
        self._until = self._clock() + self._pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def refused(self, error: LoginRequired) -> LoginAwaited | LoginRequired:
        """Note a refusal; give the error to raise."""
        if self._refusal is not None and self._clock() < self._until:
            return self._to_raise(self._refusal)  # several commands were under way: one refusal counts
        if self._refusal is not None:
            self._rest = min(self._rest * 2, LONGEST_REST)
        self._refusal, self._until = error, self._clock() + self._rest
        return self._to_raise(error)

    def _to_raise(self, error: LoginRequired) -> LoginAwaited | LoginRequired:
        if not self._waits:
            return LoginRequired(str(error))
        again = dt.datetime.fromtimestamp(self._until, dt.UTC)
        return LoginAwaited(f"paused until a person acts: {error}; the next login is tried at {again:%H:%M:%S} UTC")
