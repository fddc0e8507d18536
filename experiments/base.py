"""The defaults that every experiment starts from: see `jaxcap/experiment/defaults.py`.

A file beside this one imports it, overrides a few keys and returns the config; a command line
overrides any key, as in
`python -m jaxcap.train --config experiments/flickr8k.py --config.train.epochs=3`.
"""

from jaxcap.experiment.defaults import get_config as get_config
