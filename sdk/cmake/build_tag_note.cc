// Part of every model plugin: carries its build tag (see volery/native/build_tag.h).
#include "volery/native/build_tag.h"
