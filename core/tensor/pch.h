#pragma once
// The one precompiled header of every target with LibTorch: 27 s once, then about 3 s a file instead of 8.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/generated/variable_factories.h>

#include <map>
#include <memory>
#include <string>
#include <vector>
