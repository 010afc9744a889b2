"""Runs optimum-intel's export to OpenVINO, whose quantizer is NNCF, in a python of its own: it
needs PyTorch. SPDX-License-Identifier: MIT"""

import json
import os
import subprocess
from pathlib import Path

# Many folders from one process, as torch takes seconds to import. A checkpoint is traced once and
# the graph compressed once for each form: byte for byte what an export with that form writes.
_EXPORT_ALL = """
import json, sys
from pathlib import Path
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

def load(folder, **how):
    return OVModelForCausalLM.from_pretrained(folder, compile=False, **how)

for source, plain, forms in json.load(sys.stdin):
    load(source, export=True, load_in_8bit=False).save_pretrained(plain)
    for out, options in forms:
        model = load(plain, export=False,
                     quantization_config=OVWeightQuantizationConfig(**options))
        model.save_pretrained(out)
"""


def command(python, source, out, options):
    """The command line of one export: optimum-cli lies beside the python of its venv."""
    return [Path(python).with_name("optimum-cli"), "export", "openvino", "-m", source,
            "--task", "text-generation-with-past", *options, out]


def export_all(python, calls):
    """calls: [(checkpoint, folder of the graph as traced, [(folder, options)])], where options are
    those of OVWeightQuantizationConfig."""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "OPENVINO_TELEMETRY_DISABLED": "1"}
    r = subprocess.run([python, "-c", _EXPORT_ALL], input=json.dumps(calls, default=str), text=True,
                       env=offline, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode != 0:
        raise RuntimeError(f"optimum failed:\n{r.stdout[-4000:]}")
