#pragma once
// Writing a model as the checkpoint file of its family's own training code (.pth), which the rwkv package and
// the original trainers read.
//
//   VOLERY_RETURN_IF_ERROR(WritePthFile(source, "model.pth", c10::ScalarType::BFloat16));

#include <c10/core/ScalarType.h>

#include <string>

#include "core/base/status.h"
#include "core/policy/model_source.h"

namespace volery::policy {

// `source` with its weights; `dtype` of the file: float32, bfloat16 or float16. Complete or not at all, tensor
// after tensor. InvalidArgument: the family has no such files.
Status WritePthFile(const ModelSource& source, const std::string& path, c10::ScalarType dtype);

}  // namespace volery::policy
