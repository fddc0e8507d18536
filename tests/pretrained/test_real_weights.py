"""The known features of real photos, with the weights in the folder JAXCAP_DATA."""

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

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


# The same of InceptionV3 and Keras's weights, from Keras: 299 pixels, without a classifier, with the
# share of zeros.
INCEPTION = {}


@pytest.fixture(scope="module")
def real():
    """Returns the real weights' file, three photos as the encoder wants them, and their
    features.
    """
    path = DATA / "encoder" / "resnet50_v1_imagenet.safetensors"
    if not path.exists():
        pytest.skip("set JAXCAP_DATA to the folder of real data")
    photos = np.stack(
        [np.asarray(Image.open(DATA / "flickr8k" / "images" / name)) for name in GOLDEN]
    )
    x = (photos / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
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
