"""From a config to a run: checks, data, model and the folder that a run is kept in."""
