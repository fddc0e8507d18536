"""The known features of real photos, with the weights in the folder JAXCAP_DATA."""

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from jaxcap.models.encoder import normalize
from jaxcap.models.inception import InceptionV3
from jaxcap.models.resnet import ResNet
from tests.encoders import largest_difference, torch_resnet
from tests.pretrained.weight_files import DATA, load

# Photo: the features' mean, the channels that are strongest on average and how strong, and the
# class that follows, all from PyTorch in float64: a tricycle, a stage and a balloon.
GOLDEN = {
    "2090545563_a4e66ec76b.jpg": (
        0.45821,
        (1681, 27, 551, 1523),
        (4.3739, 2.9067, 2.7416, 2.6753),
        870,
    ),
    "2679565682_91ecd283ff.jpg": (
        0.48774,
        (1228, 131, 254, 1704),
        (3.1900, 2.9179, 2.7425, 2.5629),
        819,
    ),
    "522652105_a89f1cf260.jpg": (
        0.36281,
        (459, 1907, 33, 1461),
        (3.3924, 3.2588, 2.9487, 2.8665),
        417,
    ),
}


# The same from Keras's InceptionV3 at 299 pixels: mean, share of zeros, channels and strengths.
INCEPTION_GOLDEN = {
    "2090545563_a4e66ec76b.jpg": (
        0.02915,
        0.8954,
        (120, 199, 2017, 278),
        (0.5672, 0.5525, 0.4053, 0.3873),
    ),
    "2679565682_91ecd283ff.jpg": (
        0.02678,
        0.8759,
        (1985, 271, 222, 1983),
        (0.7172, 0.4319, 0.4061, 0.4053),
    ),
    "522652105_a89f1cf260.jpg": (
        0.02851,
        0.9293,
        (1977, 1995, 46, 1936),
        (1.8323, 1.3318, 1.2156, 1.0435),
    ),
}


def read_photos(size):
    """Reads the photos of the golden values, uint8 [3, size, size, 3]."""
    photos = []
    for name in GOLDEN:
        photo = Image.open(DATA / "flickr8k" / "images" / name)
        photos.append(np.asarray(photo.resize((size, size), Image.Resampling.BILINEAR)))
    return np.stack(photos)


@pytest.fixture(scope="module")
def real():
    """Returns the real weights' file, three photos as the encoder wants them, and their
    features.
    """
    path = DATA / "encoder" / "resnet50_v1_imagenet.safetensors"
    if not path.exists():
        pytest.skip("set JAXCAP_DATA to the folder of real data")
    x = (read_photos(224) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    loaded = load(path, layout="v1")
    features = jax.jit(ResNet(layout="v1", pool=loaded.pool).apply)({"params": loaded.params}, x)
    return path, x.astype(np.float32), np.asarray(features)


@pytest.mark.real_data
def test_real_photos_have_their_known_features_and_classes(real):
    path, _, features = real
    classifier = load_file(path)
    for grid, (mean, channels, strengths, known) in zip(features, GOLDEN.values(), strict=True):
        pooled = grid.mean((0, 1))
        assert grid.mean() == pytest.approx(mean, abs=1e-5)
        assert tuple(np.argsort(-pooled)[:4]) == channels
        assert pooled[list(channels)] == pytest.approx(strengths, abs=1e-4)
        assert np.argmax(classifier["fc.weight"] @ pooled + classifier["fc.bias"]) == known


@pytest.mark.real_data
@pytest.mark.parity
def test_real_photos_have_pytorchs_features(real):
    torch = pytest.importorskip("torch")
    path, x, features = real
    net = torch_resnet(torch, (3, 4, 6, 3), 64, "v1", "ceil")
    arrays = {
        name: torch.from_numpy(array)
        for name, array in load_file(path).items()
        if not name.startswith("fc.")
    }
    net.load_state_dict(arrays)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    assert largest_difference(features, expected) < 1e-5


@pytest.fixture(scope="module")
def real_inception():
    """Returns the file of Keras's real weights, three photos in [-1, 1], and their features."""
    pytest.importorskip("h5py")
    path = DATA / "encoder" / "inception_v3_keras_notop.h5"
    if not path.exists():
        pytest.skip("set JAXCAP_DATA to the folder of real data")
    loaded = load(path, backbone="inception")  # nothing missing and nothing left over
    x = normalize(read_photos(299), loaded.normalization)
    apply = jax.jit(InceptionV3(pool=loaded.pool).apply)
    return path, np.asarray(x), np.asarray(apply({"params": loaded.params}, x))


@pytest.mark.real_data
def test_real_photos_have_their_known_features_of_inceptionv3(real_inception):
    _, _, features = real_inception
    assert features.shape == (3, 8, 8, 2048)
    for grid, golden in zip(features, INCEPTION_GOLDEN.values(), strict=True):
        mean, zeros, channels, strengths = golden
        pooled = grid.mean((0, 1))
        assert grid.mean() == pytest.approx(mean, abs=1e-5)
        assert (grid == 0).mean() == pytest.approx(zeros, abs=1e-3)
        assert tuple(np.argsort(-pooled)[:4]) == channels
        assert pooled[list(channels)] == pytest.approx(strengths, abs=1e-4)


@pytest.mark.real_data
@pytest.mark.parity
def test_real_photos_have_kerass_features(real_inception, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    path, x, features = real_inception
    net = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(299, 299, 3))
    net.load_weights(path)
    assert largest_difference(features, np.asarray(net(x, training=False))) < 1e-4
