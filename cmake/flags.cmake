# Flags of every target. Files must be equal on every machine, so no contraction of a*b+c and no
# fast-math anywhere; ISA flags are set per file in src/kern only.
add_library(pq_flags INTERFACE)
target_compile_options(pq_flags INTERFACE
  -ffp-contract=off -fno-math-errno
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wcast-qual
  -Wundef -Wformat=2 -Wno-sign-conversion)
target_compile_definitions(pq_flags INTERFACE _FILE_OFFSET_BITS=64)
if(PQ_WERROR)
  target_compile_options(pq_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PQ_SANITIZE)
  target_compile_options(pq_flags INTERFACE -fstack-protector-strong)
  target_compile_definitions(pq_flags INTERFACE _FORTIFY_SOURCE=2)
  target_link_options(pq_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
string(REPLACE "-O2" "-O3" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
if(PQ_SANITIZE)
  target_compile_options(pq_flags INTERFACE -fsanitize=${PQ_SANITIZE} -fno-omit-frame-pointer
                                            -fno-sanitize-recover=all)
  target_link_options(pq_flags INTERFACE -fsanitize=${PQ_SANITIZE})
endif()
if(PQ_FUZZ)
  target_compile_options(pq_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PQ_COVERAGE)
  target_compile_options(pq_flags INTERFACE --coverage)
  target_link_options(pq_flags INTERFACE --coverage)
endif()

# pq_room(NAME files...): one object library per room, usable alone by tests of that room.
function(pq_room name)
  add_library(pq_${name} OBJECT ${ARGN})
  target_include_directories(pq_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(pq_${name} PUBLIC pq_flags PkgConfig::JANSSON)
endfunction()
