"""Anthropic Messages API in front, OpenAI-compatible models behind."""

__version__ = "0.1.0"
