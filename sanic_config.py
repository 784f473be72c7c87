"""Sanic's own settings: the values this project needs instead of Sanic's defaults.

Rule: defaults only.  The server passes them as `Config(defaults=...)`, so every `SANIC_<NAME>` in the environment wins
(loading this file with `update_config` would override the environment).  Nothing secret may be named `SANIC_*`: Sanic
turns such values into numbers and truth values.  Seconds and bytes throughout.
"""

from __future__ import annotations

# Idle time, in both directions, while a handler works or answers.  The largest silence that our own deadlines permit is
# 600 s (a non-stream call, the wait for a first byte); this is the backstop 30 s behind it, and it also ends clients
# that never read.
RESPONSE_TIMEOUT = 630

# Idle time while the head of a request arrives.  It begins anew at every byte: the absolute limit is the server's own
# (front/protocol.py), which looks when Sanic does: every half of the smallest of these three.
REQUEST_TIMEOUT = 10

# Idle time between two requests.  Routers that keep connections to us (Heroku's idles at 90 s) must be the first to
# close, or a request meets a closing connection.
KEEP_ALIVE_TIMEOUT = 120

# Anthropic's own limit for a Messages request; checked against Content-Length before a body is read.
REQUEST_MAX_SIZE = 32 * 1024 * 1024

# Sanic's ceiling.  Bearer tokens and tracing headers of agents are long.
REQUEST_MAX_HEADER_SIZE = 16_384

# Reading pauses and resumes each time this much has arrived: an agent's prompt of some 100 KB should come in one go.
REQUEST_BUFFER_SIZE = 1024 * 1024

# Platforms kill 30 s after SIGTERM: 20 s for running answers, the rest for releasing leases and the last log lines.
GRACEFUL_SHUTDOWN_TIMEOUT = 20

# One JSON line per request comes from the metrics actor, for a fraction of the cost of Sanic's.
ACCESS_LOG = False

# sanic-ext changes routes and headers merely because it is installed.
AUTO_EXTEND = False

# Faults are answered in Anthropic's shape and logged once, by errors.py; a client's mistake is not our traceback.
NOISY_EXCEPTIONS = False

# The `ccproxy` command prints its own banner.
MOTD = False
