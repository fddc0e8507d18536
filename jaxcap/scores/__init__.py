"""Scores of captions in plain Python and NumPy, equal to coco-caption's, and what explains them."""
