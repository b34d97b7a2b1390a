# SPDX-License-Identifier: Apache-2.0
"""What dpkg knows: which package a file is from, and what that package says of itself."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import subprocess

INFO = pathlib.Path("/var/lib/dpkg/info")
FIELDS = ("Package", "Version", "Architecture", "source:Package", "source:Version", "Homepage")

# Debian's short names (DEP 5) whose SPDX identifier is another one.
SPDX_NAMES = {"Expat": "MIT", "X11": "X11", "OpenLDAP-2.8": "OLDAP-2.8", "BSD-2-clause": "BSD-2-Clause",
              "BSD-3-clause": "BSD-3-Clause", "BSD-4-clause": "BSD-4-Clause", "ZLIB": "Zlib",
              "zlib": "Zlib", "MPL-2.0": "MPL-2.0", "Artistic": "Artistic-1.0"}
SPDX_SAME = {"Apache-2.0", "MIT", "curl", "ISC", "Zlib", "OLDAP-2.8", "BSD-2-Clause", "BSD-3-Clause"}


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    homepage: str

    @property
    def copyright(self):
        return pathlib.Path("/usr/share/doc") / self.name / "copyright"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return done.stdout


def spellings(path):
    """A package may say /lib where this machine's link makes it /usr/lib."""
    real = os.path.realpath(path)
    return [real, real.removeprefix("/usr")] if real.startswith("/usr/") else [real]


def owners(paths):
    """{path: Package} of files that Debian packages own; any other file is an error."""
    wanted = {path: spellings(path) for path in paths}
    names = {}
    for line in run("dpkg-query", "--search", *sorted({s for each in wanted.values() for s in each})).splitlines():
        name, _, path = line.partition(": ")
        if not line.startswith("diversion by "):
            names[path] = name
    found = {}
    for path, each in wanted.items():
        name = next((names[s] for s in each if s in names), None)
        if not name:
            raise SystemExit(f"{path} is from no Debian package, so the image cannot say what it is")
        found[path] = describe(name)
    return found


@functools.cache
def describe(name):
    """name as dpkg prints it: libcurl4:amd64."""
    shown = run("dpkg-query", "--show", "--showformat", "\\n".join(f"${{{f}}}" for f in FIELDS), name)
    return Package(*(shown + "\n" * len(FIELDS)).split("\n")[:len(FIELDS)])


@functools.cache
def md5sums(package):
    for listing in (INFO / f"{package.name}:{package.architecture}.md5sums", INFO / f"{package.name}.md5sums"):
        if listing.exists():
            lines = (line.split(None, 1) for line in listing.read_text().splitlines())
            return {"/" + path: md5 for md5, path in lines}
    return {}


def check_unchanged(path, content, package):
    """The file is the one that the package brought."""
    expected = next((md5sums(package)[s] for s in spellings(path) if s in md5sums(package)), None)
    if expected != hashlib.md5(content, usedforsecurity=False).hexdigest():
        raise SystemExit(f"{path} is not as the package {package.name} brought it; reinstall that package")


def spdx_identifier(name):
    """None: a name that SPDX has no certain counterpart for."""
    match = re.fullmatch(r"(A?L?GPL)-(\d(?:\.\d)?)(\+?)", name)
    if match:
        family, version, later = match.groups()
        version += "" if "." in version else ".0"
        return f"{family}-{version}-{'or-later' if later else 'only'}"
    return SPDX_NAMES.get(name, name if name in SPDX_SAME else None)


def declared_licence(package):
    """(SPDX expression or NOASSERTION, the package's own words or None): that of "Files: *" in a
    machine-readable copyright file."""
    text = package.copyright.read_text(errors="replace")
    if not re.match(r"Format(-Specification)?: *\S*copyright-format", text):
        return "NOASSERTION", None
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if re.search(r"^Files: *\*[ \t]*$", paragraph, re.M):
            match = re.search(r"^License: *(\S.*)$", paragraph, re.M)
            if match:
                words = " ".join(match.group(1).split())
                return expression(words) or "NOASSERTION", words
    return "NOASSERTION", None


def expression(words):
    """"GPL-2+ or MIT" -> "GPL-2.0-or-later OR MIT". With a comma the precedence is not SPDX's."""
    if "," in words:
        return None
    parts = []
    for i, word in enumerate(words.split(" ")):
        part = word.upper() if i % 2 and word in ("or", "and") else None if i % 2 else spdx_identifier(word)
        if not part:
            return None
        parts.append(part)
    return " ".join(parts)


def common_licences(text):
    """The files of /usr/share/common-licenses that a copyright file points to instead of quoting."""
    named = set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])", text))
    return {path for path in (pathlib.Path("/usr/share/common-licenses") / name for name in named)
            if path.is_file()}
