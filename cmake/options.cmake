# SPDX-License-Identifier: Apache-2.0
# Warnings, hardening and sanitizers, carried by the interface target remora_options.
set(REMORA_SANITIZE "" CACHE STRING "Sanitizers to build with: empty, `address,undefined`, `thread` or `fuzzer-no-link,address,undefined`")

find_program(CCACHE ccache)
if(CCACHE)
  # What one checkout has compiled another need not compile again.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_PCH_EXTSUM=1 "${CCACHE}")
endif()

# What is built does not depend on where: __FILE__ is a path within the checkout.
add_compile_options(-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)

add_library(remora_options INTERFACE)
target_include_directories(remora_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
target_compile_options(remora_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Wcast-align
  -Wnon-virtual-dtor -Woverloaded-virtual -Wnull-dereference -Wswitch-enum -Wimplicit-fallthrough
  -Wformat=2 -Wundef -Wextra-semi -Wdangling -Werror
  -fno-omit-frame-pointer
  -pthread)

set(REMORA_PROBES OFF CACHE BOOL "Build in the simulator's marks (src/core/probe.h); never in a release")
if(REMORA_PROBES)
  target_compile_definitions(remora_options INTERFACE REMORA_PROBES=1)
endif()

if(REMORA_SANITIZE)
  target_compile_options(remora_options INTERFACE -fsanitize=${REMORA_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(remora_options INTERFACE -fsanitize=${REMORA_SANITIZE})
  if(REMORA_SANITIZE MATCHES "undefined")
    # This check needs the type information that data-plane folders are built without.
    target_compile_options(remora_options INTERFACE -fno-sanitize=vptr)
  endif()
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(remora_options INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS -fstack-protector-strong -fstack-clash-protection)
  target_link_options(remora_options INTERFACE -Wl,-z,relro,-z,now)
endif()
add_link_options(-fuse-ld=lld)

# Data-plane folders build without exceptions and RTTI; control/ and below it in the call graph
# (third-party edges) need both.
add_library(remora_data_plane INTERFACE)
target_link_libraries(remora_data_plane INTERFACE remora_options)
target_compile_options(remora_data_plane INTERFACE -fno-exceptions -fno-rtti)

# What calls gRPC, the tests and the benchmarks take three times as long to compile with optimization
# as without, and where they are tested nothing waits for them.
set(REMORA_OFF_PATH_FLAGS "" CACHE STRING "Compiler flags of what no I/O passes through: control/, rest/, cli/, the generated interface, tests, benchmarks")
add_library(remora_off_path INTERFACE)
target_link_libraries(remora_off_path INTERFACE remora_options)
target_compile_options(remora_off_path INTERFACE ${REMORA_OFF_PATH_FLAGS})
