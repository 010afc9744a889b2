# make install: program, libraries, header, pkg-config file, CMake package, completion, licence.
include(CMakePackageConfigHelpers)
install(TARGETS phiq RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS phiq_shared EXPORT phiqTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS phiq_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/phiq.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Relative to the file itself, so that the tree can be installed or moved anywhere.
file(RELATIVE_PATH PQ_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/phiq.pc.in phiq.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/phiq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/phiq)
install(EXPORT phiqTargets NAMESPACE phiq:: DESTINATION ${package_dir})
write_basic_package_version_file(phiqConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(WRITE ${PROJECT_BINARY_DIR}/phiqConfig.cmake
     "include(\${CMAKE_CURRENT_LIST_DIR}/phiqTargets.cmake)\n"
     "if(NOT TARGET phiq::phiq)\n  add_library(phiq::phiq ALIAS phiq::phiq_shared)\nendif()\n")
install(FILES ${PROJECT_BINARY_DIR}/phiqConfig.cmake ${PROJECT_BINARY_DIR}/phiqConfigVersion.cmake
        DESTINATION ${package_dir})

# Completion scripts come from the program's own tables.
if(NOT CMAKE_CROSSCOMPILING)
  foreach(shell bash zsh fish)
    set(file_${shell} ${PROJECT_BINARY_DIR}/completion/${shell}/phiq)
    add_custom_command(OUTPUT ${file_${shell}}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/completion/${shell}
      COMMAND phiq completion ${shell} > ${file_${shell}} DEPENDS phiq VERBATIM)
  endforeach()
  add_custom_target(completion ALL DEPENDS ${file_bash} ${file_zsh} ${file_fish})
  install(FILES ${file_bash} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${file_zsh} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _phiq)
  install(FILES ${file_fish} DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
          RENAME phiq.fish)
endif()
