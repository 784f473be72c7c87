"""What every engine owes: one suite, over each engine and each event loop, against a server that misbehaves."""
