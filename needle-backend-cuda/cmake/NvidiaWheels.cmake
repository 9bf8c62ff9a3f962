# NVIDIA's wheels (nvidia/cu13, nvidia/cudnn) have no unversioned lib*.so, no lib64 and no stubs, so CMake does not take
# them for a toolkit. A system's nvcc is used where there is one, and the wheels give cuBLAS and cuDNN; without it a
# folder of links makes a toolkit out of the wheels.
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c "import nvidia, os, sys
for need in ('cu13/include/cublasLt.h', 'cudnn/include/cudnn.h'):
    print(next((os.path.join(p, need.split('/')[0]) for p in nvidia.__path__ if os.path.exists(os.path.join(p, need))), ''))
print(next((os.path.join(p, 'include') for p in sys.path if os.path.exists(os.path.join(p, 'include/cudnn_frontend.h'))), ''))"
  OUTPUT_VARIABLE FOUND OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
string(REPLACE "\n" ";" FOUND "${FOUND}")
list(LENGTH FOUND COUNT)
if(NOT COUNT EQUAL 3)
  message(FATAL_ERROR "NVIDIA's wheels are missing: pip install 'nvidia-cublas>=13.0,<14' 'nvidia-cudnn-cu13>=9.10' 'nvidia-cudnn-frontend==1.16.*'")
endif()
list(GET FOUND 0 NVIDIA_ROOT)
list(GET FOUND 1 NVIDIA_CUDNN)
list(GET FOUND 2 CUDNN_FRONTEND) # headers alone, needed to build
file(GLOB NVIDIA_CUBLASLT "${NVIDIA_ROOT}/lib/libcublasLt.so.*")
file(GLOB NVIDIA_CUDNN_LIBRARY "${NVIDIA_CUDNN}/lib/libcudnn.so.*")

find_program(SYSTEM_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" PATHS /usr/local/cuda-13.0/bin /usr/local/cuda/bin)
if(SYSTEM_NVCC)
  set(CMAKE_CUDA_COMPILER "${SYSTEM_NVCC}")
else()
  set(TOOLKIT "${CMAKE_BINARY_DIR}/toolkit")
  file(MAKE_DIRECTORY "${TOOLKIT}/lib")
  file(GLOB ENTRIES "${NVIDIA_ROOT}/*")
  foreach(entry ${ENTRIES})
    get_filename_component(name "${entry}" NAME)
    if(NOT name STREQUAL "lib")
      file(CREATE_LINK "${entry}" "${TOOLKIT}/${name}" SYMBOLIC)
    endif()
  endforeach()
  file(GLOB LIBRARIES "${NVIDIA_ROOT}/lib/*")
  foreach(library ${LIBRARIES})
    get_filename_component(name "${library}" NAME)
    file(CREATE_LINK "${library}" "${TOOLKIT}/lib/${name}" SYMBOLIC)
    string(REGEX REPLACE "\\.so\\..*" ".so" unversioned "${name}")
    file(CREATE_LINK "${library}" "${TOOLKIT}/lib/${unversioned}" SYMBOLIC)
  endforeach()
  file(CREATE_LINK "${TOOLKIT}/lib" "${TOOLKIT}/lib64" SYMBOLIC)
  set(CUDAToolkit_ROOT "${TOOLKIT}")
  set(CMAKE_CUDA_COMPILER "${TOOLKIT}/bin/nvcc")
  set(ENV{LIBRARY_PATH} "${TOOLKIT}/lib:$ENV{LIBRARY_PATH}")
endif()
