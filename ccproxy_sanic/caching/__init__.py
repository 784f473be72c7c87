"""Answers that are kept: the runtime's side of the cache.

Rule: what may be kept is decided in pipeline, what is kept and counted is in actors; here is what lies around both.
"""
