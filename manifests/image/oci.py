# SPDX-License-Identifier: Apache-2.0
"""An OCI image archive of one layer, as bytes that follow from what goes in.

Sources: OCI image-spec v1.1 (image-layout.md, manifest.md, config.md); the annotation
io.containerd.image.name is containerd's. manifest.json beside it is Docker's older form of the same:
engines that know no OCI layout find the same blobs by it.
"""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def tar(entries, epoch):
    """entries: {path without a leading slash: (mode, content)}; the directories above are added."""
    directories = {str(parent) for path in entries for parent in pathlib.PurePosixPath(path).parents}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path in sorted(directories - {"."} | entries.keys()):
            entry = tarfile.TarInfo(path)
            entry.mtime = epoch
            if path in entries:
                entry.mode, content = entries[path]
                entry.size = len(content)
                out.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                out.addfile(entry)
    return archive.getvalue()


def compress(content):
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=7, fileobj=packed, mtime=0) as out:
        out.write(content)
    return packed.getvalue()


def archive(layer_entries, config, name, tag, annotations, epoch):
    """config: the image configuration without rootfs; name:tag is what the image is called."""
    layer = tar(layer_entries, epoch)
    packed = compress(layer)
    config = config | {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}"]}}
    blobs = {}

    def add(media_type, content, **more):
        blobs[f"blobs/sha256/{sha256(content)}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{sha256(content)}", "size": len(content)} | more

    def as_json(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    described_config = add("application/vnd.oci.image.config.v1+json", as_json(config))
    described_layer = add("application/vnd.oci.image.layer.v1.tar+gzip", packed)
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": described_config, "layers": [described_layer], "annotations": annotations}
    described_manifest = add(
        manifest["mediaType"], as_json(manifest),
        platform={"architecture": config["architecture"], "os": config["os"]},
        annotations={"io.containerd.image.name": f"{name}:{tag}", "org.opencontainers.image.ref.name": tag})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
             "manifests": [described_manifest]}
    docker = [{"Config": "blobs/sha256/" + described_config["digest"].split(":")[1],
               "Layers": ["blobs/sha256/" + described_layer["digest"].split(":")[1]],
               "RepoTags": [f"{name}:{tag}"]}]
    top = {"oci-layout": as_json({"imageLayoutVersion": "1.0.0"}), "index.json": as_json(index),
           "manifest.json": as_json(docker)}
    return tar({path: (0o644, content) for path, content in (top | blobs).items()}, epoch)
