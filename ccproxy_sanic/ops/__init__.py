"""Running it: logs, redaction, and who else is on our port.

Rule: nothing here decides what a client gets.
"""
