"""The 42 behaviours of the older product (original.md, end of part 5), each as a test with its number.

Rule: where the corrected behaviour differs from the older one, the corrected one is tested under the same number, and
the test's docstring says what differs.
"""
