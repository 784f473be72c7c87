"""Benches anyone can run: see README.md."""
