"""jaxcap: image captioning with soft attention in JAX."""

__version__ = "0.1.0"
