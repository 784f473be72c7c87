"""Builds the optional Cython extension.  Without a compiler its Python twin serves (sse/_framing_py.py)."""

from __future__ import annotations

import os

from setuptools import Extension, setup

OFF = ("0", "false", "no", "off")
wanted = os.environ.get("CCPROXY_PURE") != "1" and os.environ.get("CCPROXY_BUILD_CYTHON", "1").lower() not in OFF

extensions: list[Extension] = []
if wanted:
    try:
        from Cython.Build import cythonize
    except ImportError:  # an environment without Cython: the Python twin serves
        pass
    else:
        extensions = cythonize(
            [Extension("ccproxy_sanic.sse._framing", ["ccproxy_sanic/sse/_framing.pyx"], optional=True)],
            compiler_directives={"language_level": "3"},
        )

setup(ext_modules=extensions)
