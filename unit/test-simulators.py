#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The stand-ins of e2e/sim: do they do what the scenarios rely on? TAP."""

import os
import pathlib
import sys

selftest = pathlib.Path(__file__).resolve().parent.parent / "e2e/sim/selftest"
os.execv(selftest, [str(selftest), *sys.argv[1:]])
