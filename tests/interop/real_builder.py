"""Runs onnxruntime-genai's model builder in a python of its own: it needs PyTorch.
SPDX-License-Identifier: MIT"""

import json
import subprocess

# Many folders from one process, as torch takes seconds to import; each is the whole command.
_BUILD_ALL = """
import json, runpy, sys
for arguments in json.load(sys.stdin):
    sys.argv = ["builder", *arguments]
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")
"""


def arguments(source, out, precision, provider="cpu", options=()):
    """Of one folder. -c keeps temporary files out of the current folder."""
    extra = ("--extra_options", *options) if options else ()
    return ["-i", str(source), "-o", str(out), "-p", precision, "-e", provider,
            "-c", str(out.parent / "cache"), *extra]


def build_all(python, calls):
    r = subprocess.run([python, "-c", _BUILD_ALL], input=json.dumps(calls), text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode != 0:
        raise RuntimeError(f"the builder failed:\n{r.stdout[-4000:]}")
