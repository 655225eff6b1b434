# The plug-in for NVIDIA GPUs. nvcc is called directly: the compiler of PyPI's nvidia-cuda-* packages lies where CMake's
# own support for CUDA does not look.
set(PYCNN_NVCC "" CACHE FILEPATH "nvcc 13; empty: that of the Python packages, or the one on the PATH")
set(PYCNN_CUDA_ARCHITECTURES 80 90a CACHE STRING "Compute capabilities to build machine code for")
set(PYCNN_CUDA_FLAGS "" CACHE STRING "More flags for nvcc, as a list: -lineinfo to profile, -Xptxas=-v to see registers")

set(nvcc ${PYCNN_NVCC})
if(NOT nvcc)
  find_package(Python COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import nvidia.cu13, os; print(os.path.join(list(nvidia.cu13.__path__)[0], 'bin', 'nvcc'))"
    OUTPUT_VARIABLE nvcc OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT nvcc OR NOT EXISTS ${nvcc})
  find_program(nvcc_on_path nvcc HINTS /usr/local/cuda/bin)
  set(nvcc ${nvcc_on_path})
endif()
if(NOT nvcc)
  message(FATAL_ERROR "PYCNN_CUDA needs nvcc 13: pip install nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-cccl nvidia-cuda-runtime, or set PYCNN_NVCC")
endif()
get_filename_component(cuda_root ${nvcc} REALPATH)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
find_file(cudart libcudart_static.a PATHS ${cuda_root}/lib ${cuda_root}/lib64 ${cuda_root}/targets/x86_64-linux/lib
  NO_DEFAULT_PATH REQUIRED)

# Nothing is contracted into fused operations but what says so, as on the CPU.
set(nvcc_flags -std=c++20 -O3 --fmad=false --expt-relaxed-constexpr --compress-mode=size
  -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra -ccbin ${CMAKE_CXX_COMPILER}
  "-DPYCNN_VERSION=\"${PROJECT_VERSION}\"")
if(PYCNN_WERROR)
  list(APPEND nvcc_flags -Werror all-warnings)
endif()
foreach(architecture IN LISTS PYCNN_CUDA_ARCHITECTURES)
  list(APPEND nvcc_flags -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
# For GPUs to come: the driver compiles this.
list(APPEND nvcc_flags -gencode arch=compute_80,code=compute_80 ${PYCNN_CUDA_FLAGS})

set(cuda_objects "")
foreach(source IN LISTS cuda_sources)
  get_filename_component(name ${source} NAME)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/cuda
    COMMAND ${nvcc} ${nvcc_flags} -I${CMAKE_CURRENT_SOURCE_DIR}/csrc -I${CMAKE_CURRENT_SOURCE_DIR}/csrc/include
      -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} DEPFILE ${object}.d
    COMMENT "Building CUDA object ${name}.o" COMMAND_EXPAND_LISTS VERBATIM)
  list(APPEND cuda_objects ${object})
endforeach()

add_library(pycnn_cuda MODULE ${cuda_objects})
set_target_properties(pycnn_cuda PROPERTIES LINKER_LANGUAGE CXX PREFIX lib)
target_link_libraries(pycnn_cuda PRIVATE ${cudart} Threads::Threads rt ${CMAKE_DL_LIBS})
# Templates of the standard library are visible whatever the compiler is told, hence the list of exports.
set(exports ${CMAKE_CURRENT_LIST_DIR}/cuda_exports.map)
target_link_options(pycnn_cuda PRIVATE -Wl,--version-script=${exports} -Wl,-z,defs)
set_target_properties(pycnn_cuda PROPERTIES LINK_DEPENDS ${exports})
install(TARGETS pycnn_cuda LIBRARY DESTINATION ${prefix}lib COMPONENT cuda)
