"""Grids of runs, arms by seeds, and the table that compares the arms."""
