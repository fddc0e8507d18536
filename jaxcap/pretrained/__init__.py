"""ImageNet weights in, checked and folded parameters of the encoder out."""

from jaxcap.pretrained.load import Pretrained, load_resnet

__all__ = ["Pretrained", "load_resnet"]
