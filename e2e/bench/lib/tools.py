"""The tools that are measured: which command line each needs. Must not know: how images are made."""

import json
import os
import tempfile
import time

MIRROR = """apiVersion: transship.dev/v1alpha1
kind: ImageMirror
metadata: {{name: bench}}
spec:
  sources:
{sources}
  destinations:
  - prefix: {destination}
    path: "{{repository}}"
"""


class Tool:
    """One tool; `command` gives what a shell runs."""

    name = ""

    def __init__(self, options):
        self.directory = options.tools_directory
        self.transship = options.transship

    def can(self, workload):
        return not workload.converts

    def command(self, workload, source, destination, scratch):
        raise NotImplementedError

    def each(self, workload, source, destination, one, at_once=4):
        """One command for each image, some at once."""
        lines = "\n".join(one.format(source=f"{source}/{repository}:{tag}", destination=f"{destination}/{repository}:{tag}")
                          for repository, tag in workload.images())
        return f"xargs --max-procs={at_once} --delimiter='\\n' --max-args=1 sh -c '$0' <<'END'\n{lines}\nEND\n".replace(
            "sh -c '$0'", "sh -c 'eval \"$0\"'")

    def run(self, workload, registries):
        with tempfile.TemporaryDirectory() as scratch:
            command = self.command(workload, *registries.hosts, scratch)
            begin = time.monotonic()
            child = os.fork()
            if child == 0:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(os.open(f"{scratch}/errors", os.O_WRONLY | os.O_CREAT), 2)
                os.execv("/bin/bash", ["bash", "-c", command])
            _, status, usage = os.wait4(child, 0)
            seconds = time.monotonic() - begin
            if status != 0:
                raise SystemExit(f"{self.name} failed: {command}\n{open(f'{scratch}/errors').read()[-2000:]}")
        return {"seconds": seconds, "resident_mib": usage.ru_maxrss / 1024,
                "cpu_seconds": usage.ru_utime + usage.ru_stime}


class Transship(Tool):
    name = "transship"

    def can(self, workload):
        return True

    def command(self, workload, source, destination, scratch):
        if workload.converts:
            return self.each(workload, source, destination,
                             f"{self.transship} copy --quiet --format oci --compression zstd:3 {{source}} {{destination}}")
        if len(workload.images()) == 1:
            (repository, tag), = workload.images()
            return (f"exec {self.transship} copy --quiet {source}/{repository}:{tag} {destination}/{repository}:{tag}")
        sources = "\n".join(f"  - image: {source}/{repository}:{tag}" for repository, tag in workload.images())
        with open(f"{scratch}/mirror.yaml", "w") as mirror:
            mirror.write(MIRROR.format(sources=sources, destination=destination))
        return f"exec {self.transship} sync --quiet -f {scratch}/mirror.yaml"


class Crane(Tool):
    name = "crane"

    def command(self, workload, source, destination, scratch):
        crane = f"{self.directory}/crane"
        if len(workload.repositories()) == 1:
            repository, = workload.repositories()
            return f"exec {crane} copy --insecure -a -j 16 {source}/{repository} {destination}/{repository}"
        return self.each(workload, source, destination, f"{crane} copy --insecure {{source}} {{destination}}")


class Regctl(Tool):
    name = "regctl"

    def command(self, workload, source, destination, scratch):
        regctl = (f"{self.directory}/regctl --host reg={source},tls=disabled --host reg={destination},tls=disabled"
                  " image copy {source} {destination}")
        return self.each(workload, source, destination, regctl)


class Oras(Tool):
    name = "oras"

    def command(self, workload, source, destination, scratch):
        return self.each(workload, source, destination,
                         f"{self.directory}/oras cp --recursive --from-plain-http --to-plain-http {{source}} {{destination}}")


class Regsync(Tool):
    """For what it is made for: many images in one run."""

    name = "regsync"

    def can(self, workload):
        return super().can(workload) and len(workload.images()) > 1

    def command(self, workload, source, destination, scratch):
        configuration = {
            "version": 1,
            "creds": [{"registry": host, "tls": "disabled"} for host in (source, destination)],
            "defaults": {"parallel": 4},
            "sync": [{"type": "image", "source": f"{source}/{repository}:{tag}",
                      "target": f"{destination}/{repository}:{tag}"} for repository, tag in workload.images()],
        }
        with open(f"{scratch}/regsync.yaml", "w") as file:
            json.dump(configuration, file)
        return f"exec {self.directory}/regsync once --config {scratch}/regsync.yaml"


class Skopeo(Tool):
    name = "skopeo"

    def can(self, workload):
        return True

    def command(self, workload, source, destination, scratch):
        if workload.converts:
            return self.each(workload, source, destination,
                             "skopeo copy --quiet --format oci --dest-compress-format zstd"
                             " --dest-compress-level 3 --src-tls-verify=false --dest-tls-verify=false"
                             " docker://{source} docker://{destination}")
        return self.each(workload, source, destination,
                         "skopeo copy --quiet --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false"
                         " docker://{source} docker://{destination}")


BY_NAME = {tool.name: tool for tool in (Transship, Crane, Regctl, Oras, Regsync, Skopeo)}
