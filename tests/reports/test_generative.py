"""Faults of data and families that are known and not yet mended: each test states what is right.

A strict expected failure turns red as soon as the fault is mended: take the mark away then.
"""

import math
import pickle
import struct
import warnings
import zlib

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ppgen
from ppgen.errors import DataError, PpgenError, StorageError, TrainingError
from ppgen.evaluation.baselines import KernelDensity
from ppgen.program.as_site import as_decoder


def said(call):
    """What a call returns, and whether it warned in ppgen's own words or refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except PpgenError:
            return None, True
    return result, any("ppgen" in each.category.__module__ for each in caught)


class TestColourPictures:
    @pytest.fixture
    def pictures(self, tmp_path):
        rng = np.random.default_rng(0)
        for i in range(20):
            colours = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(colours).save(tmp_path / f"{i:02}.png")
        return ppgen.data.load(tmp_path)

    @pytest.mark.parametrize(
        ("family", "network"),
        [
            ("VAE", {"networks": "conv"}),
            ("GAN", {"networks": "conv"}),
            ("EnergyModel", {"networks": "conv"}),
            ("DDPM", {"network": "unet"}),
        ],
    )
    @pytest.mark.xfail(
        strict=True, raises=PpgenError, reason="the loader puts channels first, networks read them last"
    )
    def test_convolutions_take_what_the_loader_gives(self, pictures, family, network):
        getattr(ppgen.models, family)(pictures.shape, pictures.levels, **network)

    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="a dense network is chosen where channels come first"
    )
    def test_channels_first_are_pictures_to_a_diffusion(self):
        shapes = (3, 8, 8), (8, 8, 3)
        first, last = (ppgen.models.DDPM(shape, 2, width=8, depth=1) for shape in shapes)
        assert first.config["network"] == last.config["network"]

    @pytest.mark.xfail(strict=True, raises=PpgenError, reason="plots read channels last only")
    def test_they_are_plotted(self, pictures):
        ppgen.plots.samples({"real": pictures.train[:4]}, 256)


class TestPictureFiles:
    @staticmethod
    def _write_png(path, values):
        """Write ``values (h, w, c)`` of 16 bits: grey, grey with alpha, colour, or colour with alpha."""

        def chunk(kind, content):
            check = struct.pack(">I", zlib.crc32(kind + content))
            return struct.pack(">I", len(content)) + kind + content + check

        h, w, channels = values.shape
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        header = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
        parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))

    @pytest.mark.parametrize("channels", [2, 3, 4])
    @pytest.mark.xfail(
        strict=True, raises=pytest.fail.Exception, reason="16 bits a channel are cut to 8 without a word"
    )
    def test_sixteen_bits_are_refused(self, tmp_path, channels):
        rng = np.random.default_rng(0)
        for i in range(20):
            self._write_png(tmp_path / f"{i:02}.png", rng.integers(0, 256, (6, 6, channels)))
        with pytest.raises(DataError):
            ppgen.data.load(tmp_path)

    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="the colours under transparent pixels become data"
    )
    def test_what_is_transparent_is_not_seen(self, tmp_path):
        rng = np.random.default_rng(0)
        for i in range(20):
            sprite = rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)
            sprite[..., 3] = 0
            sprite[2:6, 2:6] = (255, 0, 0, 255)
            Image.fromarray(sprite, "RGBA").save(tmp_path / f"{i:02}.png")
        data, warned = said(lambda: ppgen.data.load(tmp_path))
        assert warned or np.ptp(data.train, axis=0).max() == 0  # all pictures look the same


class TestArrayFiles:
    floats = np.random.default_rng(0).random((60, 4, 4)).astype(np.float32)

    @pytest.mark.xfail(
        strict=True, raises=pytest.fail.Exception, reason="floats of an .npz are cut to levels, an .npy's not"
    )
    def test_floats_are_no_levels_in_any_file(self, tmp_path):
        np.save(tmp_path / "x.npy", self.floats)
        with pytest.raises(DataError):
            ppgen.data.load(tmp_path / "x.npy", levels=256)
        np.savez(tmp_path / "x.npz", train=self.floats[:40], valid=self.floats[40:50], test=self.floats[50:])
        with pytest.raises(DataError):
            ppgen.data.load(tmp_path / "x.npz", levels=256)

    @pytest.mark.xfail(strict=True, raises=AssertionError, reason="the kind of train is forced upon test")
    def test_parts_of_other_kinds_are_not_rounded(self, tmp_path):
        tens = self.floats * 10
        np.savez(tmp_path / "x.npz", train=tens[:40].astype(int), valid=tens[40:50], test=tens[50:])
        data, warned = said(lambda: ppgen.data.load(tmp_path / "x.npz"))
        assert warned or np.allclose(data.test, tens[50:])

    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="what a NumPy masked array hides becomes data"
    )
    def test_masked_values_are_no_data(self):
        rng = np.random.default_rng(0)
        values = np.where(rng.random((50, 2)) < 0.2, 9999.0, rng.normal(size=(50, 2)))
        data, warned = said(lambda: ppgen.data.load(np.ma.masked_greater(values, 9000)))
        assert warned or max(part.max() for part in (data.train, data.valid, data.test)) < 9000


class TestDecoders:
    @pytest.mark.parametrize("engine", ["pyro", "numpyro"])
    @pytest.mark.xfail(strict=True, raises=NotImplementedError, reason="a decoder's distribution has no mean")
    def test_what_a_decoder_says_has_a_mean(self, engine):
        vae = ppgen.models.VAE((5,), levels=None, latent_dim=2, hidden=(8,))
        z = torch.zeros(2, dtype=torch.float64) if engine == "pyro" else jnp.zeros(2)
        says = as_decoder(vae, engine=engine)(z)
        assert says.mean.shape == (5,)
        assert bool((says.variance > 0).all())


class TestFlows:
    @pytest.mark.xfail(
        strict=True, raises=TrainingError, reason="a deep affine flow overflows on outliers before it learns"
    )
    def test_a_deep_one_survives_outliers(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(1000, 19))
        x[:, 0] = rng.standard_t(1.5, 1000)
        flow = ppgen.models.RealNVP((19,), transforms=32, hidden=(64, 64))
        run = ppgen.train(flow, x, epochs=1, batch_size=256, learning_rate=1e-6, progress=False)
        assert math.isfinite(run.history[-1].valid)

    @pytest.mark.parametrize(("mean", "sd"), [(1.7e9, 5.0), (13.377704, 1e-5)], ids=["seconds", "degrees"])
    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="rows are cut to single precision before they are centred"
    )
    def test_a_column_far_from_zero_keeps_its_digits(self, mean, sd):
        rng = np.random.default_rng(0)
        x, held_out = (mean + sd * rng.normal(size=(n, 1)) for n in (2000, 1000))
        flow = ppgen.models.NeuralSplineFlow((1,), hidden=(16,))
        ppgen.train(flow, x, epochs=3, batch_size=128, progress=False)
        assert len(np.unique(flow.sample(500))) == 500
        entropy = 0.5 * math.log(2 * math.pi * math.e * sd**2)
        assert flow.log_prob(held_out).mean() == pytest.approx(-entropy, abs=0.1)

    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="nothing is said of a column that is mostly one value"
    )
    def test_a_density_warns_of_a_point_mass(self):
        rng = np.random.default_rng(0)
        x = np.where(rng.random(1000) < 0.6, 0.0, rng.normal(3, 1, 1000))[:, None]
        flow = ppgen.models.NeuralSplineFlow((1,), hidden=(16,))

        def fit():
            ppgen.train(flow, x, epochs=3, batch_size=128, progress=False)
            return flow.log_prob(x)

        assert said(fit)[1]

    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="the best epoch is the best of the last call only"
    )
    def test_training_again_never_leaves_a_worse_model(self):
        data = ppgen.data.load("two_moons")
        flow = ppgen.models.NeuralSplineFlow((2,), hidden=(16,), transforms=1)
        ppgen.train(flow, data, epochs=3, batch_size=256, progress=False)
        before = flow.log_prob(data.valid).mean()
        ppgen.train(flow, data, epochs=1, batch_size=256, learning_rate=1.0, progress=False)
        assert flow.log_prob(data.valid).mean() >= before - 1e-6


class TestBaselines:
    @pytest.mark.xfail(
        strict=True, raises=AssertionError, reason="no kernel of the baseline is wider than 2.5 levels"
    )
    def test_counts_far_apart_get_a_wide_kernel(self):
        x = np.random.default_rng(0).poisson(50_000, (1000, 2))
        data = ppgen.data.load(x)
        found = KernelDensity.fit(data).log_prob(data.test).bits_per_dim()
        assert found == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * 50_000), abs=0.3)


class TestScorecards:
    @pytest.mark.xfail(strict=True, raises=AssertionError, reason="samples that are NaN are passed over")
    def test_samples_that_are_no_numbers_are_reported(self):
        class Broken:
            shape, levels = (3,), None

            def sample(self, n, seed=0):
                rows = np.random.default_rng(seed).normal(size=(n, 3))
                rows[:1] = np.nan
                return rows

        rows = np.random.default_rng(0).normal(size=(400, 3))
        card, warned = said(
            lambda: ppgen.evaluate(
                {"broken": Broken()}, ppgen.data.load(rows), generated=100, baselines=False
            )
        )
        assert warned or "nan" in str(card).lower()


class TestFilesOfFamilies:
    @pytest.mark.xfail(
        strict=True, raises=StorageError, reason="save() writes networks of a user's own that load() refuses"
    )
    def test_what_is_saved_is_loaded(self, tmp_path):
        vae = ppgen.models.VAE((4,), latent_dim=2, hidden=(16,))
        vae.encoder = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 4))
        vae.decoder = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 4))
        try:
            path = ppgen.save(vae, tmp_path / "own.ppgen")
        except StorageError:
            return  # as good: nothing is written that cannot be read
        back = ppgen.load(path)
        np.testing.assert_array_equal(back.sample(5, seed=0), vae.sample(5, seed=0))

    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("DDPM", {}),
            ("NCSN", {}),
            ("ScoreSDE", {}),
            ("FlowMatching", {}),
            ("MaskedDiffusion", {"levels": 3}),
        ],
    )
    def test_a_diffusion_goes_to_another_process(self, name, settings):
        family = getattr(ppgen.models, name)((4,), **settings)
        back = pickle.loads(pickle.dumps(family))
        np.testing.assert_array_equal(back.sample(3, seed=0), family.sample(3, seed=0))
