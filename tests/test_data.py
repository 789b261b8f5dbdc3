"""Datasets by name, the user's own files, and what is refused."""

import numpy as np
import pytest

from ppgen.data import Dataset, as_dataset, load, names
from ppgen.data.files import read_array
from ppgen.errors import DataError, InvalidArgument, StorageError, UnknownName


def test_digits_are_split_once_and_for_all():
    digits = load("digits")
    assert (digits.shape, digits.kind, digits.levels) == ((8, 8), "discrete", 17)
    assert [len(split) for split in (digits.train, digits.valid, digits.test)] == [1000, 350, 447]
    assert (digits.train.min(), digits.train.max()) == (0, 16)

    from sklearn.datasets import load_digits

    order = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(digits.test, load_digits().images[order[1350:]])


def test_binary_digits_are_the_same_digits():
    digits, binary = load("digits"), load("digits-binary")
    assert binary.levels == 2
    np.testing.assert_array_equal(binary.valid, digits.valid >= 8)


def test_two_moons_are_two_moons():
    moons = load("two_moons")
    assert (moons.shape, moons.kind, moons.levels) == ((2,), "continuous", None)
    # Each point lies near one of two half circles of radius 1, around (0, 0) and (1, 0.5).
    upper = np.abs(np.linalg.norm(moons.train, axis=1) - 1)
    lower = np.abs(np.linalg.norm(moons.train - [1.0, 0.5], axis=1) - 1)
    assert np.sqrt((np.minimum(upper, lower) ** 2).mean()) == pytest.approx(0.1, rel=0.1)


def test_every_name_loads():
    for name in names():
        assert load(name).name == name


def test_eight_schools_is_a_mapping():
    data = load("eight_schools")
    assert sorted(data) == ["sigma", "y"]
    assert len(data["y"]) == 8


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_own_files(tmp_path, suffix):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    path = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="")
    else:
        (np.save if suffix == ".npy" else np.savez)(path, rows)
    data = load(str(path))
    assert (data.name, data.shape, data.kind, len(data.train)) == ("mine", (3,), "continuous", 14)
    together = np.concatenate([data.train, data.valid, data.test])
    np.testing.assert_allclose(np.sort(together, axis=0), np.sort(rows, axis=0))
    np.testing.assert_allclose(read_array(path), rows)


def test_csv_without_a_header(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("1,2\n3,4\n5,6\n7,9\n2,2\n")
    data = load(path)
    assert (data.kind, data.levels, len(data.train)) == ("discrete", 10, 3)


def test_npz_keeps_its_own_splits(tmp_path):
    path = tmp_path / "split.npz"
    np.savez(path, train=np.array([[0, 1], [2, 3]]), valid=np.array([[1, 1]]), test=np.array([[3, 0]]))
    data = load(path)
    assert (data.levels, len(data.train)) == (4, 2)
    np.testing.assert_array_equal(data.test, [[3, 0]])


def test_arrays_of_other_libraries():
    import jax.numpy as jnp
    import torch

    for array in (torch.arange(12.0).reshape(6, 2), jnp.arange(12.0).reshape(6, 2), [[1.0, 2.0], [3.0, 5.0]]):
        assert as_dataset(array, splits=(1.0, 0.0, 0.0)).kind == "continuous"


def test_the_same_seed_gives_the_same_split():
    rows = np.arange(40).reshape(20, 2)
    np.testing.assert_array_equal(as_dataset(rows, seed=1).train, as_dataset(rows, seed=1).train)
    assert not np.array_equal(as_dataset(rows, seed=1).train, as_dataset(rows, seed=2).train)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (np.zeros((0, 2)), {}, "data: got an empty array|at least"),
        (np.zeros((3, 0)), {}, "empty"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), {}, r"train: got 1 NaN or infinite values"),
        (np.array([[1.0, np.inf], [1.0, 2.0]]), {}, r"NaN or infinite"),
        (np.arange(3.0), {}, r"shape \(3,\)"),
        (np.array([["a", "b"]]), {}, "dtype"),
        (np.array([[0, 5], [1, 2]]), {"levels": 4}, "values from 0 to 5, expected integers 0 … 3"),
        (np.array([[-1, 5], [1, 2]]), {}, "values from -1 to 5"),
        (np.array([[0.5, 1.0], [1.0, 2.0]]), {"levels": 4}, "not whole numbers"),
        (np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]), {}, r"constant columns \[0\]"),
        (np.arange(4.0).reshape(2, 2), {"splits": (0.7, 0.15, 0.15)}, "2 rows"),
    ],
)
def test_bad_rows(rows, options, words):
    with pytest.raises(DataError, match=words):
        as_dataset(rows, **{"splits": (1.0, 0.0, 0.0), **options})


def test_bad_splits_and_unlike_splits():
    with pytest.raises(InvalidArgument, match="splits"):
        as_dataset(np.arange(20.0).reshape(10, 2), splits=(0.5, 0.1, 0.1))
    with pytest.raises(DataError, match=r"valid: got rows of shape \(3,\)"):
        Dataset("x", np.arange(4.0).reshape(2, 2), np.ones((2, 3)), np.ones((2, 2)), "continuous")


def test_bad_files(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        load("digitz")
    with pytest.raises(UnknownName, match=r"one of '.npy', '.npz', '.csv'"):
        load(tmp_path / "rows.xls")
    with pytest.raises(StorageError, match="does not exist"):
        load(tmp_path / "none.npy")
    (tmp_path / "broken.npz").write_bytes(b"PK not really")
    with pytest.raises(StorageError, match="cannot be read"):
        load(tmp_path / "broken.npz")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(StorageError, match="cannot be read"):
        load(tmp_path / "objects.npy")
    (tmp_path / "words.csv").write_text("name,size\nann,3\nbob,4\n")
    with pytest.raises(DataError, match="not numbers: name"):
        load(tmp_path / "words.csv")
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    with pytest.raises(DataError, match=r"arrays \['a', 'b'\]"):
        load(tmp_path / "two.npz")
