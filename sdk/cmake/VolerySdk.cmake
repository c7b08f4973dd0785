# How plugins are built, inside this tree and outside (find_package(volery-sdk)):
#   volery_add_reward(my_reward my_reward.cc)     a reward plugin: my_reward.so
#   volery_add_model(my_model my_model.cc ...)    a model plugin; outside the tree: find_package(volery-sdk COMPONENTS models)
# Output: ${VOLERY_PLUGIN_OUTPUT_DIRECTORY} where it is set, else the build folder.

# volery_build_tag(OUT): the text that host and model plugin must agree on. Inputs: VOLERY_SDK_VERSION,
# VOLERY_SDK_HEADERS_HASH, VOLERY_NN_BUILD_ID, VOLERY_TORCH_VERSION, VOLERY_TORCH_CUDA, VOLERY_SANITIZER, the compiler.
function(volery_build_tag out)
  string(REGEX MATCH "^[0-9]+" major "${CMAKE_CXX_COMPILER_VERSION}")
  string(TOLOWER "${CMAKE_CXX_COMPILER_ID}-${major}" compiler)
  string(REPLACE "gnu-" "gcc-" compiler "${compiler}")
  set(torch "${VOLERY_TORCH_VERSION}")
  set(cuda "${VOLERY_TORCH_CUDA}")
  set(sanitizer "${VOLERY_SANITIZER}")
  foreach(name torch cuda sanitizer)
    if("${${name}}" STREQUAL "")
      set(${name} none)
    endif()
  endforeach()
  set(${out} "sdk=${VOLERY_SDK_VERSION} headers=${VOLERY_SDK_HEADERS_HASH} nn=${VOLERY_NN_BUILD_ID} torch=${torch} cuda=${cuda} compiler=${compiler} sanitizer=${sanitizer}"
    PARENT_SCOPE)
endfunction()

function(volery_add_plugin name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE volery::sdk)
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".so" DEFINE_SYMBOL "" CXX_VISIBILITY_PRESET hidden
    C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON LINK_DEPENDS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin_exports.map")
  if(VOLERY_PLUGIN_OUTPUT_DIRECTORY)
    set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${VOLERY_PLUGIN_OUTPUT_DIRECTORY}")
  endif()
  # One exported symbol; never unloaded (static destructors run at exit); every symbol found at build time.
  target_link_options(${name} PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin_exports.map" "-Wl,-z,nodelete")
  # Clang's sanitizer runtime lives in the executable alone.
  if(NOT VOLERY_SANITIZER OR CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_link_options(${name} PRIVATE "-Wl,--no-undefined")
  endif()
  if(VOLERY_PLUGIN_INSTALL_DIRECTORY)
    install(TARGETS ${name} LIBRARY DESTINATION "${VOLERY_PLUGIN_INSTALL_DIRECTORY}" COMPONENT plugins)
  endif()
  set_property(GLOBAL APPEND PROPERTY VOLERY_BUILT_PLUGINS ${name})
endfunction()

function(volery_add_reward name)
  volery_add_plugin(${name} ${ARGN})
  target_compile_features(${name} PRIVATE cxx_std_20)
endfunction()

function(volery_add_model name)
  if(NOT TARGET volery::torch OR NOT TARGET volery_nn)
    message(FATAL_ERROR "volery_add_model(${name}) needs LibTorch and libvolery-nn: use find_package(volery-sdk REQUIRED COMPONENTS models)")
  endif()
  volery_add_plugin(${name} ${ARGN} "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/build_tag_note.cc")
  target_compile_features(${name} PRIVATE cxx_std_20)
  target_link_libraries(${name} PRIVATE volery_nn volery::torch)
  volery_build_tag(tag)
  set_source_files_properties("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/build_tag_note.cc" PROPERTIES
    SKIP_PRECOMPILE_HEADERS ON COMPILE_DEFINITIONS "VOLERY_BUILD_TAG=\"${tag}\"")
  target_compile_options(${name} PRIVATE -ffp-contract=off)
  set_target_properties(${name} PROPERTIES BUILD_RPATH "$ORIGIN/../.." INSTALL_RPATH "$ORIGIN/../.." INSTALL_RPATH_USE_LINK_PATH ON)
  if(TARGET volery_tensor)
    target_precompile_headers(${name} REUSE_FROM volery_tensor)
  endif()
endfunction()
