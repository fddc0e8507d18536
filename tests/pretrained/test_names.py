"""Names and shapes of a file's arrays: torchvision's, and every fault reported at once."""

import numpy as np
import pytest

from jaxcap.models.resnet import ResNet
from jaxcap.pretrained import names as weight_names
from jaxcap.pretrained import resnet
from tests.pretrained.weight_files import mistake, written


def torchvision_names(stage_sizes):
    """Lists a ResNet's arrays as torchvision's documentation of a state dict shows them."""
    statistics = ("weight", "bias", "running_mean", "running_var")
    names = ["conv1.weight", *(f"bn1.{leaf}" for leaf in statistics)]
    for stage, blocks in enumerate(stage_sizes, 1):
        for block in range(blocks):
            for part in (1, 2, 3):
                names.append(f"layer{stage}.{block}.conv{part}.weight")
                names.extend(f"layer{stage}.{block}.bn{part}.{leaf}" for leaf in statistics)
        names.append(f"layer{stage}.0.downsample.0.weight")
        names.extend(f"layer{stage}.0.downsample.1.{leaf}" for leaf in statistics)
    return names


@pytest.mark.parametrize("stage_sizes", [(3, 4, 6, 3), (3, 4, 23, 3), (1, 1)])
def test_names_are_torchvisions(stage_sizes):
    model = ResNet(stage_sizes, 4, folded=False)
    names = [resnet.torch_name(path) for path in weight_names._model_shapes(model)]
    assert sorted(names) == sorted(torchvision_names(stage_sizes))


def test_all_faults_of_a_file_are_reported_at_once(tmp_path, arrays):
    del arrays["layer1.1.conv2.weight"], arrays["bn1.running_var"]
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"][:3]
    arrays["layer2.0.bn1.weight"][0] = np.nan
    arrays["layer2.0.bn2.running_var"][0] = -1
    arrays.update({f"layer3.{n}.bn1.bias": np.zeros(4, np.float32) for n in range(5)})
    line = mistake(written(tmp_path, arrays))
    assert "2 missing (layer1.1.conv2.weight, bn1.running_var)" in line
    assert (
        "5 unexpected (layer3.0.bn1.bias, layer3.1.bn1.bias, layer3.2.bn1.bias and 2 more)" in line
    )
    assert "1 of another shape (layer1.0.conv1.weight 3x4x1x1 instead of 4x4x1x1)" in line
    assert "2 with impossible values (layer2.0.bn1.weight, layer2.0.bn2.running_var)" in line
    assert "encoder.stage_sizes=(2, 1) and encoder.width=4" in line


def test_a_number_too_large_for_float32_is_an_impossible_value_and_nothing_else_is_said(
    tmp_path, arrays, recwarn
):
    arrays["conv1.weight"] = arrays["conv1.weight"].astype(np.float64) + 1e300
    assert "1 with impossible values (conv1.weight)" in mistake(written(tmp_path, arrays))
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]
