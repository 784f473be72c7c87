"""``python -m ccproxy_sanic``: the ``ccproxy`` command."""

from __future__ import annotations

import sys

from ccproxy_sanic.cli import main

sys.exit(main())
