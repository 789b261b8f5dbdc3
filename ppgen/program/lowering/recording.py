"""A torch function, recorded as ATen operations and replayed in JAX.

The function is run once, forward, and each operation on its inputs is written down; what needs no
input is computed then and there. Python's own control flow leaves no trace in the record: it is
unrolled, and must not depend on the inputs.
"""

from __future__ import annotations

import operator
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ppgen.errors import UnsupportedProgram
from ppgen.program.lowering.aten import OPERATIONS, find_operation, key_in, random
from ppgen.program.lowering.noise import Noise, as_noise

__all__ = ["CannotRecord", "Recording", "open_draws", "record", "record_loss"]


@dataclass(frozen=True, eq=False)
class Recording:
    """What a torch function does to tensors of given shapes, ready to be done again.

    Attributes:
        module: the operations and the constants that they use.
        structure: the tuples, lists and dicts that the function gives its results in.
        noise: the random numbers that the function draws, which come after its other inputs.
        drawn: what it drew while it was recorded.
    """

    module: GraphModule
    structure: pytree.TreeSpec
    noise: tuple[Noise, ...] = ()
    drawn: tuple[torch.Tensor, ...] = ()

    def in_torch(self, *tensors: torch.Tensor) -> Any:
        """Do the operations again, in torch."""
        return pytree.tree_unflatten(Interpreter(self.module).run(*tensors), self.structure)

    def draw_noise(self, key: jax.Array) -> list[jax.Array]:
        """Random numbers of the kinds that the function draws."""
        keys = jax.random.split(key, max(1, len(self.noise)))
        return [noise.draw(key) for noise, key in zip(self.noise, keys, strict=False)]

    def in_jax(self, *arrays: Any) -> Any:
        """Do the operations in JAX, on arrays of the recorded shapes and dtypes."""
        results = _InJax(self.module).run(*arrays)
        return pytree.tree_unflatten(map(jnp.asarray, results), self.structure)


def record(function: Callable[..., Any], *examples: torch.Tensor) -> Recording:
    """Write down what a function does to tensors like these examples.

    Args:
        function: takes tensors, gives back tensors in tuples, lists and dicts.
        *examples: a point at which the function can be run.

    Raises:
        UnsupportedProgram: if Python's control flow depends on the tensors, or an operation on them
            has no counterpart in JAX; with the line where that happens.

    Example:
        >>> recording = record(lambda x: {"last": x.cumsum(0)[-1]}, torch.zeros(3))
        >>> print(recording.in_jax(jnp.array([1.0, 2.0, 3.0]))["last"])
        6.0
    """
    recorder = _Recorder()
    inputs = [recorder.add_input(example.detach().clone()) for example in examples]
    with torch.no_grad():
        return _run(recorder, function, inputs)


def record_loss(
    function: Callable[..., Any], *examples: torch.Tensor, parameters: Sequence[torch.Tensor]
) -> Recording:
    """Write down a function with parameters and noise of its own, such as the loss of a minibatch.

    The inputs of the recording are the examples, then the parameters, then the noise. Its gradient is
    that of the function: none flows through what was computed under ``torch.no_grad()`` or detached.

    Args:
        function: takes tensors, gives back tensors in tuples, lists and dicts.
        *examples: a point at which the function can be run.
        parameters: leaf tensors that the function reaches by itself.

    Raises:
        UnsupportedProgram: as :func:`record`, and if random numbers are drawn whose distribution depends
            on the inputs other than by reparameterisation.

    Example:
        >>> weight = torch.tensor(2.0, requires_grad=True)
        >>> with torch.random.fork_rng():
        ...     noisy = record_loss(lambda x: weight * x + torch.randn(3), torch.ones(3), parameters=[weight])
        >>> noisy.noise
        (Noise(kind='normal', shape=(3,), dtype=torch.float32, first=0.0, second=1.0),)
        >>> print(noisy.in_jax(jnp.ones(3), jnp.array(5.0), jnp.zeros(3)))
        [5. 5. 5.]
    """
    recorder = _Recorder(learning=True)
    inputs = [recorder.add_input(example.detach().clone()) for example in examples]
    for parameter in parameters:
        recorder.add_input(parameter)
    with torch.enable_grad(), _own_error():
        return _run(recorder, function, inputs)


