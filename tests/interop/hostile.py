"""Strings that tokenizers get wrong, from a seed. SPDX-License-Identifier: MIT"""

import random
import unicodedata

WORDS = ["the", "Hello", "world", "don't", "WE'LL", "I'm", "it'S", "CamelCase", "snake_case", "naïve",
         "Привет", "你好", "分析", "こんにちは", "안녕하세요", "مرحبا", "שלום", "ไทย", "हिन्दी", "straße",
         "ﬁne", "ſtop", "'ſ", "ǅ", "ᾳ", "Ⅷ", "½", "²", "１２３", "٣٤٥", "३", "12345678901", "3.14", "0x1F",
         "http://a.b/c?d=e&f#g", "a@b.c", "<html>", "C++", "#include", "x=y;", "e\u0301", "a\u0308\u0323"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u2003", "\u3000",
          "\u0085", "\u2028", "\v", "\f", "\u180e", "\u200b", "\u202f", "\u1680", "\ufeff"]
EMOJI = ["😀", "👩‍👩‍👧", "👍🏽", "🇩🇪", "❤️", "1️⃣", "\U0001f9d1\u200d\U0001f680", "🫠", "☺"]
MARKS = ["\u0301", "\u0308", "\u093f", "\u0e33", "\u200d", "\u200c", "\ufe0f", "\u20dd", "\u0600"]
CONTROL = [chr(c) for c in [*range(1, 32), 127, 0x80, 0x9f, 0]]
MARKUP = ["▁", "▁▁", "<0x41>", "<0xE2>", "Ġ", "Ċ", "<s", "</s", "<|", "|>", "<||>", "[PAD12]", "<unk",
          "'", "''", "'s", "'S", "'ll", "'LL", "'r", "/", "//", "!!!", "...", "\ufffd", "\U0010ffff"]


def assigned(rng):
    """A random character that this Python knows: newer ones are classed by Unicode version."""
    while True:
        c = rng.choice([rng.randrange(0x20, 0x7f), rng.randrange(0xa0, 0x3000),
                        rng.randrange(0x3000, 0xd800), rng.randrange(0xe000, 0x10000),
                        rng.randrange(0x10000, 0x20000), rng.randrange(0x20000, 0x31350)])
        if unicodedata.category(chr(c)) not in ("Cn", "Cs"):
            return chr(c)


def pieces(rng, special):
    kind = rng.random()
    if kind < .30:
        return rng.choice(WORDS)
    if kind < .50:
        return rng.choice(SPACES)
    if kind < .60:
        return rng.choice(SPACES[:6]) * rng.randrange(1, 40)
    if kind < .68:
        return rng.choice(EMOJI)
    if kind < .75:
        return rng.choice(MARKS) * rng.randrange(1, 4)
    if kind < .80:
        return rng.choice(CONTROL)
    if kind < .88:
        return rng.choice(MARKUP)
    if kind < .95:
        word = rng.choice(special)
        return word if rng.random() < .7 else word[:rng.randrange(1, len(word) + 1)]
    return "".join(assigned(rng) for _ in range(rng.randrange(1, 6)))


def hostile(n, special, seed=1):
    """n strings; `special` are the names of added tokens."""
    rng = random.Random(seed)
    for _ in range(n):
        if rng.random() < .02:  # one word, long
            yield rng.choice(["a", "A", " ", "ab", "▁", "é", "\n", "1", "!", "你"]) * rng.randrange(300)
        else:
            yield "".join(pieces(rng, special) for _ in range(rng.randrange(1, 14)))
