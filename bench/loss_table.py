"""Contests and tables of bench/loss_vs_peers.py, as Markdown. SPDX-License-Identifier: MIT"""

from dataclasses import asdict, dataclass, field

from loss_make import NOT_MADE, Made
from loss_rows import Row

AIM = 0.7
SAME_SIZE = 1.0005  # of bits per weight: graphs and headers differ by a few bytes
CONTAINERS = {"gguf": "GGUF", "mlx": "MLX", "onnx": "ONNX", "openvino": "OpenVINO"}
HEAD = ("", "output", "bytes", "bits/weight", "perplexity", "mean KLD", "± 95 %", "top-1",
        "CPU s", "peak MB", "phiq at no more bits", "KLD ratio")


@dataclass
class Result:
    row: Row
    made: Made
    size: dict = field(default_factory=dict)
    loss: dict = field(default_factory=dict)     # by name of the text

    @property
    def name(self):
        return f"{self.row.maker} {self.row.name}"

    @property
    def bits(self):
        return self.size["bits_per_weight"]

    def kld(self, text):
        return self.loss[text]["kl_divergence"]["mean"]

    def document(self):
        keep = ("perplexity", "reference_perplexity", "kl_divergence", "top1_agreement", "flips",
                "log_perplexity_ratio", "windows", "scored_tokens")
        loss = {t: {k: d[k] for k in keep} for t, d in self.loss.items()}
        return asdict(self.row) | self.size | {
            "command": " ".join(map(str, self.row.command)), "loss": loss,
            "seconds": self.made.seconds, "cpu_seconds": self.made.cpu,
            "peak_bytes": self.made.peak, "error": self.made.error}


class Contest:
    """All outputs of one container at one precision."""

    def __init__(self, container, bits, results, text):
        self.title = f"{CONTAINERS[container]}, {bits}-bit"
        self.text = text
        good = [r for r in results if not r.made.error]
        self.failed = [r for r in results if r.made.error]
        self.results = sorted(good, key=lambda r: r.kld(text))
        self.ours = [r for r in self.results if r.row.maker == "phiq"]
        self.theirs = [r for r in self.results if r.row.maker != "phiq"]

    def match(self, peer):
        """phiq's nearest output that is no larger, or None."""
        fits = [r for r in self.ours if r.bits <= peer.bits * SAME_SIZE]
        return fits[0] if fits else None

    def pairs(self):
        return [(p, m) for p in self.theirs if (m := self.match(p))]

    def ratio(self, pair, text=None):
        peer, mine = pair
        return mine.kld(text or self.text) / peer.kld(text or self.text)

    def hardest(self):
        """The pair in which phiq does worst."""
        return max(self.pairs(), key=self.ratio, default=None)

    def shown_twice(self):
        """The pairs measured on the second text: the hardest, and each maker's nearest."""
        first = {p.row.maker: (p, m) for p, m in reversed(self.pairs())}
        found = [*first.values(), self.hardest()] if first else []
        return list({p.name: (p, m) for p, m in found}.values())


def table(head, rows, left=2):
    """Markdown, the first columns aligned left."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *rows))


def cells(contest, r):
    d, m = r.loss[contest.text], None
    if r.row.maker != "phiq":
        m = contest.match(r)
    k, t = d["kl_divergence"], d["top1_agreement"]
    return (r.row.maker, r.row.name, f"{r.size['bytes']:,}", f"{r.bits:.3f}",
            f"{d['perplexity']['token']:.2f}", f"{k['mean']:.5f}", f"{k['ci95']:.5f}",
            f"{100 * t['mean']:.1f} %", f"{r.made.cpu:.1f}", f"{r.made.peak / 1e6:.0f}",
            m.row.name if m else "", f"**{contest.ratio((r, m)):.2f}**" if m else "")


def contest_table(contest):
    out = f"### {contest.title}\n\n" + table(HEAD, [cells(contest, r) for r in contest.results])
    for r in contest.failed:
        if r.made.error != NOT_MADE:
            out += f"\n\n{r.name} made nothing: `{r.made.error}`"
    missing = ", ".join(r.name for r in contest.failed if r.made.error == NOT_MADE)
    return out + (f"\n\nNot made for this table: {missing}." if missing else "")


def summary(contests):
    """One line per contest: the peer that is hardest to beat."""
    rows = []
    for c in contests:
        if not c.hardest():
            continue
        p, m = c.hardest()
        ratio = c.ratio((p, m))
        rows.append((c.title, p.name, f"{p.bits:.3f}", f"{p.kld(c.text):.5f}", m.row.name,
                     f"{m.bits:.3f}", f"{m.kld(c.text):.5f}", f"{ratio:.2f}",
                     "yes" if ratio <= AIM else "no"))
    return table(("contest", "hardest peer", "bits", "KLD", "phiq", "bits", "KLD", "ratio",
                  f"≤ {AIM}"), rows)


def second_table(contests, text):
    rows = []
    for c in contests:
        for p, m in c.shown_twice():
            if text in p.loss and text in m.loss:
                rows.append((c.title, p.name, f"{p.kld(text):.5f}", m.row.name,
                             f"{m.kld(text):.5f}", f"{c.ratio((p, m)):.2f}",
                             f"{c.ratio((p, m), text):.2f}"))
    return table(("contest", "peer", "KLD", "phiq", "KLD", "ratio on the first text",
                  "on this one"), rows)
