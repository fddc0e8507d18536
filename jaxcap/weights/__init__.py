"""Weights from outside: files in PyTorch's and Keras's formats, and the names that their networks give their parts."""
