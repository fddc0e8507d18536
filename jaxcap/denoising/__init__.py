"""Denoisers as runs of their own: config, data, training, and what a trained one is worth."""
