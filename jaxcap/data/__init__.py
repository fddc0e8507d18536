"""Photos with their captions: the data sets and how they are prepared."""
