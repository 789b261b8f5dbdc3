"""Each ATen operation's JAX counterpart against torch itself: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from ppgen.program.lowering.aten import OPERATIONS, find_operation
from ppgen.program.lowering.recording import record


def _draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


X = _draw(3, 4)
Y = _draw(3, 4, seed=1)
ROW = _draw(4, seed=2)
POSITIVE = X.abs() + 0.1
UNIT = torch.sigmoid(X)
SYMMETRIC = 0.9 * UNIT * X.sign()  # within (-1, 1), of either sign
CUBE = _draw(2, 3, 4, seed=3)
SQUARE = _draw(2, 3, 3, seed=4) + 2 * torch.eye(3, dtype=torch.float64)
COVARIANCE = SQUARE @ SQUARE.mT + torch.eye(3, dtype=torch.float64)
LOWER = torch.linalg.cholesky(COVARIANCE)
RIGHT = _draw(2, 3, 2, seed=5)
IMAGE = _draw(2, 4, 6, 6, seed=6)
COUNTS = torch.tensor([[0, 1, 5, 2], [3, 1, 0, 7], [2, 2, 4, 1]])
PLACES = torch.tensor([[0, 2, 1, 0], [2, 1, 0, 1]])
BOOLS = X > 0
OTHER_BOOLS = Y > 0
COMPLEX = torch.complex(X, Y)

# (operation, arguments of its ATen schema, keyword arguments)
CASES = [
    # -- elementwise --
    ("_to_copy", X, {"dtype": torch.int64}),
    ("_to_copy", COUNTS, {"dtype": torch.float64}),
    ("alias", X),
    ("clone", X),
    ("copy", X, ROW),
    ("detach", X),
    ("add.Tensor", X, ROW, {"alpha": 2.5}),
    ("add.Tensor", X, COUNTS),
    ("add.Scalar", COUNTS, 1.5),
    ("sub.Tensor", X, Y, {"alpha": -1.5}),
    ("rsub.Scalar", X, 2.0),
    ("mul.Tensor", X, ROW),
    ("mul.Tensor", BOOLS, Y),
    ("div.Tensor", X, POSITIVE),
    ("div.Tensor", COUNTS, 3),
    ("div.Tensor_mode", X, POSITIVE, {"rounding_mode": "floor"}),
    ("div.Tensor_mode", X, POSITIVE, {"rounding_mode": "trunc"}),
    ("floor_divide", COUNTS, 2),
    ("remainder.Tensor", X, POSITIVE),
    ("remainder.Scalar", X, -1.5),
    ("fmod.Scalar", X, 1.5),
    ("neg", X),
    ("reciprocal", X),
    ("pow.Tensor_Tensor", POSITIVE, Y),
    ("pow.Tensor_Scalar", X, 3),
    ("pow.Tensor_Scalar", POSITIVE, 0.5),
    ("pow.Scalar", 2.0, X),
    ("abs", X),
    ("sign", X),
    ("sgn", X),
    ("addcmul", X, Y, ROW, {"value": 0.5}),
    ("addcdiv", X, Y, POSITIVE, {"value": 0.5}),
    ("lerp.Tensor", X, Y, UNIT),
    ("lerp.Scalar", X, Y, 0.3),
    ("maximum", X, Y),
    ("minimum", X, Y),
    ("fmax", X, Y),
    ("fmin", X, Y),
    ("clamp", X, -0.5, 0.5),
    ("clamp", torch.tensor([-1.0, 1.0], dtype=torch.float64), -1.0, 1.0),
    ("clamp.Tensor", X, None, ROW),
    ("clamp_min", X, 0.1),
    ("clamp_max", X, 0.1),
    ("nan_to_num", X, 1.0),
    ("floor", X),
    ("ceil", X),
    ("round", 3 * X),
    ("round.decimals", X, {"decimals": 2}),
    ("trunc", 3 * X),
    ("frac", 3 * X),
    ("sqrt", POSITIVE),
    ("rsqrt", POSITIVE),
    ("exp", X),
    ("exp2", X),
    ("expm1", X),
    ("log", POSITIVE),
    ("log1p", POSITIVE),
    ("log2", POSITIVE),
    ("log10", POSITIVE),
    ("logaddexp", X, Y),
    ("logaddexp2", X, Y),
    ("sin", X),
    ("cos", X),
    ("tan", X),
    ("asin", SYMMETRIC),
    ("acos", SYMMETRIC),
    ("atan", X),
    ("atan2", X, Y),
    ("hypot", X, Y),
    ("sinh", X),
    ("cosh", X),
    ("tanh", X),
    ("asinh", X),
    ("acosh", POSITIVE + 1),
    ("atanh", SYMMETRIC),
    ("eq.Tensor", COUNTS, COUNTS[:1]),
    ("ne.Scalar", COUNTS, 1),
    ("lt.Tensor", X, Y),
    ("le.Scalar", X, 0.0),
    ("gt.Scalar", X, 0.0),
    ("ge.Tensor", X, Y),
    ("isnan", X),
    ("isinf", X),
    ("logical_and", BOOLS, OTHER_BOOLS),
    ("logical_or", BOOLS, OTHER_BOOLS),
    ("logical_xor", BOOLS, OTHER_BOOLS),
    ("logical_not", BOOLS),
    ("bitwise_and.Tensor", BOOLS, OTHER_BOOLS),
    ("bitwise_or.Tensor", COUNTS, PLACES[:1]),
    ("bitwise_xor.Tensor", COUNTS, PLACES[:1]),
    ("bitwise_not", BOOLS),
    ("where.self", BOOLS, X, Y),
    ("angle", X),
    ("complex", X, Y),
    ("view_as_real", COMPLEX),
    ("view_as_complex", _draw(3, 2)),
    # -- special --
    ("lgamma", POSITIVE),
    ("lgamma", X),
    ("digamma", POSITIVE),
    ("polygamma", 1, POSITIVE),
    ("polygamma", 2, POSITIVE),
    ("igamma", POSITIVE, Y.abs()),
    ("igammac", POSITIVE, Y.abs()),
    ("special_zeta", POSITIVE + 1, POSITIVE),
    ("erf", X),
    ("erfc", X),
    ("erfinv", SYMMETRIC),
    ("special_ndtri", UNIT),
    ("special_log_ndtr", 5 * X),
    ("i0", X),
    ("special_i0e", X),
    ("special_i1", X),
    ("special_i1e", X),
    ("special_modified_bessel_i0", X),
    ("special_modified_bessel_i1", X),
    ("xlogy.Tensor", COUNTS, POSITIVE),
    ("special_xlog1py", COUNTS, POSITIVE),
    ("special_entr", POSITIVE),
    ("logit", UNIT),
    ("logit", UNIT, 0.4),
    ("sigmoid", X),
    ("sinc", X),
    # -- reductions --
    ("sum", X),
    ("sum", BOOLS),
    ("sum.dim_IntList", CUBE, [0, 2]),
    ("sum.dim_IntList", CUBE, [], True),
    ("nansum", CUBE, [1]),
    ("mean", X),
    ("mean.dim", CUBE, [-1], True),
    ("prod", X),
    ("prod.dim_int", CUBE, 1, True),
    ("amax", CUBE, [1]),
    ("amin", CUBE, [1], True),
    ("any", BOOLS),
    ("any.dim", BOOLS, 1),
    ("all", BOOLS),
    ("all.dim", BOOLS, 0, True),
    ("argmax", X, 1),
    ("argmin", X),
    ("max", X),
    ("min", X),
    ("max.dim", X, 1),
    ("max.dim", X.sum(), 0),
    ("min.dim", X, 0, True),
    ("var.correction", CUBE, [1], {"correction": 1, "keepdim": True}),
    ("var.correction", CUBE),
    ("std.correction", CUBE, [0, 1], {"correction": 0}),
    ("var_mean.correction", CUBE, [1], {"correction": 0}),
    ("logsumexp", CUBE, [1]),
    ("logsumexp", torch.tensor([-torch.inf, 0.0, 1.0], dtype=torch.float64), [0]),
    ("linalg_vector_norm", CUBE, 2, [1]),
    ("linalg_vector_norm", CUBE, 1, [1, 2], True),
    ("linalg_vector_norm", CUBE, torch.inf),
    ("linalg_vector_norm", CUBE, 3, [0]),
    ("linalg_vector_norm", torch.zeros(3, dtype=torch.float64)),
    ("cumsum", CUBE, 1),
    ("cumsum", BOOLS, 0),
    ("cumprod", CUBE, -1),
    ("logcumsumexp", CUBE, -2),
    ("cummax", X, 1),
    ("cummin", COUNTS, -1),
    ("sort", X),
    ("sort", X, 0, True),
    ("sort.stable", COUNTS, {"stable": True, "dim": 1, "descending": True}),
    ("topk", X, 2),
    ("topk", X, 2, 0, False),
    ("_softmax", CUBE, 1, False),
    ("_log_softmax", CUBE, -1, False),
    # -- shapes --
    ("full_like", X, 3.0),
    ("view", X, [2, -1]),
    ("_unsafe_view", X, [4, 3]),
    ("expand", ROW, [3, -1]),
    ("squeeze", X[:1]),
    ("squeeze.dim", X[:1], 0),
    ("squeeze.dim", X, 0),
    ("squeeze.dims", X[:1, :, None], [0, 2]),
    ("unsqueeze", X, -1),
    ("permute", CUBE, [2, 0, 1]),
    ("transpose.int", CUBE, 0, 2),
    ("t", X),
    ("unfold", CUBE, 2, 3, 1),
    ("cat", [X, Y], 1),
    ("cat", [X, torch.zeros(0, dtype=torch.float64)]),
    ("stack", [X, Y], 1),
    ("split.Tensor", X, 3, 1),
    ("split_with_sizes", X, [1, 3], 1),
    ("unbind.int", CUBE, 1),
    ("repeat", X, [2, 1, 3]),
    ("constant_pad_nd", CUBE, [1, 2, 0, -1], 0.5),
    ("flip", CUBE, [0, 2]),
    ("roll", CUBE, [1, -2], [1, 2]),
    ("roll", CUBE, [3]),
    ("diagonal", SQUARE, 1, -2, -1),
    ("diag_embed", X, -1),
    ("diag_embed", CUBE, 1, 0, 2),
    ("tril", SQUARE, -1),
    ("triu", SQUARE, 1),
    # -- indexing --
    ("select.int", CUBE, 1, -1),
    ("slice.Tensor", CUBE, 2, 1, 9223372036854775807, 2),
    ("slice.Tensor", CUBE, 1, -2),
    ("index.Tensor", CUBE, [None, PLACES]),
    ("index.Tensor", CUBE, [torch.tensor([1, 0]), None, torch.tensor([0, 3])]),
    ("index_put", X, [PLACES[0, :3], None], Y[:1]),
    ("index_put", X, [PLACES[0], PLACES[1]], ROW, True),
    ("index_put", X, [BOOLS], torch.tensor(2.0, dtype=torch.float64)),
    ("index_select", CUBE, 1, PLACES[0]),
    ("index_add", X, 0, PLACES[0, :2], Y[:2], {"alpha": 2.0}),
    ("index_copy", X, 0, PLACES[0, :2], Y[:2]),
    ("index_fill.int_Scalar", X, 1, PLACES[0], 3.0),
    ("take", X, PLACES),
    ("select_scatter", X, ROW, 0, 1),
    ("slice_scatter", X, Y[:, 1:3], 1, 1, 3),
    ("diagonal_scatter", SQUARE, RIGHT[..., 0], 0, -2, -1),
    ("gather", X, 0, PLACES),
    ("gather", X.sum(), 0, torch.tensor(0)),
    ("scatter.src", X, 0, PLACES[:1], Y[:1]),
    ("scatter.value", X, 0, PLACES[:1], 2.0),
    ("scatter_add", X, 0, PLACES, Y[:2]),
    ("masked_fill.Scalar", X, BOOLS, -1.0),
    ("masked_scatter", X, BOOLS, Y),
    ("embedding", X, PLACES),
    ("embedding", X, PLACES, 1),
    # -- linear algebra --
    ("mm", X, Y.mT),
    ("bmm", SQUARE, RIGHT),
    ("mv", X, ROW),
    ("dot", ROW, X[0]),
    ("addmm", ROW[:3], X, Y.mT, {"beta": 0.5, "alpha": 2.0}),
    ("addmv", ROW[:3], X, ROW),
    ("baddbmm", RIGHT, SQUARE, RIGHT),
    ("addbmm", RIGHT[0], SQUARE, RIGHT),
    ("addr", X, ROW[:3], ROW),
    ("linalg_cross", SQUARE[0], SQUARE[1]),
    ("trace", SQUARE[0]),
    ("linalg_cholesky_ex", COVARIANCE),
    ("linalg_cholesky_ex", COVARIANCE, {"upper": True}),
    ("cholesky", COVARIANCE),
    ("linalg_lu_factor_ex", SQUARE),
    ("linalg_qr", SQUARE),
    ("_linalg_eigh", COVARIANCE),
    ("_linalg_svd", CUBE),
    ("linalg_solve_triangular", LOWER, RIGHT, {"upper": False}),
    ("linalg_solve_triangular", LOWER, RIGHT.mT, {"upper": False, "left": False}),
    ("linalg_solve_triangular", LOWER.mT, RIGHT[0], {"upper": True, "unitriangular": True}),
    ("triangular_solve", RIGHT, LOWER, False, True),
    ("cholesky_solve", RIGHT, LOWER),
    ("cholesky_solve", RIGHT, LOWER.mT, True),
    ("cholesky_inverse", LOWER),
    ("_linalg_solve_ex", SQUARE, RIGHT),
    ("_linalg_solve_ex", SQUARE, RIGHT[..., 0]),
    ("_linalg_solve_ex", SQUARE, RIGHT.mT, {"left": False}),
    ("linalg_inv_ex", SQUARE),
    ("_linalg_det", SQUARE),
    ("_linalg_slogdet", SQUARE),
    ("linalg_matrix_exp", SQUARE),
    ("_cdist_forward", X, Y, 2.0, None),
    ("_cdist_forward", X, Y, 1.0, None),
    ("_fft_r2c", X, [1], 0, True),
    ("_fft_c2c", COMPLEX, [0, 1], 1, True),
    ("_fft_c2c", COMPLEX, [1], 2, False),
    ("_fft_c2r", COMPLEX, [1], 2, 6),
    # -- networks --
    ("relu", torch.cat([X, torch.zeros_like(X)])),
    ("leaky_relu", X, 0.2),
    ("_prelu_kernel", X, ROW),
    ("elu", X, 1.5, 1.1),
    ("gelu", X),
    ("gelu", X, {"approximate": "tanh"}),
    ("silu", X),
    ("mish", X),
    ("glu", X),
    ("softplus", 20 * X),
    ("softplus", 1000 * X, 2.0, 10.0),
    ("log_sigmoid_forward", 100 * X),
    ("hardtanh", X),
    ("convolution", IMAGE, _draw(8, 2, 3, 3), _draw(8), [2, 1], [1, 0], [1, 2], False, [0, 0], 2),
    ("convolution", IMAGE[..., 0], _draw(5, 4, 3), None, [1], [1], [1], False, [0], 1),
    ("convolution", IMAGE, _draw(4, 3, 3, 3), _draw(6), [2, 3], [1, 0], [1, 2], True, [1, 0], 2),
    ("convolution", IMAGE, _draw(4, 5, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1),
    ("native_layer_norm", CUBE, [3, 4], X, Y, 1e-5),
    ("native_layer_norm", CUBE, [4], None, None, 1e-5),
    ("native_group_norm", IMAGE, ROW, ROW, 2, 4, 36, 2, 1e-5),
    ("_native_batch_norm_legit_no_training", IMAGE, ROW, ROW, ROW, POSITIVE[0], 0.1, 1e-5),
    ("_native_batch_norm_legit.no_stats", IMAGE, ROW, ROW, True, 0.1, 1e-5),
    ("native_batch_norm", IMAGE, ROW, ROW, None, None, True, 0.1, 1e-5),
    ("max_pool2d_with_indices", IMAGE, [2, 3], [2, 1], [1, 1]),
    ("avg_pool2d", IMAGE, [3, 2], [2, 2], [1, 0], False, False),
    ("avg_pool2d", IMAGE, [2, 2]),
    ("_adaptive_avg_pool2d", IMAGE, [4, 2]),
]  # fmt: skip

# What the results mean, where torch gives more, or gives them up to a sign.
MEANING = {
    "_linalg_det": lambda out: out[:1],
    "_linalg_eigh": lambda out: [out[0], out[1].abs()],
    "_linalg_slogdet": lambda out: out[:2],
    "_linalg_solve_ex": lambda out: out[:1],
    "_linalg_svd": lambda out: [out[0].abs(), out[1], out[2].abs()],
    "_native_batch_norm_legit_no_training": lambda out: out[:1],
    "linalg_cholesky_ex": lambda out: out[:1],
    "linalg_inv_ex": lambda out: out[:1],
    "linalg_lu_factor_ex": lambda out: out[:2],
    "linalg_qr": lambda out: [each.abs() for each in out],
    "log_sigmoid_forward": lambda out: out[:1],
    "native_group_norm": lambda out: out[:1],
    "triangular_solve": lambda out: out[:1],
}
# Torch gives these a gradient in the triangle that they do not read.
ONE_TRIANGLE = {"cholesky_solve", "cholesky_inverse"}
# Arguments that torch has no derivative for.
CONSTANT = {
    "_native_batch_norm_legit_no_training": (3, 4),
    "igamma": (0,),
    "igammac": (0,),
    "special_modified_bessel_i0": (0,),
    "special_modified_bessel_i1": (0,),
    "special_zeta": (0, 1),
    "_cdist_forward": (0, 1),
    "copy": (0, 1),
}


def _name(case):
    return "-".join(
        [case[0], *("x".join(map(str, a.shape)) for a in case[1:] if isinstance(a, torch.Tensor))]
    )


def _split_case(case):
    """An operation as a function of its floating tensors alone."""
    overloaded, *args = case
    kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
    name, _, overload = overloaded.partition(".")
    operation = getattr(getattr(torch.ops.aten, name), overload or "default")
    leaves, structure = torch.utils._pytree.tree_flatten((args, kwargs))
    is_input = [isinstance(leaf, torch.Tensor) for leaf in leaves]

    def function(*tensors):
        given = iter(tensors)
        filled = [next(given) if take else leaf for take, leaf in zip(is_input, leaves, strict=True)]
        args, kwargs = torch.utils._pytree.tree_unflatten(filled, structure)
        out = operation(*args, **kwargs)
        out = list(out) if isinstance(out, tuple | list) else [out]
        return MEANING.get(name, list)(out)

    return operation, function, [leaf for leaf, take in zip(leaves, is_input, strict=True) if take]


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_values_and_gradients_are_torchs(case):
    """The gradients are those of a weighted sum of all results."""
    operation, function, tensors = _split_case(case)
    constant = CONSTANT.get(case[0].split(".")[0], ())
    places = [i for i, tensor in enumerate(tensors) if tensor.is_floating_point() and i not in constant]
    inputs = [tensor.clone().requires_grad_(i in places) for i, tensor in enumerate(tensors)]
    outputs = function(*inputs)
    weights = [torch.cos(torch.arange(out.numel())).reshape(out.shape).double() for out in outputs]
    smooth = [i for i, out in enumerate(outputs) if out.requires_grad]
    recording = record(function, *tensors)
    if find_operation(operation) is not None:  # the others torch writes in terms of these
        assert operation in {node.target for node in recording.module.graph.nodes}

    def weighted(free, arrays):
        filled = [free.get(i, array) for i, array in enumerate(arrays)]
        results = recording.in_jax(*filled)
        return sum(((results[i] * weights[i].numpy()).real.sum() for i in smooth), start=0.0), results

    with jax.enable_x64(True):
        arrays = [jnp.asarray(tensor.numpy()) for tensor in tensors]
        free = {i: arrays[i] for i in places}
        gradients, results = jax.jit(jax.grad(weighted, has_aux=True))(free, arrays)
    for result, expected in zip(results, outputs, strict=True):
        assert result.dtype == expected.detach().numpy().dtype
        np.testing.assert_allclose(result, expected.detach(), rtol=1e-9, atol=1e-9)
    if not smooth or not places:
        return
    total = sum((outputs[i] * weights[i]).real.sum() for i in smooth)
    wanted = torch.autograd.grad(total, [inputs[i] for i in places], materialize_grads=True)
    for place, expected in zip(places, wanted, strict=True):
        read = tensors[place].numpy() != 0 if case[0] in ONE_TRIANGLE else 1
        np.testing.assert_allclose(gradients[place], expected.numpy(force=True) * read, rtol=1e-9, atol=1e-9)


def test_every_operation_has_a_case():
    tested = {case[0] for case in CASES} | {case[0].split(".")[0] for case in CASES}
    assert set(OPERATIONS) <= tested
