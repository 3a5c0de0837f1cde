# SPDX-License-Identifier: Apache-2.0
# Precompiled headers: other people's headers (and generated ones), which are two thirds of what it
# takes to compile a file of ours. Ours are never among them, so nothing else is built anew when one
# changes. The preset release has the set `api` alone, which saves 1 to 3 seconds of the 3 to 12 that a
# source of control/, rest/ or cli/ takes; its other folders show whether each file includes what it
# uses.
set(REMORA_PRECOMPILE "" CACHE STRING "Headers to precompile: empty, `api` (gRPC's and the interface's) or `all`")

function(remora_precompiles name result)
  if(REMORA_PRECOMPILE STREQUAL "all" OR (REMORA_PRECOMPILE STREQUAL "api" AND name STREQUAL "api"))
    set(${result} TRUE PARENT_SCOPE)
  else()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# CMake's own words for it hide the path from the compiler cache, which would take each checkout's for
# another one's.
set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include-pch <PCH_FILE>)

# Makes a set; it has to be compiled with the same flags as what uses it (PIE: programs).
#   remora_precompiled(tests PIE HEADERS <vector> LIBS GTest::gtest)
function(remora_precompiled name)
  remora_precompiles(${name} wanted)
  if(NOT wanted)
    return()
  endif()
  cmake_parse_arguments(ARG "PIE" "" "HEADERS;LIBS" ${ARGN})
  set(target remora_precompiled_${name})
  set(source "${CMAKE_BINARY_DIR}/${target}.cc")
  file(CONFIGURE OUTPUT "${source}" CONTENT "// Carries the precompiled headers.\n")
  add_library(${target} OBJECT "${source}")
  target_link_libraries(${target} PRIVATE remora_options spdlog::spdlog ${ARG_LIBS})
  target_precompile_headers(${target} PRIVATE ${ARG_HEADERS})
  # Headers that are unpacked again are the same ones.
  target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  # Not out of the cache: it would name the files of the checkout that put it there.
  set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER "${CMAKE_SOURCE_DIR}/tools/precompile")
  # As what uses them, see remora_use_api.
  set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  if(ARG_PIE)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIE)
  endif()
endfunction()

function(remora_use_precompiled target name)
  remora_precompiles(${name} wanted)
  if(wanted)
    target_precompile_headers(${target} REUSE_FROM remora_precompiled_${name})
  endif()
endfunction()

# What calls gRPC: the set is `api`, or `api_tests`.
function(remora_use_api target set)
  target_link_libraries(${target} PRIVATE remora_off_path)
  # The data plane is one with what it calls; this would be compiled again in each program's link.
  set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  remora_use_precompiled(${target} ${set})
endfunction()

set(REMORA_STANDARD_HEADERS
  <algorithm> <array> <atomic> <bit> <cerrno> <charconv> <chrono> <coroutine> <cstdint> <cstdlib> <cstring>
  <deque> <expected> <functional> <limits> <map> <memory> <mutex> <new> <optional> <ranges> <set> <span>
  <string> <string_view> <thread> <type_traits> <unordered_map> <utility> <variant> <vector>)

remora_precompiled(data_plane HEADERS ${REMORA_STANDARD_HEADERS} LIBS remora_data_plane)
remora_precompiled(plain HEADERS ${REMORA_STANDARD_HEADERS})
