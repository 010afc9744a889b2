"""The oracle itself is right: it reproduces what Hugging Face computed for every checkpoint here.
SPDX-License-Identifier: MIT"""

import unittest

from common import NAMES, Golden, InteropTest, checkpoint, read_config, read_weights
from reference import Phi, Rule


class Oracle(InteropTest):
    def test_logits_and_greedy_tokens(self):
        for name in (*NAMES, "sample"):
            with self.subTest(name):
                folder, golden = checkpoint(name), Golden(name)
                phi = Phi(read_config(folder), read_weights(folder))
                for n, ids in golden.prompts.items():
                    self.assert_close(golden.logits[n], phi.logits(ids), 1e-4, f"{name} at {n}")
                made = phi.greedy(golden.prompts[golden.shortest], golden.new_tokens)
                self.assertEqual(made, golden.greedy)

    def test_the_rules_matter(self):
        """The switches change what they are there to change: equality under them means much."""
        for name, rule in (("phi3-mini-4k", Rule(window=False)),
                           ("phi3-mini-128k-sharded", Rule(rope="long")),
                           ("phi4-mini", Rule(rope="long"))):
            with self.subTest(name):
                folder, golden = checkpoint(name), Golden(name)
                phi = Phi(read_config(folder), read_weights(folder))
                n = golden.shortest
                other = phi.logits(golden.prompts[n], rule)
                self.assertGreater(abs(other - golden.logits[n]).max(), 0.1)


if __name__ == "__main__":
    unittest.main()
