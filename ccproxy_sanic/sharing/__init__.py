"""One answer with several readers.

Rule: the upstream is asked once, and every reader gets all of the answer at its own pace.
"""
