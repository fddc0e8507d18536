"""The defaults that every denoiser starts from, from `jaxcap/denoising/defaults.py`.

An experiment whose name begins with `denoiser` is one of `jaxcap denoise`: a file beside this one
that imports it, overrides a few keys and returns the config.
"""

from jaxcap.denoising.defaults import get_config as get_config
