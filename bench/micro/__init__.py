"""Pieces of the proxy, one by one, with pytest-benchmark."""
