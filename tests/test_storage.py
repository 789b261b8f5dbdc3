"""The .ppgen file: what is written is read back bit for bit, and no other file passes for one."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import ppgen
from ppgen import storage
from ppgen.errors import StorageError
from ppgen.storage import Stored


@pytest.fixture
def content():
    tensors = {
        "scalar": np.array(0.1),
        "matrix": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "transposed": np.arange(6).reshape(2, 3).T,
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 2)),
    }
    return Stored(tensors, {"family": "any", "shape": [2, 3], "levels": None, "name": "naïve ≤"})


@pytest.mark.quick
def test_reads_back_what_was_written(tmp_path, content):
    back = storage.read(storage.write(tmp_path / "model.ppgen", content))
    assert back.document == content.document
    assert back.tensors.keys() == content.tensors.keys()
    for name, array in content.tensors.items():
        assert back.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(back.tensors[name], array)


def test_writing_replaces_the_old_file_and_leaves_no_other(tmp_path, content):
    path = tmp_path / "model.ppgen"
    storage.write(path, Stored({}, {"version": 1}))
    storage.write(path, content)
    assert storage.read(path).document == content.document
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.quick
def test_a_failed_write_keeps_the_old_file(tmp_path, content, monkeypatch):
    path = storage.write(tmp_path / "model.ppgen", content)

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        storage.write(path, Stored({}, {}))
    assert storage.read(path).document == content.document
    assert list(tmp_path.iterdir()) == [path]


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def _foreign(path):
    save_file({"x": np.zeros(3)}, path)


def _foreign_json(path):
    save_file({"x": np.zeros(3)}, path, metadata={"ppgen": "[1, 2]"})


def _newer(path):
    header = {"format": storage.FORMAT + 1, "ppgen": "99.0", "document": {}}
    save_file({"x": np.zeros(3)}, path, metadata={"ppgen": json.dumps(header)})


def _pickle(path):
    import pickle

    path.write_bytes(pickle.dumps({"x": 1}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "truncated"),
        (_foreign, "did not write"),
        (_foreign_json, "did not write"),
        (_newer, "pip install --upgrade ppgen"),
        (_pickle, "of another format"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: path.unlink(), "no file"),
    ],
)
def test_refuses_other_files(tmp_path, content, damage, message):
    path = storage.write(tmp_path / "model.ppgen", content)
    damage(path)
    with pytest.raises(StorageError, match=message) as caught:
        storage.read(path)
    assert str(path) in str(caught.value)


def test_refuses_paths_that_cannot_be_written(tmp_path, content):
    with pytest.raises(StorageError, match="mkdir -p"):
        storage.check_writable(tmp_path / "nowhere" / "model.ppgen")
    with pytest.raises(StorageError, match="is a folder"):
        storage.write(tmp_path, content)


# -- families that older versions wrote ------------------------------------------------------------------

OLD = Path(__file__).parent / "files"


@pytest.mark.parametrize("name", ["vae", "rbm"])
def test_a_family_of_an_older_version_gives_the_same_numbers(name):
    numbers = json.loads((OLD / "numbers_0.1.0.json").read_text())[name]
    family = ppgen.load(OLD / f"{name}_0.1.0.ppgen")
    np.testing.assert_array_equal(family.sample(4, seed=1), numbers["sample"])
    np.testing.assert_allclose(family.log_prob(numbers["rows"]).values, numbers["log_prob"], rtol=1e-6)


def test_settings_of_an_older_name_are_known_and_others_name_the_version(tmp_path):
    stored = storage.read(OLD / "vae_0.1.0.ppgen")
    assert stored.version == "0.1.0"
    config = dict(stored.document["config"])
    config["covariance"] = config.pop("posterior")
    path = storage.write(
        tmp_path / "old.ppgen", Stored(stored.tensors, {**stored.document, "config": config})
    )
    assert ppgen.load(path).posterior == "diagonal"
    config["colour"] = "red"
    storage.write(path, Stored(stored.tensors, {**stored.document, "config": config}))
    with pytest.raises(StorageError, match=r"written by ppgen 0\.1\.0") as caught:
        ppgen.load(path)
    assert "Load it with ppgen 0.1.0" in str(caught.value)
