# SPDX-License-Identifier: Apache-2.0
"""A bill of materials of the image, SPDX 2.3 as JSON. Everything in it follows from the image's
content, so that the same image gives the same bytes."""

import datetime
import hashlib
import json
import re
import urllib.parse
import uuid

from packages import declared_licence

IMAGE = "SPDXRef-Package-image"


def digest(algorithm, content):
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def identifier(prefix, name):
    return f"SPDXRef-{prefix}-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")


def purl(package):
    version = urllib.parse.quote(package.version, safe="")
    upstream = urllib.parse.quote(f"{package.source}@{package.source_version}", safe="")
    return f"pkg:deb/debian/{package.name}@{version}?arch={package.architecture}&distro=debian-12&upstream={upstream}"


def package_element(package):
    licence, words = declared_licence(package)
    element = {
        "SPDXID": identifier("Package", package.name),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": f"built from the Debian source package {package.source} {package.source_version}",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": purl(package)}],
    }
    if words:
        element["licenseComments"] = f'Debian\'s copyright file says of "Files: *": {words}'
    if package.homepage:
        element["homepage"] = package.homepage
    return element


def file_element(path, content):
    kind = "TEXT" if path.endswith((".crt", "/copyright")) or "licenses" in path else "BINARY"
    return {"SPDXID": identifier("File", path), "fileName": f".{path}", "fileTypes": [kind],
            "checksums": [{"algorithm": name.upper(), "checksumValue": digest(name, content)}
                          for name in ("sha1", "sha256")],
            "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"}


def own_element(name, spdx_id, version, summary):
    return {"SPDXID": spdx_id, "name": name, "versionInfo": version, "summary": summary,
            "supplier": "NOASSERTION", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0",
            "copyrightText": "NOASSERTION"}


def program_element(name, version):
    summary = {"dra-driver-tdx": "the driver", "tdx-quote-relay": "the quote relay between VMs and QGS"}[name]
    element = own_element(name, identifier("Package", name), version, summary)
    return element | {"primaryPackagePurpose": "APPLICATION", "externalRefs": [
        {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
         "referenceLocator": f"pkg:generic/{name}@{urllib.parse.quote(version, safe='')}"}]}


def build(files, linked, owner, version, epoch, sbom_path):
    """files: {path in the image: content}; linked: {path of a program of ours: the packages of its
    shared libraries, and of what was linked into it}; owner: {path in the image: Package} of the
    files that are a package's own. Returns the JSON as bytes."""
    kinds = [kind for pair in linked.values() for kind in pair]
    packages = sorted({*owner.values()}.union(*kinds), key=lambda p: p.name)
    names = {path: path.rpartition("/")[2] for path in linked}
    sha1s = "".join(sorted(digest("sha1", content) for content in files.values()))
    image = own_element("dra-driver-tdx-image", IMAGE, version, "the container image")
    image |= {"filesAnalyzed": True, "primaryPackagePurpose": "CONTAINER", "licenseDeclared": "NOASSERTION",
              "packageVerificationCode": {
                  "packageVerificationCodeValue": digest("sha1", sha1s.encode()),
                  "packageVerificationCodeExcludedFiles": [f".{sbom_path}"]}}

    links = [("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)]
    links += [(IMAGE, "CONTAINS", identifier("File", path)) for path in files]
    for path, (shared, static) in linked.items():
        program = identifier("Package", names[path])
        links += [(IMAGE, "CONTAINS", program), (identifier("File", path), "GENERATED_FROM", program)]
        links += [(program, "DYNAMIC_LINK", identifier("Package", p.name)) for p in shared]
        links += [(program, "STATIC_LINK", identifier("Package", p.name)) for p in static]
    links += [(identifier("File", path), "EXPANDED_FROM_ARCHIVE", identifier("Package", p.name))
              for path, p in owner.items()]

    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"dra-driver-tdx-{version}",
        "creationInfo": {
            "created": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: dra-driver-tdx-image-{version}"]},
        "packages": [image, *(program_element(name, version) for name in names.values()),
                     *(package_element(p) for p in packages)],
        "files": [file_element(path, content) for path, content in sorted(files.items())],
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b}
                          for a, kind, b in sorted(set(links))],
    }
    name = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(document, sort_keys=True))
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/dra-driver-tdx-{version}-{name}"
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
