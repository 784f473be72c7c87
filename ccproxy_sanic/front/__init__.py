"""The way from a client's socket to a handler: what Sanic does there, hardened, and what it does slowly, remembered."""
