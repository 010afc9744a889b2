#!/usr/bin/env python3
"""The house rules that a compiler does not check. Each rule is a function from the source tree to a
list of violations in words; `rules.py RULE [ROOT]` prints them and fails when there are any.
SPDX-License-Identifier: MIT"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

SKIP_DIRS = {"build", "out", ".git", "__pycache__", "data", "corpus", "models"}
CODE = {".c", ".h"}
TEXT = CODE | {".py", ".sh", ".cmake", ".txt", ".md", ".json", ".yml", ".in", ".css", ".js"}


def files(root, suffixes, *tops):
    """Sorted files of these kinds under the given folders (default: the whole tree)."""
    for top in tops or ("",):
        for folder, dirs, names in os.walk(root / top):
            dirs[:] = sorted(d for d in dirs if d not in SKIP_DIRS)
            for name in sorted(names):
                if Path(name).suffix in suffixes:
                    yield Path(folder) / name


_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_lines(path):
    """(number, line) with comments and the insides of literals blanked."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group()) if m.group()[0] == "/" else '""'
    text = _TOKEN.sub(blank, path.read_text(encoding="utf-8"))
    return enumerate(text.splitlines(), 1)


def at(root, path, line):
    return f"{path.relative_to(root)}:{line}"


# --- rooms ----------------------------------------------------------------------------------------

# Neighbours on one floor: neither may include the other.
NEIGHBOURS = ({"wire", "kern"}, {"arch", "tok"})


def rooms(root):
    """Lowest first: the one list, in CMakeLists.txt, with the program on top."""
    text = (root / "CMakeLists.txt").read_text()
    return re.search(r"set\(PQ_ROOMS ([^)]*)\)", text).group(1).split() + ["cli"]


def include_fault(room, target, order):
    """Why a file of `room` may not include "target"; None when it may."""
    if "/" not in target:
        return None if target == "phiq.h" else "is not written as room/file.h"
    other = target.split("/")[0]
    if other not in order:
        return "is in no room"
    if order.index(other) > order.index(room):
        return f"points up: {room} is below {other}"
    if {room, other} in NEIGHBOURS:
        return f"points sideways: {room} and {other} are on one floor"
    return None


def includes(root):
    """Arrows point down only."""
    found, order = [], rooms(root)
    for room in order:
        for path in files(root, CODE, f"src/{room}"):
            for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                why = m and include_fault(room, m.group(1), order)
                if why:
                    found.append(f'{at(root, path, n)}: "{m.group(1)}" {why}')
    return found


ISO_HEADERS = set("""assert complex ctype errno fenv float inttypes iso646 limits locale math
setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath
threads time uchar wchar wctype""".split())
LIBRARY_HEADERS = {"expat.h", "histedit.h", "jansson.h", "pcre2.h", "protobuf-c/protobuf-c.h"}
GENERATED = ".pb-c.h"
KERNEL_HEADERS = {"immintrin.h", "cpuid.h", "arm_neon.h"}


def portable(root):
    """Only base/ talks to the operating system; only kern/ talks to the CPU."""
    found = []
    for room in rooms(root):
        for path in files(root, CODE, f"src/{room}") if room != "base" else ():
            for n, line in code_lines(path):
                m = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
                name = m.group(1) if m else "stddef.h"
                known = (name in LIBRARY_HEADERS or name.removesuffix(".h") in ISO_HEADERS or
                         name.endswith(GENERATED))
                if not known and not (room == "kern" and name in KERNEL_HEADERS):
                    found.append(f"{at(root, path, n)}: <{name}> belongs in base/")
    return found


# --- calls ----------------------------------------------------------------------------------------

def _calls(names):
    return re.compile(rf"(?<![\w.>])({names})\s*\(")


BANNED = _calls("strcpy|strcat|strncpy|v?sprintf|atoi|atol|atoll|atof|strtok|gets|alloca|rand")
SPEAKING = _calls("v?printf|v?fprintf|puts|fputs|putchar|putc|fputc|perror|exit|_exit|_Exit|abort")
HEAP = _calls("malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign")


