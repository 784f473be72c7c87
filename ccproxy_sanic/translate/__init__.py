"""Pure functions and machines between the two APIs.  Rule: sans-io: no clock, no loop, no httpx, no Sanic."""