def _run(recorder: _Recorder, function: Callable[..., Any], inputs: list[torch.Tensor]) -> Recording:
    # Functionalised, writing into a part of a tensor becomes computing a new one.
    functional = torch.func.functionalize(lambda *tensors: pytree.tree_flatten(function(*tensors)))
    with _nothing_asked(), recorder, _FillDiagonal(), open_draws():
        results, structure = functional(*inputs)
    noise, drawn = tuple(recorder.noise), tuple(recorder.drawn)
    return Recording(recorder.finish(results), structure, noise, drawn)


# -- recording -----------------------------------------------------------------------------------------


class _FillDiagonal(TorchFunctionMode):
    """Fills a diagonal as any other view of a tensor: torch functionalises that, and not fill_diagonal_."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.fill_diagonal_ and args[0].ndim == 2 and len(args) == 2 and not kwargs:
            args[0].diagonal().fill_(args[1])
            return args[0]
        return func(*args, **kwargs)


@contextmanager
def open_draws() -> Iterator[None]:
    """Draw as torch does where a record would lose the gradient: what it detaches, or hides in a Function."""

    def gamma(self: Any, sample_shape: Any = ()) -> torch.Tensor:
        variates = torch._standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return (variates / self.rate).clamp(min=torch.finfo(variates.dtype).tiny)

    def dirichlet(concentration: torch.Tensor) -> torch.Tensor:
        variates = torch._standard_gamma(concentration)
        return variates / variates.sum(-1, keepdim=True)

    with (
        mock.patch.object(torch.distributions.Gamma, "rsample", gamma),
        mock.patch.object(torch.distributions.dirichlet._Dirichlet, "apply", dirichlet),
    ):
        yield


class _Recorder(TorchDispatchMode):
    """Writes down every operation on a tensor that depends on an input.

    Args:
        learning: record random numbers as inputs too, and heed where gradients are switched off.
    """

    def __init__(self, learning: bool = False) -> None:
        super().__init__()
        self.learning = learning
        self.noise: list[Noise] = []
        self.drawn: list[torch.Tensor] = []
        self.graph = Graph()
        self.constants: dict[str, torch.Tensor] = {}
        # By identity; the tensors are kept, or another could come to have the identity of one that is gone.
        self.nodes: dict[int, tuple[Node, torch.Tensor]] = {}

    def add_input(self, tensor: torch.Tensor) -> torch.Tensor:
        """Let a tensor stand for an input of the function."""
        self.nodes[id(tensor)] = (self.graph.placeholder(f"input_{len(self.nodes)}"), tensor)
        return tensor

    def finish(self, results: list[torch.Tensor]) -> GraphModule:
        """Everything that the results need, as a module of them."""
        self.graph.output([self._node(result) for result in results])
        self.graph.eliminate_dead_code()
        return GraphModule(self.constants, self.graph)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if self._depends_on_input(leaf)]
        if torch.Tag.nondeterministic_seeded in func.tags:
            if self.learning and (noise := as_noise(func, args, kwargs)) is not None:
                return self._draw(noise, func(*args, **kwargs))
            if self.learning and (name := key_in(random.TABLE, func)) in random.TABLE:
                return self._draw_by_key(name, args, func(*args, **kwargs))
            if not given:
                raise _random(func)
        if not given or not func._schema.returns:  # checks, of a factorisation say, return nothing
            return func(*args, **kwargs)
        if _needs_numbers(func, given):
            raise _numbers_asked(traceback.extract_stack())
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs)
        if find_operation(func) is None:
            return self._decompose(func, args, kwargs)
        results = func(*args, **kwargs)
        self._write(func, args, kwargs, results)
        return results

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler, only to keep it off this mode: seconds."""
        return False

    def _depends_on_input(self, value: Any) -> bool:
        return id(value) in self.nodes and self.nodes[id(value)][0].op != "get_attr"

    def _draw(self, noise: Noise, drawn: torch.Tensor) -> torch.Tensor:
        self.noise.append(noise)
        self.drawn.append(drawn)
        return self.add_input(drawn)

    def _draw_by_key(self, name: str, args: Any, drawn: torch.Tensor) -> torch.Tensor:
        """A draw from a law that tensors parameterise: in torch an input, in JAX an operation on a key."""
        result = drawn.clone()
        key = self._draw(Noise("key", tuple(drawn.shape), drawn.dtype), drawn)
        self._write(random.take_drawn, (name, key, *args), {}, result)
        return result

    def _decompose(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """Do an operation as others that it is made of."""
        rule = _decompositions().get(func, func.decompose)
        with self:
            results = rule(*args, **kwargs)
        if results is NotImplemented:
            draws = torch.Tag.nondeterministic_seeded in func.tags
            raise _random(func) if draws else _no_counterpart(func)
        return results

    def _in_place(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """Only torch itself still writes in place, into what it has just made; it is a new tensor then."""
        try:
            functional = getattr(getattr(torch.ops.aten, func._opname.removesuffix("_")), func._overloadname)
        except AttributeError:
            raise _no_counterpart(func) from None
        with self:
            result = functional(*args, **kwargs)
        func(*args, **kwargs)
        self.nodes[id(args[0])] = (self._node(result), args[0])
        return args[0]

    def _write(self, func: Callable[..., Any], args: Any, kwargs: Any, results: Any) -> None:
        args, kwargs = pytree.tree_map_only(torch.Tensor, self._node, (args, kwargs))
        node = self.graph.call_function(func, args, kwargs)
        if self.learning and not torch.is_grad_enabled():
            node.meta["held"] = True
        if isinstance(results, torch.Tensor):
            self._name(node, results)
            return
        for i, result in enumerate(results):
            self._name(self.graph.call_function(operator.getitem, (node, i)), result)

    def _name(self, node: Node, result: torch.Tensor) -> None:
        node.meta["dtype"] = result.dtype
        self.nodes[id(result)] = (node, result)

    def _node(self, tensor: torch.Tensor) -> Node:
        """The node of a tensor; one that depends on no input is a constant."""
        if id(tensor) not in self.nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self.nodes[id(tensor)] = (self.graph.get_attr(name), tensor)
        return self.nodes[id(tensor)][0]


@lru_cache(maxsize=1)
def _decompositions() -> Mapping[Any, Callable[..., Any]]:
    """How torch writes operations in terms of simpler ones."""
    return dict(torch.export.default_decompositions().items())


# -- replaying -----------------------------------------------------------------------------------------


class _InJax(Interpreter):
    """Runs recorded operations with their JAX counterparts."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _constant(super().get_attr(target, args, kwargs))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is operator.getitem:
            return target(*args)
        if target is random.take_drawn:
            return random.draw(*args)
        operation = find_operation(target)
        assert operation is not None, target
        return operation(*args, **{k: v for k, v in kwargs.items() if k not in _ABOUT_MEMORY})

    def run_node(self, node: Node) -> Any:
        """Each result has the dtype that torch recorded: the rules of promotion differ in places."""
        result = super().run_node(node)
        if node.meta.get("held"):
            result = pytree.tree_map(lax.stop_gradient, result)
        return jnp.asarray(result, _dtype(node.meta["dtype"])) if "dtype" in node.meta else result


# Where and how torch keeps a result. The dtype is among them, since every result has the recorded one.
_ABOUT_MEMORY = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking")


def _constant(tensor: torch.Tensor) -> Any:
    """A recorded constant as an array; one number, even repeated, becomes part of the graph itself."""
    array = tensor.detach().cpu().resolve_conj().resolve_neg().numpy()
    if array.dtype.kind in "fc" and array.size > 1 and (array == array.flat[0]).all():
        return jnp.full(array.shape, array.flat[0])
    return array if array.ndim else array[()]


def _dtype(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype


# -- what cannot be recorded ---------------------------------------------------------------------------


def _needs_numbers(func: OpOverload, given: list[torch.Tensor]) -> bool:
    """Whether a result is a Python number, or has a shape that depends on numbers."""
    if func is torch.ops.aten.index.Tensor:
        return any(tensor.dtype == torch.bool for tensor in given[1:] or given)
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags))


@contextmanager
def _nothing_asked() -> Iterator[None]:
    """Functionalised tensors answer some questions for their numbers with errors of their own."""
    try:
        yield
    except RuntimeError as error:
        if "unallocated storage" not in str(error):
            raise
        raise _numbers_asked(traceback.extract_tb(error.__traceback__)) from error


@contextmanager
def _own_error() -> Iterator[None]:
    """Pyro raises what it passes on anew, from its message alone, which our errors are not made from."""
    try:
        yield
    except (TypeError, RuntimeError) as error:
        if "custom_function_call" in str(error):
            raise _no_rule(traceback.extract_tb(error.__traceback__)) from error
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UnsupportedProgram):
                raise cause from None
            cause = cause.__context__
        raise


def _no_rule(stack: traceback.StackSummary) -> UnsupportedProgram:
    return UnsupportedProgram(
        f"program{_user_line(stack)}",
        got="an autograd.Function, whose gradient its operations do not show",
        expected="operations of torch alone",
        fix="Write the straight-through gradient as x + (round(x) - x).detach().",
    )


class CannotRecord(UnsupportedProgram):
    """A function that torch can run, and no record can hold."""


def _numbers_asked(stack: traceback.StackSummary) -> CannotRecord:
    return CannotRecord(
        f"program{_user_line(stack)}",
        got="Python code that needs the numbers in a tensor: if, while, float(), .item(), x[x > 0]",
        expected="control flow and shapes that do not depend on what is sampled",
        fix="Write torch.where(condition, a, b) for a branch; keep the numbers in tensors.",
    )


def _random(func: OpOverload) -> UnsupportedProgram:
    return UnsupportedProgram(
        f"operation {func._schema.name}{_user_line(traceback.extract_stack())}",
        got="random numbers outside of a sample statement",
        expected="a density that is the same at every call",
        fix="Draw them once before the program, or with pyro.sample; a latent site that poutine.block hides "
        "is drawn at random too.",
    )


def _no_counterpart(func: OpOverload) -> CannotRecord:
    return CannotRecord(
        f"operation {func._schema.name}{_user_line(traceback.extract_stack())}",
        got="a torch operation that has no counterpart in JAX here",
        expected=f"the {len(OPERATIONS)} operations of ppgen.program.lowering.aten, or what they compose",
        fix="Write that line with other operations, or compute it before the program if it needs only data.",
    )


def _user_line(stack: traceback.StackSummary) -> str:
    """The innermost line of the user's own code, as `` (file:line)``."""
    calls = [
        i for i, frame in enumerate(stack) if (frame.filename, frame.name) == (__file__, record.__name__)
    ]
    lines = [
        f" ({frame.filename}:{frame.lineno})"
        for frame in stack[max(calls, default=0) :]
        if not any(Path(frame.filename).is_relative_to(folder) for folder in _LIBRARIES)
    ]
    return lines[-1] if lines else ""


# Torch and what is installed beside it, this package, and Python's own library.
_LIBRARIES = (Path(torch.__file__).parents[1], Path(__file__).parents[1], Path(re.__file__).parents[1])
