"""phiq report in a real browser: everything drawn, no complaints, in light and dark, on a wide screen
and on a phone; hostile words stay words; nothing runs that is not the page's own.
SPDX-License-Identifier: MIT

Environment: PQ_CHROMIUM names the browser (default: chromium of the PATH)."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from common import SAMPLE, InteropTest, phiq, phiq_program, quantize
from png import read_png

CHROMIUM = os.environ.get("PQ_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
THEMES = {"light": 1, "dark": 0}  # Chromium's numbers of preferredColorScheme
MARKS = {"light": {"gguf": 0x2a78d6, "mlx": 0xeb6834, "onnx": 0x1baf7a, "openvino": 0x4a3aa7},
         "dark": {"gguf": 0x3987e5, "mlx": 0xd95926, "onnx": 0x199e70, "openvino": 0x9085e9}}
PAGE = {"light": 0xf9f9f7, "dark": 0x0d0d0d}
QUICK = ("--window", 64, "--windows", 4)
EXIT_CANCELLED = 6


class Dom(HTMLParser):
    """Elements of a page as (tag, attributes), and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.inside = [], [], None
        self.feed(text)
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)

    def having(self, name):
        """Elements with this class."""
        return [(t, a) for t, a in self.elements if name in a.get("class", "").split()]

    def count(self, tag):
        return sum(t == tag for t, _ in self.elements)


@functools.cache
def usual_page():
    """Made once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="phiq-report-"))
    unittest.addModuleCleanup(shutil.rmtree, folder, ignore_errors=True)
    phiq("report", SAMPLE, "--precisions", "fp16,int8,int4", *QUICK, "-o", folder / "report.html")
    return folder / "report.html"


def document_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script', page.read_text(), re.S).group(1))


@unittest.skipUnless(CHROMIUM, "no Chromium here (scripts/setup.sh tests installs it where it can)")
class Browser(InteropTest):
    @classmethod
    def setUpClass(cls):
        cls.page = usual_page()

    def chromium(self, page, theme, *options):
        """Standard output; what the page says on its console goes to self.console."""
        r = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--enable-logging=stderr", "--virtual-time-budget=3000",
             f"--user-data-dir={self.tmp / 'profile'}",
             f"--blink-settings=preferredColorScheme={THEMES[theme]}", *options, page.as_uri()],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.console = [line for line in r.stderr.splitlines() if "CONSOLE" in line]
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def dom(self, page, theme="light"):
        return Dom(self.chromium(page, theme, "--dump-dom"))

    def picture(self, theme, width, height):
        path = self.tmp / f"{theme}-{width}.png"
        self.chromium(self.page, theme, f"--window-size={width},{height}", f"--screenshot={path}")
        self.assertEqual(self.console, [])
        pixels = read_png(path)[:, :, :3].astype(np.uint32)
        self.assertEqual(pixels.shape[:2], (height, width))
        return pixels[:, :, 0] << 16 | pixels[:, :, 1] << 8 | pixels[:, :, 2]


class Drawn(Browser):
    def check(self, theme):
        dom, doc = self.dom(self.page, theme), document_of(self.page)
        self.assertEqual(self.console, [])
        self.assertEqual(dict(dom.elements)["html"].get("data-ready"), "yes")
        self.assertEqual(len(doc["rows"]), 12)
        marks = dom.having("mark")
        self.assertEqual(sorted(int(a["data-row"]) for _, a in marks), list(range(12)))
        self.assertEqual(len(dom.having("pick")), 12)
        self.assertEqual(len(dom.having("chosen-mark")), 1)
        for target in MARKS[theme]:
            self.assertEqual(len([m for m in marks if f"c-{target}" in m[1]["class"]]), 3)
        for _, a in marks:
            self.assertRegex(a["aria-label"], "KL divergence (equal|[0-9])")
        matrices = sum(t["matrix"] for t in doc["tensors"])
        self.assertEqual(len(dom.having("cell")), matrices)
        tokens = [t for t in dom.having("token") if t[1].get("role") == "button"]
        self.assertEqual(len(tokens), len(doc["tokens"]["top"]))
        self.assertGreater(len({a["style"] for _, a in tokens}), 10)
        for words in ("phiq-sample", "Q4_K_M", *[d["advice"] for d in doc["devices"]],
                      *doc["commands"]):
            self.assertTrue(words in dom.text, f"no \"{words}\" on the page")
        for words in ("undefined", "NaN", "Infinity", "[object"):
            self.assertFalse(words in dom.text, words)

    def test_light(self):
        self.check("light")

    def test_dark(self):
        self.check("dark")

    def test_given_outputs(self):
        """Files that are there already, without precisions' names."""
        outputs = [quantize(SAMPLE, self.tmp, t, "-p", "int4") for t in ("gguf", "onnx")]
        page = self.tmp / "given.html"
        phiq("report", SAMPLE, *outputs, *QUICK, "-o", page)
        dom = self.dom(page)
        self.assertEqual(self.console, [])
        self.assertEqual(dict(dom.elements)["html"].get("data-ready"), "yes")
        self.assertEqual(len(dom.having("mark")), 2)
        self.assertTrue(outputs[0].name in dom.text)
        self.assertTrue(all(path.exists() for path in outputs))

    def test_commands_make_the_numbers_again(self):
        """Those of one row, run as they stand on the page."""
        [row] = [r for r in document_of(self.page)["rows"]
                 if (r["target"], r["precision"]) == ("gguf", "int4")]
        (self.tmp / "sample.txt").write_text(phiq("help", "sample-text").stdout)
        for line in row["commands"]:
            line = line.replace("phiq ", f"'{phiq_program()}' ", 1) + " --json"
            r = subprocess.run(line, shell=True, cwd=self.tmp, capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stderr)
            made = json.loads(r.stdout)
            if "kl_divergence" in made:
                self.assertAlmostEqual(made["kl_divergence"]["mean"] / row["kl_divergence"]["mean"],
                                       1, delta=1e-3)
        self.assertAlmostEqual(made["rel_rms_error"], row["rel_rms_error"], delta=1e-5)


