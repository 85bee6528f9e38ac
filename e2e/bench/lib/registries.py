"""The two registries, the proxies before them, and what they were asked. Must not know: tools."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

ACCEPTED = {"accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}

CONFIGURATION = """version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: 127.0.0.1:{port}}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


class Registry:
    """One docker-registry with its own storage."""

    def __init__(self, directory, name):
        self.directory = directory / name
        self.port = free_port()
        self.log = directory / f"{name}.log"
        self.log.touch()
        self.process = None
        self.read = 0
        self.answered = 0

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory.with_suffix(".yml")
        configuration.write_text(CONFIGURATION.format(directory=self.directory, port=self.port))
        self.process = subprocess.Popen(["docker-registry", "serve", configuration],
                                        stdout=self.log.open("a"), stderr=subprocess.STDOUT)
        wait_for(self.port)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def wipe(self):
        self.stop()
        shutil.rmtree(self.directory)
        self.start()

    def requests(self):
        """How many requests were answered so far."""
        # Line by line: what this process holds counts as resident for the tools that it starts.
        with self.log.open(errors="replace") as log:
            log.seek(self.read)
            for line in iter(log.readline, ""):
                self.answered += "response completed" in line
            self.read = log.tell()
        return self.answered

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content

    def push_blob(self, repository, content, digest):
        response, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        location = response.getheader("location").split(f":{self.port}", 1)[1]
        response, _ = self.ask("PUT", f"{location}&digest={digest}", content,
                               {"content-type": "application/octet-stream"})
        assert response.status == 201, response.status

    def push_manifest(self, repository, reference, content, media_type):
        response, _ = self.ask("PUT", f"/v2/{repository}/manifests/{reference}", content,
                               {"content-type": media_type})
        assert response.status == 201, response.status

    def digest(self, repository, tag):
        response, _ = self.ask("HEAD", f"/v2/{repository}/manifests/{tag}", headers=ACCEPTED)
        return response.getheader("docker-content-digest")

    def manifest(self, repository, tag):
        _, content = self.ask("GET", f"/v2/{repository}/manifests/{tag}", headers=ACCEPTED)
        return json.loads(content)


class Registries:
    """Both registries behind their proxies."""

    def __init__(self, directory, milliseconds, tools_directory):
        self.source = Registry(directory, "source")
        self.destination = Registry(directory, "destination")
        self.milliseconds = milliseconds
        self.proxy = f"{tools_directory}/proxy"
        self.proxies = []

    def __enter__(self):
        self.hosts = []
        for registry in (self.source, self.destination):
            shutil.rmtree(registry.directory, ignore_errors=True)
            registry.start()
            if self.milliseconds == 0:
                self.hosts.append(f"127.0.0.1:{registry.port}")
                continue
            port = free_port()
            self.proxies.append(subprocess.Popen(
                [self.proxy, f"127.0.0.1:{port}", f"127.0.0.1:{registry.port}", f"{self.milliseconds / 2}ms"]))
            wait_for(port)
            self.hosts.append(f"127.0.0.1:{port}")
        return self

    def __exit__(self, *_):
        for proxy in self.proxies:
            proxy.terminate()
            proxy.wait()
        self.source.stop()
        self.destination.stop()

    def counts(self):
        """What was answered and moved so far."""
        return {"source_requests": self.source.requests(), "destination_requests": self.destination.requests(),
                "moved_mib": self.moved_mib()}

    def moved_mib(self):
        """MiB between the tool and both registries, in both directions and with what TCP adds. All that this
        machine sends to itself counts; what goes through a proxy is sent twice."""
        loopback = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
        received = int(loopback.split(":", 1)[1].split()[0])
        return received / (2 if self.proxies else 1) / (1024 * 1024)

    def verify(self, workload):
        """Ends the benchmark if an image is not where it should be."""
        if not workload.is_in_place(self.source, self.destination):
            raise SystemExit(f"not every image of {workload.name} is where it should be")
