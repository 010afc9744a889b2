# cmake -D DIR=... -D OUT=file.c -P embed.cmake: puts the page together, with the hashes by which it
# allows its own style and script and nothing else, and writes it as C. No tool but CMake is needed.
# SPDX-License-Identifier: MIT
cmake_minimum_required(VERSION 3.25)

set(scripts data.js draw.js scatter.js table.js heat.js numbers.js tokens.js page.js)
set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

# A SHA-256 in hexadecimal as Base64: ten groups of three bytes, two bytes and one sign of padding.
function(base64 out hex)
  set(text "")
  foreach(i RANGE 0 60 6)
    string(SUBSTRING "${hex}00" ${i} 6 three)
    foreach(shift 18 12 6 0)
      math(EXPR at "(0x${three} >> ${shift}) & 63")
      string(SUBSTRING "${digits}" ${at} 1 digit)
      string(APPEND text "${digit}")
    endforeach()
  endforeach()
  string(SUBSTRING "${text}" 0 43 text)
  set(${out} "${text}=" PARENT_SCOPE)
endfunction()

# `const char name[]` with a NUL at its end, and name_size without it.
function(append_c name text)
  string(HEX "${text}" hex)
  string(REGEX REPLACE "(............................)" "\\1\n" lines "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${lines}")
  file(APPEND ${OUT} "const char ${name}[] = {\n${bytes}0};\n"
                     "const size_t ${name}_size = sizeof ${name} - 1;\n")
endfunction()

file(READ ${DIR}/page.html page)
file(READ ${DIR}/page.css style)
file(READ ${DIR}/sample.txt sample)
set(script "")
foreach(file IN LISTS scripts)
  file(READ ${DIR}/${file} text)
  string(APPEND script "${text}")
endforeach()

foreach(part style script)
  set(${part} "\n${${part}}")
  string(SHA256 hex "${${part}}")
  base64(hash ${hex})
  string(REPLACE "{{${part}_hash}}" "sha256-${hash}" page "${page}")
  string(REPLACE "{{${part}}}" "${${part}}" page "${page}")
endforeach()

string(FIND "${page}" "{{data}}" at)
string(LENGTH "{{data}}" length)
math(EXPR after "${at} + ${length}")
string(SUBSTRING "${page}" 0 ${at} head)
string(SUBSTRING "${page}" ${after} -1 tail)

file(WRITE ${OUT} "/* Made by embed.cmake from src/report. */\n#include \"report/report.h\"\n\n")
append_c(pq_page_head "${head}")
append_c(pq_page_tail "${tail}")
append_c(pq_sample_text "${sample}")
