"""The images that are copied. Must not know: tools, proxies."""

import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
KIB, MIB = 1024, 1024 * 1024


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type, content, **more):
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


def layer(seed, size):
    """Bytes that cannot be compressed, the same in every run."""
    source = random.Random(seed)
    return b"".join(source.randbytes(min(8 * MIB, size - at)) for at in range(0, size, 8 * MIB))


class Workload:
    """Images by repository and tag; each is a list of platforms, each a list of (seed, size)."""

    # Whether the tools are asked for zstd at level 3 in the OCI format, instead of the same bytes.
    converts = False

    def __init__(self, name, content):
        self.name = name
        self.content = content

    def uncompressed_mib(self):
        """What a conversion has to unpack; nothing here."""
        return 0

    def is_in_place(self, source, destination):
        return all(source.digest(*image) == destination.digest(*image) is not None for image in self.images())

    def images(self):
        return self.content.keys()

    def repositories(self):
        return sorted({repository for repository, _ in self.content})

    def push(self, registry):
        known = set()

        def blob(repository, content):
            key = (repository, sha256(content))
            if key not in known:
                known.add(key)
                registry.push_blob(repository, content, key[1])

        for (repository, tag), platforms in self.content.items():
            entries = []
            for number, layers in enumerate(platforms):
                descriptors = []
                for seed, size in layers:
                    content = layer(seed, size)
                    blob(repository, content)
                    descriptors.append(descriptor(LAYER, content))
                architecture = ["amd64", "arm64", "ppc64le", "s390x"][number]
                config = json.dumps({"os": "linux", "architecture": architecture,
                                     "image": f"{repository}:{tag}"}).encode()
                blob(repository, config)
                manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                                       "config": descriptor(CONFIG, config), "layers": descriptors}).encode()
                registry.push_manifest(repository, sha256(manifest), manifest, MANIFEST)
                entries.append(descriptor(MANIFEST, manifest,
                                          platform={"os": "linux", "architecture": architecture}))
            index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
            registry.push_manifest(repository, tag, index, INDEX)


def large():
    """One image of 1.5 GiB."""
    layers = [(f"large {number}", 384 * MIB) for number in range(4)]
    return Workload("large", {("bench/large", "v1"): [layers]})


def platforms():
    """Four platforms of ten layers of 8 MiB."""
    return Workload("platforms", {("bench/platforms", "v1"): [
        [(f"platform {platform} {number}", 8 * MIB) for number in range(10)] for platform in range(4)]})


def tags():
    """A hundred tags of two platforms: two layers of their own each, and one base for each platform."""
    return Workload("tags", {("bench/tags", f"v{tag}"): [
        [(f"base {platform}", 2 * MIB)] + [(f"{tag} {platform} {number}", 32 * KIB) for number in range(2)]
        for platform in range(2)] for tag in range(100)})


def repositories():
    """Forty repositories of one image: five layers that all share, two of their own."""
    return Workload("repositories", {(f"bench/app{number}", "v1"): [
        [(f"shared {shared}", 2 * MIB) for shared in range(5)]
        + [(f"app {number} {own}", 64 * KIB) for own in range(2)]] for number in range(40)})


class Conversion(Workload):
    """One image of four layers of gzip with Go's own files, which are compressed anew with zstd."""

    converts = True
    LAYERS = 4

    def __init__(self):
        super().__init__("conversion", {("bench/conversion", "v1"): None})
        self.root = Path(subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip())

    def push(self, registry):
        files = sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        layers, diff_ids = [], []
        for number in range(self.LAYERS):
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as archive:
                for path in files[number::self.LAYERS]:
                    entry = tarfile.TarInfo(str(path.relative_to(self.root)))
                    entry.size = path.stat().st_size
                    with path.open("rb") as file:
                        archive.addfile(entry, file)
            diff_ids.append(sha256(content.getvalue()))
            packed = gzip.compress(content.getvalue(), 6, mtime=0)
            registry.push_blob("bench/conversion", packed, sha256(packed))
            layers.append(descriptor(LAYER, packed))
        config = json.dumps({"os": "linux", "architecture": "amd64",
                             "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        registry.push_blob("bench/conversion", config, sha256(config))
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                               "config": descriptor(CONFIG, config), "layers": layers}).encode()
        registry.push_manifest("bench/conversion", "v1", manifest, MANIFEST)

    def uncompressed_mib(self):
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()) / MIB

    def is_in_place(self, source, destination):
        manifest = destination.manifest("bench/conversion", "v1")
        wanted = source.manifest("bench/conversion", "v1")
        return (manifest["config"]["digest"] == wanted["config"]["digest"]
                and all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"]))


BY_NAME = {"large": large, "platforms": platforms, "tags": tags, "repositories": repositories,
           "conversion": Conversion}
