install(TARGETS phiq phiq_shared phiq_static)
install(FILES include/phiq.h TYPE INCLUDE)
