"""What a figure was measured on."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform


def describe_machine(*packages):
    """Two lines: the machine, and the versions of those packages that are installed."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        rows = dict(row.split(":", 1) for row in cpuinfo.read_text().splitlines() if ":" in row)
        fields = {key.strip(): value.strip() for key, value in rows.items()}
        flags = fields.get("flags", "").split()
        extras = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
        model = f"{fields.get('model name', model)} ({', '.join(extras) or 'no AVX-512'})"
        # Clouds give many generations of processors one name.
        if "cpu family" in fields:
            model += f", family {fields['cpu family']} model {fields['model']}"
    versions = []
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    # TensorFlow has oneDNN's kernels off by default on x86 without VNNI.
    one_dnn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "not set")
    return (
        f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}\n"
        f"{', '.join(versions)} | Keras backend: {backend}, "
        f"TF_ENABLE_ONEDNN_OPTS: {one_dnn}"
    )
