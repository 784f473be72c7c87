"""Proxy, upstream and load generator as three processes."""
