"""The defaults that every experiment starts from, from `jaxcap/experiment/defaults.py`.

A file beside this one imports it, overrides a few keys and returns the config. A command line
overrides any key, as in `jaxcap train --config flickr8k --config.train.epochs=3`.
"""

from jaxcap.experiment.defaults import get_config as get_config
