# pq_protobuf(TARGET file.proto): C code of a .proto, generated into the build tree.
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.3)
find_program(PQ_PROTOC_C protoc-c REQUIRED)

function(pq_protobuf target proto)
  get_filename_component(name ${proto} NAME_WE)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  add_custom_command(OUTPUT ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h
    COMMAND ${PQ_PROTOC_C} --proto_path=${CMAKE_CURRENT_SOURCE_DIR} --c_out=${out} ${proto}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} VERBATIM)
  target_sources(${target} PRIVATE ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h)
  target_include_directories(${target} SYSTEM PRIVATE ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
  set_source_files_properties(${out}/${name}.pb-c.c PROPERTIES COMPILE_OPTIONS "-w")
endfunction()
