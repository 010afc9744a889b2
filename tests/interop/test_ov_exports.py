"""optimum-intel's own folders as a source: what phiq reads in them computes what they compute.
PyTorch makes them, in a python of its own that PQ_OPTIMUM_PYTHON names.
SPDX-License-Identifier: MIT"""

import os
import shutil
import unittest

from common import NAMES, Golden, InteropTest, checkpoint, phiq, quantize
from openvino_runtime import OpenVino
from real_optimum import export_all

# Float32 arithmetic; the plugin rounds some scales and products to half precision.
TOLERANCE = 2e-2
EXACT = 1e-3

FORMS = {
    "int8": {"bits": 8, "sym": False},
    "int8-sym": {"bits": 8, "sym": True},
    "int4-sym-g128": {"bits": 4, "sym": True, "group_size": 128, "ratio": 1.0},
    "int4-mixed-g64": {"bits": 4, "sym": False, "group_size": 64, "ratio": 0.6},
    "int4-rows": {"bits": 4, "sym": False, "group_size": -1, "ratio": 1.0},
    "int4-all-g256": {"bits": 4, "sym": False, "group_size": 256, "ratio": 1.0,
                      "all_layers": True},
    "int4-awq": {"bits": 4, "sym": False, "group_size": 64, "ratio": 1.0, "quant_method": "awq"},
}
QUANTIZED = ("phi2", "phi4-mini", "sample")


@unittest.skipUnless(os.environ.get("PQ_OPTIMUM_PYTHON"),
                     "PQ_OPTIMUM_PYTHON names no python with torch and optimum-intel")
class Exports(InteropTest):
    def export(self):
        """{(name, form): folder}; the form "fp32" is the graph as traced."""
        out, calls = {}, []
        for name in (*NAMES, "sample"):
            plain = out[name, "fp32"] = self.tmp / name
            forms = FORMS if name in QUANTIZED else {}
            out |= {(name, form): self.tmp / f"{name}-{form}" for form in forms}
            calls.append((checkpoint(name), plain,
                          [(out[name, form], options) for form, options in forms.items()]))
        export_all(os.environ["PQ_OPTIMUM_PYTHON"], calls)
        for (name, _), folder in out.items():
            for p in checkpoint(name).iterdir():
                if "token" in p.name or p.name in ("vocab.json", "merges.txt"):
                    shutil.copy(p, folder)
        return out

    def test_same_logits(self):
        for (name, form), theirs in self.export().items():
            with self.subTest(name, form=form):
                if form == "fp32":
                    self.assertIn("(equal)", phiq("compare", checkpoint(name), theirs).stdout)
                ours = quantize(theirs, self.tmp / "ours", "openvino", "-s", "f32", "--force")
                for ids in Golden(name).prompts.values():
                    self.assert_close(OpenVino(theirs).logits(ids), OpenVino(ours).logits(ids),
                                      EXACT if form == "fp32" else TOLERANCE)


if __name__ == "__main__":
    unittest.main()
