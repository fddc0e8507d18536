"""Training: the step, its objectives, the loop and what it writes."""
