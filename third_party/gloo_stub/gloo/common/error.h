#pragma once
#include <gloo_stub.h>
