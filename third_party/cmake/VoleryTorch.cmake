# Imports LibTorch from a torch package folder (a pip wheel unpacked), without its TorchConfig.cmake: no CUDA toolkit,
# no injected flags. Input: VOLERY_TORCH_ROOT, the folder that holds include/ and lib/. Result: target volery::torch.
set(VOLERY_TORCH_SUPPORTED 2.13.0)

if(NOT VOLERY_TORCH_ROOT)
  file(GLOB _torch_candidates "${CMAKE_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch")
  if(_torch_candidates)
    list(GET _torch_candidates 0 _torch_root)
  endif()
  set(VOLERY_TORCH_ROOT "${_torch_root}" CACHE PATH "folder of the torch package (holds include/ and lib/)")
endif()
if(NOT EXISTS "${VOLERY_TORCH_ROOT}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch in '${VOLERY_TORCH_ROOT}': run ./bootstrap.sh build, or pass -DVOLERY_TORCH_ROOT=<torch package folder>")
endif()

file(STRINGS "${VOLERY_TORCH_ROOT}/version.py" _torch_version_line REGEX "^__version__ *=")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" VOLERY_TORCH_VERSION "${_torch_version_line}")
if(NOT VOLERY_TORCH_VERSION STREQUAL VOLERY_TORCH_SUPPORTED AND NOT "$ENV{VOLERY_TORCH_UNSUPPORTED}" STREQUAL "1")
  message(FATAL_ERROR "LibTorch ${VOLERY_TORCH_VERSION} in '${VOLERY_TORCH_ROOT}'; this release supports ${VOLERY_TORCH_SUPPORTED} only. "
    "Set VOLERY_TORCH_UNSUPPORTED=1 to build against it anyway (development only).")
endif()

foreach(_lib c10 torch_cpu)
  add_library(volery_import_${_lib} SHARED IMPORTED GLOBAL)
  set_target_properties(volery_import_${_lib} PROPERTIES IMPORTED_LOCATION "${VOLERY_TORCH_ROOT}/lib/lib${_lib}.so")
endforeach()
add_library(volery_torch INTERFACE)
add_library(volery::torch ALIAS volery_torch)
target_include_directories(volery_torch SYSTEM INTERFACE
  "${VOLERY_TORCH_ROOT}/include" "${VOLERY_TORCH_ROOT}/include/torch/csrc/api/include")
target_compile_definitions(volery_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1 USE_DISTRIBUTED USE_C10D_GLOO)
target_link_libraries(volery_torch INTERFACE volery_import_torch_cpu volery_import_c10)
set(VOLERY_TORCH_CUDA "none")
if(EXISTS "${VOLERY_TORCH_ROOT}/lib/libtorch_cuda.so")
  file(STRINGS "${VOLERY_TORCH_ROOT}/version.py" _cuda_line REGEX "^cuda")
  string(REGEX MATCH "[0-9]+\\.[0-9]+" VOLERY_TORCH_CUDA "${_cuda_line}")
  # Nothing references these two by symbol: without --no-as-needed their kernels never register.
  target_link_libraries(volery_torch INTERFACE
    "-Wl,--no-as-needed" "${VOLERY_TORCH_ROOT}/lib/libtorch_cuda.so" "${VOLERY_TORCH_ROOT}/lib/libc10_cuda.so" "-Wl,--as-needed")
endif()
