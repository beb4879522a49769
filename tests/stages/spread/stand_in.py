# SPDX-License-Identifier: Apache-2.0
"""What `spread` uses of Ray, in this process: tasks are done where they are asked for, and workers die to order."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    """Ray's base of errors."""


class WorkerCrashedError(RayError):
    """A worker died."""


class RayTaskError(RayError):
    """A task raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class StandIn(ModuleType):
    """The module ``ray``.

    Attributes:
        deaths: how often the worker of a task dies, by the task's argument.
        running: tasks that run now, and the most that ever did.
    """

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.deaths: dict[Any, int] = {}
        self.options: dict[str, Any] = {}
        self.running, self.most, self.is_up = 0, 0, False

    def init(self, **options: Any) -> None:
        if options.get("address") == "nowhere:1":
            raise ConnectionError("nobody answers")
        if options.get("address") == "loaded:1":
            raise Exception("The current node timed out during startup.")  # as Ray itself does
        self.options, self.is_up = options, True

    def shutdown(self) -> None:
        self.is_up = False

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        assert options == {"num_cpus": 1, "max_retries": 0}

        def decorated(function: Callable[..., Any]) -> Any:
            def start(*arguments: Any) -> Callable[[], Any]:
                self.running += 1
                self.most = max(self.most, self.running)
                sent = pickle.dumps(arguments)
                return lambda: function(*pickle.loads(sent))  # noqa: S301  as Ray sends them

            return SimpleNamespace(remote=start)

        return decorated

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        # the last one first: results come in any order
        return references[-num_returns:], references[:-num_returns]

    def get(self, reference: Any) -> Any:
        self.running -= 1
        argument = next(cell.cell_contents for cell in reference.__closure__ if isinstance(cell.cell_contents, bytes))
        _, asked = pickle.loads(argument)  # noqa: S301  our own
        if self.deaths.get(asked, 0):
            self.deaths[asked] -= 1
            raise WorkerCrashedError("The worker died unexpectedly.")
        try:
            return pickle.loads(pickle.dumps(reference()))  # noqa: S301  as Ray sends it back
        except Exception as error:
            raise RayTaskError(error) from error
