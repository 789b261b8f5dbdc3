"""Batching of calls to compiled functions from many threads into vectorised calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Condition, Thread
from typing import Any

import jax
import numpy as np

from ppgen.program.density import float64

__all__ = ["BatchedCalls"]


class BatchedCalls:
    """Runs a procedure in many threads, whose calls meet and are made as one.

    A procedure that is written for one data set, with decisions in Python between its calls of a compiled
    function, thus serves many: each thread waits at its call until all other running threads have made
    theirs, and calls to the same function are stacked. The grouping depends only on the procedures and not on
    timing, so that results are the same in every run.

    Args:
        functions: compiled functions by name, whose arguments and results all have a leading axis.
        sizes: the lengths of this axis to fill calls up to, ascending: each is compiled once.

    Example:
        >>> def twice(call):
        ...     return float(call("double", (np.array(1.0),)))
        >>> BatchedCalls({"double": lambda x: 2 * x}, sizes=(4,)).run([twice, twice])
        [2.0, 2.0]
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]], sizes: Sequence[int]) -> None:
        self._functions = functions
        self._sizes = sizes
        self._change = Condition()
        self._active = 0
        self._calls: dict[int, tuple[str, tuple[Any, ...]]] = {}
        self._answers: dict[int, Any] = {}

    def run(self, procedures: Sequence[Callable[[Callable[..., Any]], Any]]) -> list[Any]:
        """What each procedure returns, or the error that it raised; each is handed the function to call."""
        results: list[Any] = [None] * len(procedures)
        self._active = len(procedures)

        def take_part(place: int) -> None:
            try:
                with float64():  # the setting is a thread's own
                    results[place] = procedures[place](
                        lambda name, arguments: self._call(place, name, arguments)
                    )
            except Exception as error:  # handed on to the caller
                results[place] = error
            finally:
                with self._change:
                    self._active -= 1
                    self._answer_if_all_wait()

        threads = [Thread(target=take_part, args=(place,)) for place in range(len(procedures))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def _call(self, place: int, name: str, arguments: tuple[Any, ...]) -> Any:
        with self._change:
            self._calls[place] = (name, arguments)
            self._answer_if_all_wait()
            self._change.wait_for(lambda: place in self._answers)
            answer = self._answers.pop(place)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer_if_all_wait(self) -> None:
        if not self._calls or len(self._calls) < self._active:
            return
        for name in sorted({name for name, _ in self._calls.values()}):
            places = sorted(place for place, call in self._calls.items() if call[0] == name)
            try:
                answers = self._together(name, [self._calls[place][1] for place in places])
            except Exception as error:  # of all who called
                answers = [error] * len(places)
            self._answers.update(zip(places, answers, strict=True))
        self._calls.clear()
        self._change.notify_all()

    def _together(self, name: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        size = next(size for size in self._sizes if size >= len(arguments))
        filled = arguments + [arguments[-1]] * (size - len(arguments))
        with float64():  # a thread that leaves may be the one that answers the others
            found = self._functions[name](*jax.tree.map(lambda *parts: np.stack(parts), *filled))
            found = jax.tree.map(np.asarray, found)
        return [jax.tree.map(lambda part, i=i: part[i], found) for i in range(len(arguments))]
