"""Loads ImageNet weights from a file or the hub: checked, folded, with their fingerprint."""

from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.models.encoder import choose_pool
from jaxcap.pretrained import inception, resnet
from jaxcap.pretrained.files import read_arrays
from jaxcap.pretrained.weights import Arrays, Network, Pretrained, Section

# Key encoder.backbone -> how its weights are found and read.
NETWORKS: dict[str, Network] = {"resnet": resnet.NETWORK, "inception": inception.NETWORK}


def load_encoder(section: Section) -> Pretrained:
    """Loads, checks and folds the weights of an encoder.

    Args:
      section: `encoder` of a config. Its `weights` are "hub", for a published file that is
        downloaded once, or a .safetensors, .pth, .pt or .h5 file; its `backbone` says of which
        network, and the other keys of which size and form.

    Returns:
      The weights.

    Raises:
      UserError: the file is missing, damaged, unsafe or of another network, the download fails, or
        the options contradict each other.
    """
    backbone = section["backbone"]
    network = NETWORKS.get(backbone)
    if network is None:
        raise UserError(
            f"encoder.backbone={backbone}: no weights of it can be read: set encoder.weights=random"
        )
    try:
        choose_pool(section)
    except ValueError as error:
        raise UserError(str(error)) from error
    network.check(section)
    if section["weights"] == "hub":
        path = network.find_hub_file()
    else:
        path = Path(section["weights"]).expanduser()
    arrays = read_arrays(path)
    if not network.holds(arrays):
        _refuse_another(arrays, path, network)
    return network.convert(arrays, section, path)


def _refuse_another(arrays: Arrays, path: Path, network: Network) -> None:
    """Says which backbone a file's arrays belong to, if it is one of the table's."""
    for backbone, other in NETWORKS.items():
        if other.holds(arrays):
            raise UserError(
                f"{path}: not the weights of {network.title}: these look like {other.title}'s: "
                f"set encoder.backbone={backbone}"
            )
