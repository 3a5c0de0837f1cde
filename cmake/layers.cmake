# SPDX-License-Identifier: Apache-2.0
# One static library a folder of src/. Its dependencies name lower folders only (tools/tidy.py
# checks the includes against the ranks).
#
#   remora_layer(core DATA_PLANE SOURCES log.cc HEADERS result.h log.h DEPS ... LIBS ...)
function(remora_layer name)
  cmake_parse_arguments(ARG "DATA_PLANE" "" "SOURCES;HEADERS;DEPS;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "remora_${name}")
  add_library(${target} STATIC ${ARG_SOURCES})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${CMAKE_SOURCE_DIR}/src" FILES ${ARG_HEADERS})
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  if(ARG_DATA_PLANE)
    target_link_libraries(${target} PRIVATE remora_data_plane)
  endif()
  target_link_libraries(${target} PUBLIC remora_options)
  foreach(dep IN LISTS ARG_DEPS)
    string(REPLACE "/" "_" dep_target "remora_${dep}")
    target_link_libraries(${target} PUBLIC ${dep_target})
  endforeach()
  target_link_libraries(${target} PUBLIC ${ARG_LIBS})
endfunction()
