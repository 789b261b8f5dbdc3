"""Rolling up what Python unrolled: the rolled function is the unrolled one, in fewer operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import jaxpr_as_fun

from ppgen.program.jaxprs.graph import trace
from ppgen.program.jaxprs.rolling import roll

RNG = np.random.default_rng(0)
Y = RNG.normal(size=60)
A = 0.3 * RNG.normal(size=(3, 3))
GROUP = RNG.integers(0, 3, size=60)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


# -- loops ---------------------------------------------------------------------------------------------
# Each takes a vector of four numbers and an array of sixty.


def garch(z, y):
    v = [jnp.exp(z[0])]
    for t in range(1, 14):
        v.append(jnp.sqrt(z[1] ** 2 + z[2] ** 2 * (y[t - 1] - z[3]) ** 2 + 0.5 * v[-1] ** 2))
    return jnp.stack(v)


def in_place(z, y):
    v = jnp.zeros(16).at[0].set(1.0)
    for t in range(1, 16):
        v = v.at[t].set(z[0] ** 2 + 0.5 * jnp.sin(y[t - 1] - z[1]) + 0.2 * v[t - 1])
    return v


def random_walk(z, y):
    x = [z[0]]
    for t in range(29):
        x.append(x[-1] + jnp.exp(z[1]) * y[t])
    return jnp.sum((jnp.stack(x) - y[30:]) ** 2)


def autoregression(z, y):
    total = 0.0
    for t in range(5, 15):
        mean = z[0]
        for k in range(5):
            mean = mean + z[k % 4] * y[t - k - 1]
        total = total - (y[t] - mean) ** 2
    return total


def three_lags(z, y):
    x = [z[0], z[1], jnp.sin(z[2])]
    for t in range(3, 22):
        x.append(jnp.tanh(0.5 * x[t - 1] - z[3] * x[t - 2] * x[t - 3] + y[t]))
    return jnp.stack(x)


def lag_of_two_blocks(z, y):
    x = [z[0], z[1]]
    for t in range(24):
        x.append(jnp.tanh(z[2] * x[-2]) + 0.1 * y[t])
    return x[-1], x[-2]


def hidden_markov(z, y):
    transition = jax.nn.log_softmax(jnp.outer(z[:3], z[1:]))
    state = -((y[0] - z[:3]) ** 2)
    for t in range(1, 10):
        state = jax.nn.logsumexp(state[:, None] + transition, axis=0) - (y[t] - z[:3]) ** 2
    return jax.nn.logsumexp(state)


def runge_kutta(u, z, h):
    def slope(u):
        return jnp.stack([(z[0] - z[1] * u[1]) * u[0], (z[3] * u[0] - z[2]) * u[1]])

    k1 = slope(u)
    k2 = slope(u + h / 2 * k1)
    k3 = slope(u + h / 2 * k2)
    k4 = slope(u + h * k3)
    return u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def predators(z, y):
    u, path = jnp.exp(z[:2]), []
    for _ in range(5):
        u = runge_kutta(u, z, 0.02)
        path.append(u)
    return jnp.stack(path)


def nested(z, y):
    u, total = jnp.exp(z[:2]), 0.0
    for t in range(6):
        for _ in range(4):
            u = runge_kutta(u, z, 0.01)
        total = total - jnp.sum((jnp.log(u) - y[t]) ** 2)
        u = u + 0.01 * jnp.cos(u)
    return total


def triangle(z, y):
    """The inner loops have different lengths, and are rolled one by one."""
    x = z[0]
    for t in (30, 40, 50):
        for s in range(t):
            x = jnp.sin(x + z[1] * y[s]) - 0.1 * x * x
        x = x * z[2]
    return x


def backwards(z, y):
    x, out = z[0], []
    for t in reversed(range(24)):
        x = jnp.tanh(x * z[1] + y[t])
        out.append(x)
    return jnp.stack(out[::-1])


def strides(z, y):
    x = z[0]
    for t in range(15):
        x = jnp.tanh(x * z[1] + y[59 - 2 * t] * y[3 * t])
    return x


def windows(z, y):
    x = z[0]
    for t in range(14):
        x = jnp.tanh(x * z[1] + jnp.sum(y[t : t + 4]) - jnp.sum(y[2 * t : 2 * t + 6 : 2]))
        x = x + jnp.prod(y[42 + t : 48 + t - t % 2 : 2])  # the limit of the last lies at the end
    return x


def wanders(z, y):
    """An array that is walked through at no even pace."""
    x = z[0]
    for t in range(24):
        x = jnp.sin(x * y[t * t % 60]) + z[1]
    return x


def rows_of_the_state(z, y):
    """Slices that walk through something that the loop changes itself."""
    x = jnp.outer(y[:12], z)
    for t in range(12):
        x = x + 0.1 * jnp.sin(x[t]) * x[11 - t, 1:3].sum()
    return x


def two_recursions(z, y):
    a, b = z[0], z[1]
    for t in range(14):
        a = jnp.sin(a + y[t])
        b = jnp.cos(b * z[2] + y[t + 1])
    return a * b


def crossed(z, y):
    a, b = z[0], z[1]
    for t in range(20):
        a, b = jnp.sin(b + y[t]), jnp.cos(a * z[2])
    return a, b


def all_results(z, y):
    x, out = z[0], []
    for t in range(20):
        x = jnp.sin(x * z[1]) + jnp.cos(y[t])
        out.append(x)
    return out


def some_results(z, y):
    x, out = z[0], []
    for t in range(40):
        x = jnp.sin(x * z[1]) + jnp.cos(y[t])
        out.append(x)
    return out[3] * out[17], jnp.stack([out[5], out[1], *out[10:20:2], z[2], out[39]])


def concatenated(z, y):
    x, out = z[:2], []
    for t in range(30):
        x = jnp.sin(x * z[2:]) + y[t]
        out.append(x[:, None] * jnp.ones(3))
    return jnp.concatenate([jnp.ones((2, 1)), *out], 1), jnp.concatenate(out[::-3])


def matrices(z, y):
    state, moved = jnp.outer(z[:3], z[1:]), []
    for t in range(8):
        state = A @ state @ A.T + jnp.eye(3) * y[t] ** 2
        gain = jnp.linalg.solve(state + 2 * jnp.eye(3), z[:3])
        state = state - 0.1 * jnp.outer(gain, gain)
        moved.append(gain)
    return jnp.stack(moved, 1), state


def integers(z, y):
    count, seen, x = jnp.array(0), jnp.array(False), z[0]
    for t in range(16):
        x = jnp.where(seen, 0.5 * x, x + y[t])
        count = count + (y[t] > 0)
        seen = seen | (count > 3)
    return x, count, seen


def other_first_steps(z, y):
    x = [z[0], jnp.exp(z[1])]
    x.append(x[0] * x[1])
    for t in range(3, 40):
        x.append(jnp.sin(x[-1]) * x[-2] + y[t])
    return jnp.exp(-(x[-1] ** 2)) + x[0]


def powers(z, y):
    x = z[0]
    for k in range(1, 50):
        x = jnp.sin(k * x) / (1 + k**2)
    return x


def numbers(z, y):
    x = z[0]
    for t in range(50):
        x = jnp.sin(x + float(Y[t]))
    return x


def grouped(z, y):
    group = jnp.asarray(GROUP)
    total = 0.0
    for t in range(14):
        total = total - (y[t] - z[group[t]]) ** 2 * jnp.exp(z[3])
    return total


def called(z, y):
    @jax.jit
    def step(x, u):
        return jnp.sin(x) * z[1] + jax.nn.softplus(u) - jnp.logaddexp(x, u)

    x = z[0]
    for t in range(12):
        x = step(x, y[t])
    return x


def own_derivative(z, y):
    x = z[0]
    for t in range(10):
        x = jnp.logaddexp(x, y[t]) * jax.nn.relu(z[1]) - jax.scipy.special.gammaln(x**2 + 1)
    return x


def branches(z, y):
    """Only one branch may be computed: the other has no derivative at 0."""
    total = 0.0
    for t in range(16):
        total = total + lax.cond(
            y[t] > 0, lambda u: jnp.sqrt(u) * z[0], lambda u: z[1] * u, y[t] * (y[t] > 0)
        )
    return total


def own_scan(z, y):
    def step(x, u):
        for k in range(24):
            x = jnp.sin(x * z[1] + k) + 0.1 * u
        return x, x**2

    return lax.scan(step, z[0], y[:3], reverse=True)


def split(z, y):
    x = z[0]
    for part in jnp.split(y, 20):
        x = jnp.tanh(x * part.sum()) + part[1] * part[0] - z[1]
    return x


def dead_in_most_blocks(z, y):
    x, found = z[0], []
    for t in range(40):
        x = jnp.sin(x + y[t])
        found.append(jnp.exp(x) * z[1])
    return x + found[7] * found[22]


def keys(z, y):
    key, x = jax.random.key(0), z[0]
    for t in range(8):
        key, own = jax.random.split(key)
        x = jnp.tanh(x) * z[1] + jax.random.normal(own) + y[t]
    return x


ROLLED = [
    garch, in_place, random_walk, autoregression, three_lags, lag_of_two_blocks, hidden_markov, predators,
    nested, triangle, backwards, strides, windows, wanders, rows_of_the_state, two_recursions, crossed,
    all_results, some_results, concatenated, matrices, integers, other_first_steps, powers, numbers, grouped,
    called, own_derivative, branches, own_scan, split, dead_in_most_blocks, keys,
]  # fmt: skip


def independent(z, y):
    return jnp.stack([jnp.exp(-((y[t] - z[0]) ** 2)) * jnp.sin(z[1] * y[t]) + y[59 - t] for t in range(16)])


def rowwise(z, y):
    rows = [jnp.outer(z, z) @ jnp.linalg.inv(jnp.eye(4) + y[t] ** 2) for t in range(10)]
    return jnp.stack([row.sum() for row in rows])


TOGETHER = [independent, rowwise]


def short(z, y):
    x = z[0]
    for t in range(3):
        x = jnp.sin(x * y[t]) + z[1]
    return x


def nothing_repeats(z, y):
    functions = [jnp.sin, jnp.cos, jnp.tanh, jnp.exp, jnp.abs, jnp.sqrt]
    rng, x = np.random.default_rng(1), z[0]
    for _ in range(200):
        x = functions[rng.integers(6)](x * x)
    return x


def growing(z, y):
    x = z
    for _ in range(40):
        x = jnp.concatenate([x, jnp.sin(x[-1:])])
    return x


def other_wiring(z, y):
    """Each block reads a value of another distance, neither fixed nor carried."""
    x = [z[0], z[1]]
    for t in range(2, 60):
        x.append(jnp.sin(x[-1] + x[t // 2]))
    return x[-1]


LEFT = [short, nothing_repeats, growing, other_wiring]


# -- laws ----------------------------------------------------------------------------------------------


def _unrolled(function):
    return jax.make_jaxpr(function)(jnp.zeros(4), jnp.zeros(60))


def _primitives(jaxpr):
    return [equation.primitive.name for equation in jaxpr.eqns]


def _scalar(closed):
    """Some number that depends on all results."""

    def scalar(*args):
        results = [r for r in jaxpr_as_fun(closed)(*args) if jnp.issubdtype(r.dtype, jnp.inexact)]
        return sum(
            jnp.sum(r * jnp.cos(jnp.arange(r.size) + i).reshape(r.shape)) for i, r in enumerate(results)
        )

    return scalar


def _check_same(first, second, z, gradients=True):
    with jax.disable_jit():  # one operation after the other: nothing is compiled anew
        one, two = (jaxpr_as_fun(closed)(z, Y) for closed in (first, second))
        for a, b in zip(one, two, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        if not gradients:
            return
        one, two = (jax.grad(_scalar(closed), argnums=(0, 1))(z, Y) for closed in (first, second))
        for a, b in zip(one, two, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(a).max())


@pytest.mark.parametrize("function", ROLLED + TOGETHER, ids=lambda f: f.__name__)
def test_rolled_is_unrolled(function):
    unrolled = _unrolled(function)
    rolled = roll(unrolled)
    _check_same(unrolled, rolled, np.random.default_rng(2).normal(size=4))
    if function is not own_scan:
        assert len(rolled.eqns) < 0.6 * len(unrolled.eqns)
        assert ("scan" in _primitives(rolled)) == (function in ROLLED)


@pytest.mark.parametrize("function", LEFT, ids=lambda f: f.__name__)
def test_what_is_no_loop_is_left(function):
    unrolled = _unrolled(function)
    assert roll(unrolled) is unrolled


def test_one_scan_is_enough():
    """A run that is one loop becomes one, with the slices and the joined results inside of it."""
    for function in (garch, random_walk, three_lags, hidden_markov, predators, backwards):
        primitives = _primitives(roll(_unrolled(function)))
        assert primitives.count("scan") == 1
        assert len(primitives) < 60, function.__name__


def test_nested_loops():
    outer = [e for e in roll(_unrolled(nested)).eqns if e.primitive.name == "scan"]
    assert [e.params["length"] for e in outer] in ([6], [5])
    inner = [e for e in outer[0].params["jaxpr"].eqns if e.primitive.name == "scan"]
    assert sum(e.params["length"] for e in inner) >= 3
    within = [e for e in roll(_unrolled(own_scan)).eqns if e.primitive.name == "scan"]
    assert "scan" in _primitives(within[0].params["jaxpr"])


@pytest.mark.parametrize("odd", ["primitive", "constant", "wiring", "shape"])
def test_one_block_in_another_way(odd):
    """One block in the middle that is no repeat ends the loop before it, and another begins after it."""

    def function(z, y):
        x, before, mine, all_others = z[0], z[0], jnp.exp(z[2]), z[1]
        for t in range(60):
            other = odd if t == 30 else None
            mean = {"constant": mine, "wiring": before}.get(other, all_others)
            moved = (jnp.cos if other == "primitive" else jnp.sin)(x + mean)
            moved = jnp.sum(moved * jnp.ones(2)) if other == "shape" else moved
            before, x = x, moved + y[t] * 0.5 * x
        return x

    unrolled = _unrolled(function)
    rolled = roll(unrolled)
    _check_same(unrolled, rolled, np.random.default_rng(3).normal(size=4))
    # A constant of its own in one block is an element like any other.
    assert _primitives(rolled).count("scan") == (1 if odd == "constant" else 2)


def test_rules_of_derivatives_are_compared():
    """Functions that differ only in the derivative they declare are not one."""

    def scaled(k):
        @jax.custom_jvp
        def function(x):
            return jnp.sin(x)

        function.defjvp(lambda x, dx: (jnp.sin(x[0]), k * dx[0]))
        return function

    def loop(factors):
        def function(z, y):
            x = z[0]
            for t in range(60):
                x = scaled(factors[t])(x) + y[t]
            return x

        return function

    same, different = loop([0.5] * 60), loop([0.5 + 0.01 * t for t in range(60)])
    _check_same(_unrolled(same), roll(_unrolled(same)), Y[:4])
    _check_same(_unrolled(different), roll(_unrolled(different)), Y[:4])
    assert "scan" in _primitives(roll(_unrolled(same)))
    assert "scan" not in _primitives(roll(_unrolled(different)))


def test_within_other_transformations():
    """Several points at once, inside a loop, as NUTS does; second derivatives; single precision."""
    unrolled, rolled = _unrolled(lag_of_two_blocks), roll(_unrolled(lag_of_two_blocks))
    z = np.random.default_rng(4).normal(size=(3, 4))

    def ascend(closed):
        step = jax.vmap(jax.value_and_grad(_scalar(closed)), in_axes=(0, None))

        def body(_, state):
            value, slope = step(state[0], Y)
            return state[0] + 1e-3 * slope, value

        return jax.jit(lambda z: lax.fori_loop(0, 5, body, (z, jnp.zeros(3))))(z)

    for a, b in zip(ascend(unrolled), ascend(rolled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    one, two = (jax.hessian(_scalar(closed))(z[0], Y) for closed in (unrolled, rolled))
    np.testing.assert_allclose(one, two, rtol=1e-10)
    with jax.enable_x64(False):
        single = roll(_unrolled(lag_of_two_blocks))
        assert "scan" in _primitives(single)
        assert all(result.dtype == jnp.float32 for result in jaxpr_as_fun(single)(z[0], Y))


def test_graphs_of_rolled_programs():
    """New data of the same shapes give the same graph; another program another one."""

    def make(scale, length=40):
        def function(arrays, z):
            x = z[0]
            for t in range(length):
                x = jnp.sin(scale * x + arrays[0][t]) + z[1]
            return x

        return function

    graph, inputs = trace(make(2.0), [Y], jnp.zeros(4))
    again, others = trace(make(2.0), [Y[::-1].copy()], jnp.zeros(4))
    assert "scan" in graph.text
    assert graph == again
    z = jnp.asarray(Y[:4])
    np.testing.assert_allclose(graph(others, z), make(2.0)([Y[::-1]], z), rtol=1e-12)
    np.testing.assert_allclose(graph(inputs, z), make(2.0)([Y], z), rtol=1e-12)
    assert graph != trace(make(3.0), [Y], jnp.zeros(4))[0]
    assert graph != trace(make(2.0, 41), [Y], jnp.zeros(4))[0]


def test_numbers_that_differ_are_constants_of_the_graph():
    def make(numbers):
        def function(arrays, z):
            x = z[0]
            for number in numbers:
                x = jnp.sin(x + number) * arrays[0]
            return x

        return function

    first, second = np.linspace(0, 1, 50).tolist(), np.linspace(0, 2, 50).tolist()
    (one, inputs), (two, others) = (trace(make(numbers), [0.9], jnp.zeros(4)) for numbers in (first, second))
    assert one == two
    z = jnp.asarray(Y[:4])
    np.testing.assert_allclose(one(inputs, z), make(first)([0.9], z), rtol=1e-12)
    np.testing.assert_allclose(one(others, z), make(second)([0.9], z), rtol=1e-12)


# -- random loops --------------------------------------------------------------------------------------

UNARY = [jnp.sin, jnp.tanh, lambda x: 0.5 * x, lambda x: x * x / (1 + x * x), jax.nn.softplus]
BINARY = [jnp.add, jnp.subtract, lambda a, b: jnp.where(a > b, a, 0.3 * b), lambda a, b: a * jnp.cos(b)]


def _random_loop(rng):
    """Random statements on what is made in the block, or some blocks before, or before the loop."""
    count, size, lags = rng.integers(8, 15), rng.integers(3, 9), rng.integers(1, 4)
    stride, forwards, odd = rng.integers(1, 3), rng.random() < 0.6, rng.integers(0, 40)
    statements = [
        [(rng.integers(6), rng.integers(100), rng.integers(1, lags + 1)) for _ in range(rng.integers(1, 3))]
        for _ in range(size)
    ]
    functions = [rng.integers(4) for _ in range(size)]
    taken = rng.integers(0, count, size=3)

    def function(z, y):
        outer = [z[1], *(jnp.sin(z[i]) + i for i in range(4))]
        history = []
        for t in range(count):
            made = []

            def read(kind, i, lag, t=t, made=made):
                position = (stride * t + i % 5) if forwards else (59 - stride * t - i % 5)
                past = history[t - lag][i % size] if t >= lag else outer[(i + t) % 5]
                inside = made[i % len(made)] if made else z[2]
                return [inside, past, outer[i % 5], y[position], z[3] + float(Y[t]), past][kind]

            for function, sources in zip(functions, statements, strict=True):
                arguments = [read(*source) for source in sources]
                made.append((UNARY if len(sources) == 1 else BINARY)[function](*arguments))
                if t == odd and len(made) == 2:
                    made[-1] = jnp.exp(-(made[-1] ** 2))
            made[-1] = jnp.tanh(0.3 * sum(made) + 0.5 * (history[-1][-1] if history else outer[0]))
            history.append(made)
        return history[-1], [history[t][0] for t in taken], jnp.stack([made[size // 2] for made in history])

    return function


def test_random_loops():
    rolled_up = 0
    for seed in range(25):
        unrolled = _unrolled(_random_loop(np.random.default_rng(seed)))
        rolled = roll(unrolled)
        z = np.random.default_rng(seed).normal(size=4)
        _check_same(unrolled, rolled, z, gradients=seed % 20 == 0)
        rolled_up += "scan" in _primitives(rolled)
    assert rolled_up >= 12
