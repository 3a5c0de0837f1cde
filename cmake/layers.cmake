# SPDX-License-Identifier: Apache-2.0
# One static library a folder of src/. Its dependencies name lower folders only (tools/tidy.py
# checks the includes against the ranks).
#
#   remora_layer(core DATA_PLANE SOURCES log.cc HEADERS result.h log.h DEPS ... LIBS ...)
function(remora_layer name)
  cmake_parse_arguments(ARG "DATA_PLANE" "" "SOURCES;HEADERS;DEPS;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "remora_${name}")
  add_library(${target} STATIC ${ARG_SOURCES})
  # A header compiles alone where the source of its name includes it first; lint.headers_compile_alone
  # compiles the others.
  set(with_source ${ARG_SOURCES})
  list(TRANSFORM with_source REPLACE "\\.cc$" ".h")
  set(alone ${ARG_HEADERS})
  list(REMOVE_ITEM alone ${with_source})
  set(with_source ${ARG_HEADERS})
  list(REMOVE_ITEM with_source ${alone})
  target_sources(${target} PUBLIC
    FILE_SET alone TYPE HEADERS BASE_DIRS "${CMAKE_SOURCE_DIR}/src" FILES ${alone}
    FILE_SET with_source TYPE HEADERS BASE_DIRS "${CMAKE_SOURCE_DIR}/src" FILES ${with_source})
  set_target_properties(${target} PROPERTIES
    VERIFY_INTERFACE_HEADER_SETS ON INTERFACE_HEADER_SETS_TO_VERIFY alone)
  if(ARG_DATA_PLANE)
    target_link_libraries(${target} PRIVATE remora_data_plane)
  endif()
  target_link_libraries(${target} PUBLIC remora_options)
  foreach(dep IN LISTS ARG_DEPS)
    string(REPLACE "/" "_" dep_target "remora_${dep}")
    target_link_libraries(${target} PUBLIC ${dep_target})
  endforeach()
  target_link_libraries(${target} PUBLIC ${ARG_LIBS})
  if(ARG_DATA_PLANE)
    remora_use_precompiled(${target} data_plane)
  elseif("api" IN_LIST ARG_DEPS OR "control" IN_LIST ARG_DEPS)
    remora_use_api(${target} api)
  else()
    remora_use_precompiled(${target} plain)
  endif()
endfunction()
