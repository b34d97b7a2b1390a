#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether unit/golden/*.bin is what unit/golden/make makes, and covers the .proto files. TAP."""

import importlib.machinery
import importlib.util
import pathlib
import re
import sys

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "unit/golden"
# And how the names of their files begin.
PROTOS = {"pluginregistration": "", "dra": "", "deviceplugin": "deviceplugin.",
          "podresources": "podresources.", "drahealth": "drahealth."}
CASES_LEAST = 2

n_checks = n_failed = 0


def check(is_well, sentence, *details):
    global n_checks, n_failed
    n_checks += 1
    n_failed += not is_well
    print(f"{'ok' if is_well else 'not ok'} {n_checks} {sentence}")
    for detail in () if is_well else details:
        print(f"# {detail}")


def load(path):
    """A program that has no .py, as a module."""
    loader = importlib.machinery.SourceFileLoader("golden", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("golden", loader))
    loader.exec_module(module)
    return module


def main():
    made = load(GOLDEN / "make").files()
    there = {path.name: path.read_bytes() for path in GOLDEN.glob("*.bin")}
    for name, content in sorted(made.items()):
        check(there.get(name) == content, f"unit/golden/{name} is what unit/golden/make makes",
              f"made:  {content.hex()}",
              f"there: {there.get(name, b'').hex() or 'empty or missing'}")
    strangers = sorted(there.keys() - made.keys())
    check(not strangers, "nothing else is there", *strangers)

    for proto, prefix in PROTOS.items():
        text = (ROOT / f"proto/{proto}.proto").read_text()
        for message in re.findall(r"^message (\w+)", text, re.M):
            n_cases = sum(name.startswith(f"{prefix}{message}.") for name in made)
            check(n_cases >= CASES_LEAST, f"there are golden bytes of {proto}'s {message}")

    # unit/test-golden.c states what each of them means.
    code = (ROOT / "unit/test-golden.c").read_text()
    unread = sorted(name for name in made if f'"{name.removesuffix(".bin")}"' not in code)
    check(not unread, "each is read by unit/test-golden.c", *unread)
    print(f"1..{n_checks}")
    return 1 if n_failed else 0


sys.exit(main())