class Pictures(Browser):
    def check(self, theme, width, height):
        colours, n = np.unique(self.picture(theme, width, height), return_counts=True)
        share = dict(zip(colours.tolist(), (n / n.sum()).tolist()))
        self.assertGreater(len(colours), 300)  # letters have soft edges
        self.assertGreater(share.get(PAGE[theme], 0), 0.05)
        self.assertLess(max(share.values()), 0.9, "nearly empty")
        for target, colour in MARKS[theme].items():
            self.assertGreater(share.get(colour, 0) * width * height, 150, f"no {target}")

    def test_wide_and_narrow_in_both_themes(self):
        for theme in THEMES:
            for width, height in ((1280, 1600), (500, 2600)):
                with self.subTest(theme=theme, width=width):
                    self.check(theme, width, height)

    def test_what_is_below(self):
        """The heat map and the coloured text are where the page is longest."""
        pixels = self.picture("light", 1280, 6200)
        below = pixels[2200:]
        red, green, blue = below >> 16, below >> 8 & 255, below & 255
        hot = (red > green + 40) & (green < blue + 60) & (red > 140)
        self.assertGreater(int(hot.sum()), 3000)


class Hostile(Browser):
    NAME = "x\"><img src=x onerror=alert(1)><!--"
    TEXT = "</script><script>document.documentElement.dataset.evil=1</script><img src=x> & <b>" * 40

    def test_words_stay_words(self):
        model, text, page = self.tmp / self.NAME, self.tmp / "<i>.txt", self.tmp / "page.html"
        shutil.copytree(SAMPLE, model)
        text.write_text(self.TEXT)
        phiq("report", model, "--precisions", "gguf:q4_0", "--text", text, *QUICK, "-o", page)
        dom = self.dom(page)
        self.assertEqual(self.console, [])
        self.assertEqual([dom.count("img"), dom.count("i") - len(dom.having("bit"))],
                         [0, 10])  # bars of what was expected
        self.assertNotIn("data-evil", dict(dom.elements)["html"])
        self.assertEqual(dom.count("script"), 2)
        self.assertTrue(self.NAME in dom.text)

    def test_nothing_else_runs(self):
        """The policy stops what got into the page by other ways."""
        page = self.tmp / "page.html"
        page.write_text(self.page.read_text().replace(
            "</body>", "<script>document.documentElement.dataset.evil=1</script>"
            "<img src='http://127.0.0.1:9/x.png'></body>"))
        self.assertNotIn("data-evil", dict(self.dom(page).elements)["html"])
        self.assertIn("Content Security Policy", " ".join(self.console))


class Cancelled(InteropTest):
    def test_nothing_is_left(self):
        hit = 0
        for delay in (0.3, 0.8, 1.5):
            with subprocess.Popen([phiq_program(), "report", SAMPLE, "-o", self.tmp / "r.html"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True) as child:
                time.sleep(delay)
                child.send_signal(signal.SIGINT)
                words = child.stderr.read()
            if child.returncode == -signal.SIGINT:  # before the handler was there
                continue
            hit += 1
            self.assertEqual(child.returncode, EXIT_CANCELLED, words)
            self.assertEqual(list(self.tmp.iterdir()), [], "left behind")
        self.assertGreater(hit, 0)


if __name__ == "__main__":
    unittest.main()
