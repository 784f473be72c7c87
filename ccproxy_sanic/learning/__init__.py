"""What upstreams teach of themselves.

Rule: nothing is learned that an upstream has not said, and nothing for ever.
"""
