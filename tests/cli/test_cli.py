"""The command line as a user meets it: words, exit codes, help, completion, JSON.
SPDX-License-Identifier: MIT

Environment: PQ_PHIQ names the program."""

import csv
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHIQ = os.environ["PQ_PHIQ"]
SAMPLE = ROOT / "models" / "phiq-sample"
FIXTURES = ROOT / "tests" / "data" / "fixtures"

EXIT = {"memory": 1, "io": 2, "format": 3, "unsupported": 4, "usage": 5, "cancelled": 6, "exists": 7}


def run(*args):
    return subprocess.run([PHIQ, *map(str, args)], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL)


class Cli(unittest.TestCase):
    def setUp(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="phiq-cli-"))
        self.addCleanup(shutil.rmtree, self.tmp, ignore_errors=True)

    def fails(self, code, words, *args):
        r = run(*args)
        self.assertEqual(r.returncode, EXIT[code], r.stderr)
        self.assertIn(words, r.stderr)
        self.assertEqual(r.stdout if code != "usage" else "", "")
        return r

    def ok(self, *args):
        r = run(*args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def test_unknown_words_suggest_the_nearest(self):
        self.fails("usage", "did you mean quantize?", "quantise", SAMPLE)
        self.fails("usage", "did you mean --precision?", "quantize", SAMPLE, "--precison", "int4")
        self.fails("usage", "has no option --zzzzzz", "quantize", SAMPLE, "--zzzzzz")

    def test_usage(self):
        self.fails("usage", "a verb is needed")
        self.fails("usage", "usage: phiq quantize", "quantize")
        self.fails("usage", "one argument too many", "info", SAMPLE, SAMPLE)
        self.fails("usage", "needs a value", "quantize", SAMPLE, "--to")
        self.fails("usage", "expected a size", "plan", SAMPLE, "--ram", "eight")
        self.fails("usage", "expected a whole number", "quantize", SAMPLE, "-j", "0")
        self.fails("usage", "unknown device", "plan", SAMPLE, "--device", "toaster")

    def test_run(self):
        """One text by every way to ask for it, and what ends it."""
        prompt = "It was a dark and stormy night, and"
        r = json.loads(self.ok("run", SAMPLE, "-p", prompt, "-n", 48, "--kv", "f32", "--json"))
        known = json.loads(self.ok("tokenize", SAMPLE, "-p", prompt, "--json"))
        self.assertEqual(r["prompt_tokens"], known["count"])
        self.assertEqual(len(r["tokens"]), 48)
        self.assertTrue(all(t["logprob"] < 0 for t in r["tokens"]))
        self.assertEqual(r["finish"], "length")
        plain = self.ok("run", SAMPLE, "-p", prompt, "-n", 48, "--kv", "f32", "--quiet")
        self.assertEqual(plain, r["text"] + "\n")
        (self.tmp / "prompt.txt").write_text(prompt)
        self.assertEqual(plain, self.ok("run", SAMPLE, "--file", self.tmp / "prompt.txt", "-n", 48,
                                        "--kv", "f32", "-j", 1))
        piped = subprocess.run([PHIQ, "run", SAMPLE, "-n", "48", "--kv", "f32"], input=prompt,
                               capture_output=True, text=True, timeout=300)
        self.assertEqual(piped.stdout, plain)
        word = r["text"].split()[3]
        cut = json.loads(self.ok("run", SAMPLE, "-p", prompt, "-n", 48, "--kv", "f32", "--json",
                                 "--stop", word))
        self.assertEqual(cut["text"], r["text"][:r["text"].index(word)])
        self.assertEqual(cut["finish"], "stop")
        some = [self.ok("run", SAMPLE, "-p", "The", "-n", 30, "--temperature", 1, "--top-p", 0.9,
                        "--seed", seed) for seed in (1, 1, 2)]
        self.assertEqual(some[0], some[1])
        self.assertNotEqual(some[0], some[2])

    def test_bench(self):
        args = ("bench", SAMPLE, "--prompts", "32,8", "--generate", 4, "--repeat", 2, "-j", 2)
        r = json.loads(self.ok(*args, "--json"))
        self.assertEqual([r[k] for k in ("generated_tokens", "repeats", "threads")], [4, 2, 2])
        tests = [(t["test"], t["prompt_tokens"]) for t in r["tests"]]
        self.assertEqual(tests, [("prompt", 32), ("prompt", 8), ("generation", 32),
                                 ("generation", 8)])
        for t in r["tests"]:
            for key, v in t.items():
                if isinstance(v, dict):
                    self.assertTrue(0 < v["min"] <= v["median"] <= v["max"], key)
        deep, shallow = (t["token_bytes"] for t in r["tests"][2:])
        self.assertTrue(10e6 < shallow < deep < shallow * 1.1)
        rate = r["tests"][0]["tokens_per_second"]["median"]
        self.assertAlmostEqual(r["tests"][0]["macs_per_second"]["median"] / rate, r["token_macs"],
                               delta=1)
        rows = list(csv.DictReader(io.StringIO(self.ok(*args, "--csv"))))
        self.assertEqual([(t["test"], int(t["prompt_tokens"])) for t in rows], tests)
        self.assertTrue(all(float(t["share"]) > 0 for t in rows))
        text = self.ok("bench", SAMPLE, "-p", 0, "-n", 2, "-r", 1)
        self.assertIn("2 after 0", text)
        self.assertNotIn("prompt of", text)

    def test_bench_refuses(self):
        self.fails("usage", "expected 1 to", "bench", SAMPLE, "-p", 1000000)
        self.fails("usage", "expected 1 to 64", "bench", SAMPLE, "-r", 65)
        for words, lengths in (("such as 128,512", "12,"), ("such as 128,512", "-3"),
                               ("such as 128,512", "8x"), ("more than 8", "1,2,3,4,5,6,7,8,9")):
            self.fails("usage", words, "bench", SAMPLE, "--prompts", lengths)
        self.fails("usage", "only one of them", "bench", SAMPLE, "--json", "--csv")

    def chat(self, text, *args):
        r = subprocess.run([PHIQ, "chat", SAMPLE, "-n", "12", *map(str, args)], input=text,
                           capture_output=True, text=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r

    def test_chat(self):
        """What is saved is what was said; a turn sees all before it, /reset and /system do not."""
        saved = self.tmp / "chat.json"
        r = self.chat(f"Hello\\\nthere\nAgain\n/save {saved}\n")
        doc = json.loads(saved.read_text())
        said = [m["content"] for m in doc["messages"]]
        self.assertEqual([m["role"] for m in doc["messages"]], ["user", "assistant"] * 2)
        self.assertEqual([said[0], said[2]], ["Hello\nthere", "Again"])
        self.assertEqual(r.stdout, f"{said[1]}\n{said[3]}\n")
        # the same turns from nothing: what is kept of the session changes nothing
        for n in (1, 3):
            whole = json.loads(self.ok("run", SAMPLE, "-n", 12, "--json", "--chat",
                                       json.dumps(doc["messages"][:n])))
            self.assertEqual(whole["text"], said[n])
        first = self.chat("Again\n").stdout
        self.assertEqual(self.chat("Hello\n/reset\nAgain\n").stdout.splitlines()[-1],
                         first.splitlines()[-1])
        (self.tmp / "start.json").write_text(json.dumps({"messages": doc["messages"][:2]}))
        self.assertEqual(self.chat("Again\n", "--chat", self.tmp / "start.json").stdout,
                         f"{said[3]}\n")
        again = self.tmp / "system.json"
        self.chat(f"Hello\n/system Be kind.\nAgain\n/save {again}\n")
        roles = [m["role"] for m in json.loads(again.read_text())["messages"]]
        self.assertEqual(roles, ["system", "user", "assistant"])

    def test_example_says_what_chat_says(self):
        """examples/chat.c, through the shared library."""
        example = os.environ["PQ_EXAMPLE"]
        r = subprocess.run([example, SAMPLE, "Hello there", "Again"], capture_output=True,
                           text=True, timeout=300)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertEqual(r.stdout, self.chat("Hello there\nAgain\n", "-n", 256).stdout)
        r = subprocess.run([example, self.tmp / "none", "Hello"], capture_output=True, text=True)
        self.assertEqual((r.returncode, r.stdout), (1, ""))
        self.assertIn("none", r.stderr)

    def test_chat_goes_on_after_a_failure(self):
        r = self.chat("/nope\n/save\n" + "word " * 300 + "\nHello\n", "--context-size", 60)
        for words in ("no command /nope", "/save needs a file's name", "/reset begins anew"):
            self.assertIn(words, r.stderr)
        self.assertEqual(r.stdout, self.chat("Hello\n", "--context-size", 60).stdout)
        self.fails("usage", "template", "chat", SAMPLE, "--template", "nope")

    def test_run_refuses(self):
        self.fails("usage", "expected f16, f32 or int8", "run", SAMPLE, "-p", "x", "--kv", "q3")
        self.fails("usage", "only one of them", "run", SAMPLE, "-p", "x", "--file", "y")
        self.fails("usage", "do not fit the context of 8 tokens", "run", SAMPLE, "-p", "word " * 20,
                   "--context-size", 8)
        self.fails("usage", "the model was made for", "run", SAMPLE, "-p", "x", "--context-size",
                   1000000)
        self.fails("usage", "not below 0", "run", SAMPLE, "-p", "x", "--temperature", "-1")
        self.fails("io", "cannot open", "run", SAMPLE, "--file", self.tmp / "none")

    def test_missing_and_wrong_inputs(self):
        self.fails("io", "no-such-folder", "info", self.tmp / "no-such-folder")
        (self.tmp / "empty").mkdir()
        r = run("info", self.tmp / "empty")
        self.assertIn(r.returncode, (EXIT["io"], EXIT["format"], EXIT["unsupported"]))
        self.assertIn("empty", r.stderr)
        self.fails("unsupported", "phimoe", "quantize", FIXTURES / "phimoe", "-o", self.tmp / "out")
        self.assertFalse((self.tmp / "out").exists())

    def test_every_verb_has_help(self):
        verbs = [line.split()[0] for line in self.ok("help").splitlines()
                 if line.startswith("  ") and not line.startswith("  phiq")]
        self.assertIn("quantize", verbs)
        for verb in verbs:
            self.assertIn(f"usage: phiq {verb}", self.ok("help", verb))
            self.assertIn(f"usage: phiq {verb}", self.ok(verb, "--help"))
        for topic in ("schemes", "devices", "exit-codes"):
            self.assertGreater(len(self.ok("help", topic).splitlines()), 4)

    def test_completion_scripts_parse(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.ok("completion", shell)
            self.assertIn("quantize", script)
            if shutil.which(shell):
                subprocess.run([shell, "-n"], input=script, text=True, check=True)
        self.fails("usage", "unknown shell", "completion", "tcsh")

    def test_quantize_prints_a_table_and_json(self):
        out = self.tmp / "out"
        text = self.ok("quantize", SAMPLE, "--to", "gguf,mlx", "-o", out)
        self.assertIn("bits/weight", text)
        self.assertTrue((out / "mlx" / "model.safetensors").exists())
        self.assertEqual(len(list((out / "gguf").glob("*.gguf"))), 1)
        self.assertEqual([p for p in out.rglob("*.part")], [])
        self.fails("exists", "--force", "quantize", SAMPLE, "--to", "mlx", "-o", out)
        report = json.loads(self.ok("quantize", SAMPLE, "--to", "mlx", "-o", out, "--json", "-f"))
        (target,) = report["targets"]
        size = sum(p.stat().st_size for p in (out / "mlx").iterdir())
        self.assertEqual(target["bytes"], size)
        self.assertTrue(0.0 < target["rel_rms_error"] < 0.15)

    def test_quiet_is_quiet(self):
        r = run("quantize", SAMPLE, "--to", "gguf", "-o", self.tmp, "--quiet")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "", ""))

    def test_dry_run_equals_what_is_written(self):
        plan = json.loads(self.ok("quantize", SAMPLE, "-o", self.tmp / "o", "--dry-run", "--json"))
        self.assertFalse((self.tmp / "o").exists())
        done = json.loads(self.ok("quantize", SAMPLE, "-o", self.tmp / "o", "--json"))
        for a, b in zip(plan["targets"], done["targets"], strict=True):
            self.assertEqual(a["files"], b["files"])
            for f in b["files"]:
                path = next((self.tmp / "o" / b["target"]).glob(f["name"]))
                self.assertEqual(path.stat().st_size, f["bytes"])

    def test_info_of_everything_that_was_written(self):
        self.ok("quantize", SAMPLE, "-o", self.tmp, "--quiet")
        source = json.loads(self.ok("info", SAMPLE, "--json"))
        for path in [*(self.tmp / "gguf").glob("*.gguf"), self.tmp / "mlx"]:
            info = json.loads(self.ok("info", path, "--json", "--tensors"))
            self.assertEqual(info["weights"], source["weights"])
            same = set(source["network"]) - {"dtype"}
            self.assertEqual({k: info["network"][k] for k in same},
                             {k: source["network"][k] for k in same}, path)
            self.assertIn("tokenizer", self.ok("info", path))

    def test_plan_advises(self):
        text = self.ok("plan", SAMPLE, "--device", "phone")
        self.assertIn("INT4", text)
        doc = json.loads(self.ok("plan", SAMPLE, "--device", "aipc", "--ram", "16G", "--json"))
        self.assertIn("--precision fp32", doc["advice"])
        small = json.loads(self.ok("plan", SAMPLE, "--device", "iot", "--ram", "1M", "--json"))
        self.assertIn("does not fit", small["advice"])

    def test_compare(self):
        self.ok("quantize", SAMPLE, "--to", "gguf", "-p", "int8", "-o", self.tmp, "--quiet")
        gguf = next((self.tmp / "gguf").glob("*.gguf"))
        doc = json.loads(self.ok("compare", SAMPLE, gguf, "--json"))
        self.assertTrue(0 < doc["rel_rms_error"] < 0.01)
        self.assertTrue(json.loads(self.ok("compare", gguf, gguf, "--json"))["equal"])
        self.fails("usage", "not the same network", "compare", SAMPLE, FIXTURES / "phi2")

    def test_tokenize(self):
        def ids(*args):
            doc = json.loads(self.ok("tokenize", SAMPLE, *args, "--json"))
            self.assertEqual(doc["count"], len(doc["tokens"]))
            return [t["id"] for t in doc["tokens"]]
        text = "Once upon a time, there was a little girl."
        want = [1, 3003, 610, 261, 543, 3986, 450, 312, 261, 463, 783, 3989]
        self.assertEqual(ids("-p", text), want)
        (self.tmp / "text").write_text(text)
        self.assertEqual(ids("--file", self.tmp / "text"), want)
        self.ok("quantize", SAMPLE, "--to", "gguf", "-o", self.tmp, "--quiet")
        gguf = next((self.tmp / "gguf").glob("*.gguf"))
        same = json.loads(self.ok("tokenize", gguf, "-p", text, "--json"))["tokens"]
        self.assertEqual([t["id"] for t in same], want)
        self.assertIn("\u2581Once", self.ok("tokenize", SAMPLE, "-p", text))
        talk = json.dumps([{"role": "user", "content": "Hi"}])
        (self.tmp / "talk.json").write_text(talk)
        chat = ids("--chat", talk)
        self.assertEqual(chat[:2], [1, 4074])
        self.assertEqual(ids("--chat", self.tmp / "talk.json"), chat)
        doc = json.loads(self.ok("tokenize", SAMPLE, "--chat", talk, "--template", "phi4", "--json"))
        self.assertEqual(doc["text"], "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>")

    def test_tokenize_refuses(self):
        talk = json.dumps([{"role": "user", "content": "Hi"}])
        self.fails("usage", "one of --prompt, --file and --chat", "tokenize", SAMPLE)
        self.fails("usage", "one of --prompt, --file and --chat", "tokenize", SAMPLE, "-p", "x", "--chat", talk)
        self.fails("usage", "no chat template", "tokenize", FIXTURES / "phi2", "--chat", talk)
        self.fails("usage", "unknown chat template", "tokenize", SAMPLE, "--chat", talk, "--template", "x")
        self.fails("usage", "message 0", "tokenize", SAMPLE, "--chat", "[{}]")
        self.fails("format", "conversation:1", "tokenize", SAMPLE, "--chat", "[{")
        self.fails("io", "nowhere", "tokenize", SAMPLE, "--file", self.tmp / "nowhere")

    def test_interrupt_leaves_nothing(self):
        for delay in (0.0, 0.01, 0.03):
            out = self.tmp / "int"
            p = subprocess.Popen([PHIQ, "quantize", str(SAMPLE), "-o", str(out), "-j", "1",
                                  "--cpu", "c", "-q"], stderr=subprocess.PIPE)
            time.sleep(delay)
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=60)
            if p.returncode == 0:
                shutil.rmtree(out)
                continue
            files = [f for f in out.rglob("*") if f.is_file()] if out.exists() else []
            self.assertEqual(files, [])


if __name__ == "__main__":
    unittest.main()
