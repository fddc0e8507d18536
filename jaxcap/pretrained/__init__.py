"""ImageNet weights in, checked and folded parameters of the encoder out."""

from jaxcap.pretrained.load import load_encoder
from jaxcap.pretrained.weights import Pretrained

__all__ = ["Pretrained", "load_encoder"]
