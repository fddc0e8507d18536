"""Evaluation of trained runs: captions, scores, baselines, and the comparison of runs."""
