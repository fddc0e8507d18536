"""The captioner as linen modules: arrays in, arrays out, nothing else of the package."""
