# The kernel fence's program: C -> BPF object -> skeleton header (src/io/fence.c). The target fence_skeleton carries the
# header's directory and, to whatever links it, the dependency on its generation.
find_program(VIPD_CLANG NAMES clang-14 clang REQUIRED)
find_program(VIPD_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

set(fence_source ${PROJECT_SOURCE_DIR}/src/io/fence.bpf.c)
set(fence_dir ${PROJECT_BINARY_DIR}/fence)
file(MAKE_DIRECTORY ${fence_dir})

# <asm/types.h> lies in the folder of the host's architecture, which -target bpf does not search.
set(fence_includes)
if(CMAKE_C_LIBRARY_ARCHITECTURE)
  set(fence_includes -I/usr/include/${CMAKE_C_LIBRARY_ARCHITECTURE})
endif()

add_custom_command(
  OUTPUT ${fence_dir}/fence.bpf.o
  COMMAND ${VIPD_CLANG} -target bpf -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror ${fence_includes}
    -c ${fence_source} -o ${fence_dir}/fence.bpf.o
  DEPENDS ${fence_source} ${PROJECT_SOURCE_DIR}/src/io/fence_map.h
  COMMENT "Compiling the kernel fence"
  VERBATIM)
# Written beside and renamed: a failed bpftool must not leave an empty header that looks up to date.
add_custom_command(
  OUTPUT ${fence_dir}/fence.skel.h
  COMMAND sh -c "\"$0\" gen skeleton \"$1\" name fence_bpf > \"$2.new\" && mv \"$2.new\" \"$2\""
    ${VIPD_BPFTOOL} ${fence_dir}/fence.bpf.o ${fence_dir}/fence.skel.h
  DEPENDS ${fence_dir}/fence.bpf.o
  COMMENT "Generating the kernel fence's skeleton"
  VERBATIM)
add_custom_target(fence_skeleton_header DEPENDS ${fence_dir}/fence.skel.h)

add_library(fence_skeleton INTERFACE)
target_include_directories(fence_skeleton SYSTEM INTERFACE ${fence_dir})
add_dependencies(fence_skeleton fence_skeleton_header)

# It matches src/io/*.c, but is not for the host's compiler.
set_source_files_properties(${fence_source} PROPERTIES HEADER_FILE_ONLY ON)
