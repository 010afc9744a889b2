"""Turns terminal text (standard input) into an SVG picture: dark, monospaced, commands in bold.
Used for docs/demo.svg. SPDX-License-Identifier: MIT"""

import html
import re
import sys

FONT, LINE, CHAR, PAD, WIDTH = 13, 18, 7.83, 18, 118
BOLD = re.compile(r"\x1b\[1m(.*?)\x1b\[0m")


def rows(text):
    for line in text.rstrip("\n").split("\n"):
        bold = BOLD.search(line)
        plain = BOLD.sub(r"\1", line)
        yield plain[:WIDTH], bool(bold)


def main():
    lines = list(rows(sys.stdin.read()))
    while lines and not lines[0][0].strip():
        lines.pop(0)
    width, height = WIDTH * CHAR + 2 * PAD, len(lines) * LINE + 2 * PAD
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
          f'viewBox="0 0 {width:.0f} {height}">')
    print(f'<rect width="100%" height="100%" rx="10" fill="#16181d"/>')
    print(f'<g font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,Consolas,monospace" '
          f'font-size="{FONT}" fill="#d8dee9" xml:space="preserve">')
    for i, (text, bold) in enumerate(lines):
        style = ' fill="#8fd694" font-weight="bold"' if bold else ""
        if text.strip():
            print(f'<text x="{PAD}" y="{PAD + (i + 0.75) * LINE:.1f}"{style} '
                  f'textLength="{len(text) * CHAR:.1f}" lengthAdjust="spacingAndGlyphs">'
                  f'{html.escape(text)}</text>')
    print("</g></svg>")


main()
