"""The images that are copied. Must not know: tools, proxies."""

import hashlib
import json
import random

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

    def __init__(self, name, content):
        self.name = name
        self.content = content

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


BY_NAME = {"large": large, "platforms": platforms, "tags": tags, "repositories": repositories}
