"""Fixtures of the tests of weights."""

import pytest

from jaxcap.models.resnet import ResNet
from tests.encoders import randomised, torch_arrays
from tests.pretrained.weight_files import SMALL


@pytest.fixture(scope="module")
def variables():
    return randomised(ResNet(**SMALL, folded=False))


@pytest.fixture
def arrays(variables):
    return torch_arrays(variables)