def calls(root):
    """No calls that invite overruns; nothing but the program speaks or ends the process; one door
    for the heap."""
    found = []
    for path in files(root, CODE, "src"):
        room = path.relative_to(root / "src").parts[0]
        checks = [(BANNED, "is banned")]
        if room != "cli":
            checks.append((SPEAKING, "is for cli/ only"))
        if room not in ("base", "phiq.c"):  # which free what the system and Jansson handed out
            checks.append((HEAP, "goes around base/mem.h"))
        for n, line in code_lines(path):
            found += [f"{at(root, path, n)}: {m.group(1)}() {why}"
                      for pattern, why in checks for m in pattern.finditer(line)]
    return found


# --- text -----------------------------------------------------------------------------------------

def _text_faults(text):
    if "\r" in text:
        yield 1, "carriage return"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"
    for n, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            yield n, "tab"
        if line != line.rstrip():
            yield n, "blanks at the end"


def text(root):
    """Spaces, newlines, one licence line in every source file."""
    found = []
    for path in files(root, TEXT):
        content = path.read_bytes().decode("utf-8", "replace")
        found += [f"{at(root, path, n)}: {fault}" for n, fault in _text_faults(content)]
        head = "\n".join(content.split("\n")[:14])
        if path.suffix in CODE | {".py", ".sh"} and "SPDX-License-Identifier: MIT" not in head:
            found.append(f"{at(root, path, 1)}: no SPDX-License-Identifier line")
    return found


def formatted(root):
    """clang-format (version 14, the one of .clang-format) changes nothing."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    version = tool and subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if not version or " 14." not in version:
        print("clang-format 14 is not installed: skipped")
        sys.exit(77)
    paths = [str(p) for p in files(root, CODE, "include", "src", "tests", "bench", "examples")]
    r = subprocess.run([tool, "--dry-run", "-style=file", *paths], capture_output=True, text=True,
                       cwd=root)
    places = Counter(line.split(":")[0].removeprefix(f"{root}/") for line in r.stderr.splitlines()
                     if "[-Wclang-format-violations]" in line)
    return [f"{path}: {n} places not as clang-format has it" for path, n in sorted(places.items())]


# --- headers and the library's face ---------------------------------------------------------------

def _compiles(root, header, command, language):
    """`header` is included twice, in a file of its own, with nothing before it."""
    program = f'#include "{header}"\n#include "{header}"\n'
    r = subprocess.run([*command, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                        "-Iinclude", "-Isrc", "-x", language, "-"],
                       input=program, capture_output=True, text=True, cwd=root)
    errors = [line for line in r.stderr.splitlines() if "error:" in line]
    return None if r.returncode == 0 else (errors or [r.stderr])[0]


def headers(root):
    """Every header compiles alone as C17; phiq.h also as C99 and as C++17."""
    cc, cxx = os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")
    jobs = [("phiq.h", [cc, "-std=c99"], "c"), ("phiq.h", [cxx, "-std=c++17"], "c++")]
    for path in files(root, {".h"}, "include", "src"):
        name = str(path.relative_to(root / ("include" if path.name == "phiq.h" else "src")))
        jobs.append((name, [cc, "-std=c17", "-Wno-unused-function", "-Wno-psabi"], "c"))
    found = []
    for header, command, language in jobs:
        words = _compiles(root, header, command, language)
        if words:
            found.append(f"{header} with {' '.join(command)}: {words}")
    return found


def exports(root):
    """libphiq.so (named by PQ_LIBRARY) exports what phiq.h declares and nothing else."""
    library = os.environ["PQ_LIBRARY"]
    r = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                       check=True)
    symbols = {line.split()[-1].split("@")[0] for line in r.stdout.splitlines() if line.strip()}
    # Sections' edges and the version node that some linkers export are not ours.
    symbols -= {"_init", "_fini", "_edata", "_end", "__bss_start"}
    face = " ".join(line for _, line in code_lines(root / "include" / "phiq.h"))
    declared = set(re.findall(r"PQ_API[^;{]*?\b(pq_\w+)\s*(?:\(|\[|;)", face))
    return ([f"{s} is exported and not in phiq.h" for s in sorted(symbols - declared)] +
            [f"{s} is in phiq.h and not exported" for s in sorted(declared - symbols)])


RULES = {f.__name__: f for f in (includes, portable, calls, text, formatted, headers, exports)}


def main(arguments):
    if not arguments or arguments[0] not in RULES:
        print(f"usage: rules.py {'|'.join(RULES)} [ROOT]")
        return 2
    root = Path(arguments[1] if len(arguments) > 1 else Path(__file__).parents[2]).resolve()
    found = RULES[arguments[0]](root)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
