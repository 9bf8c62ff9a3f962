# find_package(needle) for backend authors: the headers that kernels share.
#   find_package(needle REQUIRED CONFIG)      with needle_DIR from `python -m needle cmake-dir`
#   target_link_libraries(mine PRIVATE needle::headers)
get_filename_component(NEEDLE_ROOT "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(NEEDLE_INCLUDE_DIR "${NEEDLE_ROOT}/include")
if(NOT TARGET needle::headers)
  add_library(needle::headers INTERFACE IMPORTED)
  set_target_properties(needle::headers PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${NEEDLE_INCLUDE_DIR}")
endif()
