#!/usr/bin/env python3
"""The rules can fail: each finds what was planted in a small bad tree, and nothing in a good one.
SPDX-License-Identifier: MIT"""

import tempfile
import unittest
from pathlib import Path

import rules

TOP = "set(PQ_ROOMS base wire kern quant ckpt arch tok)\n"
GOOD = "/* Fine. SPDX-License-Identifier: MIT */\n"


class Rules(unittest.TestCase):
    def tree(self, **contents):
        """A tree of sources; `quant__x_c` is src/quant/x.c."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        (root / "CMakeLists.txt").write_text(TOP)
        for name, content in contents.items():
            room, _, leaf = name.partition("__")
            path = root / "src" / room / leaf.replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
        return root

    def finds(self, rule, words, **contents):
        found = rule(self.tree(**contents))
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])

    def passes(self, rule, **contents):
        self.assertEqual(rule(self.tree(**contents)), [])

    def test_includes(self):
        self.passes(rules.includes, quant__a_c='#include "base/mem.h"\n#include "quant/a.h"\n')
        self.finds(rules.includes, "points up", base__a_c='#include "quant/scheme.h"\n')
        self.finds(rules.includes, "sideways", kern__a_c='#include "wire/json.h"\n')
        self.finds(rules.includes, "in no room", kern__a_c='#include "nowhere/json.h"\n')
        self.finds(rules.includes, "not written as", kern__a_c='#include "lanes.h"\n')

    def test_portable(self):
        self.passes(rules.portable, base__a_c="#include <unistd.h>\n",
                    kern__a_c="#include <immintrin.h>\n", wire__a_c="#include <string.h>\n")
        self.finds(rules.portable, "<unistd.h>", wire__a_c="#include <unistd.h>\n")
        self.finds(rules.portable, "<immintrin.h>", quant__a_c="#include <immintrin.h>\n")

    def test_calls(self):
        self.passes(rules.calls, cli__a_c='int main(void) { printf("x"); exit(0); }\n',
                    base__mem_c="free(p);\n",
                    quant__a_c='/* free(p) */ f("exit(1)"); pq_free(p); snprintf(a, 2, "%d", 1);\n')
        self.finds(rules.calls, "strcpy() is banned", cli__a_c="strcpy (a, b);\n")
        self.finds(rules.calls, "printf() is for cli/ only", tok__a_c='printf("x");\n')
        self.finds(rules.calls, "free() goes around", tok__a_c="free(x);\n")

    def test_text(self):
        self.passes(rules.text, base__a_c=GOOD)
        self.finds(rules.text, "no SPDX", base__a_c="int x;\n")
        self.finds(rules.text, "a.c:2: tab", base__a_c=GOOD + "\tint x;\n")
        self.finds(rules.text, "blanks at the end", base__a_c=GOOD + "int x; \n")
        self.finds(rules.text, "no newline", base__a_c=GOOD + "int x;")

    def test_headers(self):
        face = "#ifndef PHIQ_H\n#define PHIQ_H\n{}#endif\n"
        root = self.tree(base__good_h="#ifndef A\n#define A\n#include <stddef.h>\nsize_t f(void);\n"
                                      "#endif\n")
        (root / "include").mkdir()
        (root / "include" / "phiq.h").write_text(face.format("int pq_x(void);\n"))
        self.assertEqual(rules.headers(root), [])
        (root / "src" / "base" / "bad.h").write_text("#ifndef B\n#define B\nsize_t b;\n#endif\n")
        (root / "include" / "phiq.h").write_text(face.format("int pq_y(int *new);\n"))
        self.assertEqual(sorted(w.split(" with ")[0] for w in rules.headers(root)),
                         ["base/bad.h", "phiq.h"])


if __name__ == "__main__":
    unittest.main()
