"""One worker among several: what it shares with the others.

Rule: without the others, and without a store between them, it serves all the same.
"""
