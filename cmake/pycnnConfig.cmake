include("${CMAKE_CURRENT_LIST_DIR}/pycnnTargets.cmake")
