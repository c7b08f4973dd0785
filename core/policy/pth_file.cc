#include "core/policy/pth_file.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/formats/torch_file_writer.h"
#include "core/tensor/guard.h"

namespace volery::policy {
namespace {

StatusOr<formats::DType> FileType(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return formats::DType::kF32;
    case c10::ScalarType::BFloat16:
      return formats::DType::kBf16;
    case c10::ScalarType::Half:
      return formats::DType::kF16;
    default:
      return InvalidError("a .pth file is written in float32, bfloat16 or float16");
  }
}

}  // namespace

Status WritePthFile(const ModelSource& source, const std::string& path, c10::ScalarType dtype) {
  VOLERY_ASSIGN_OR_RETURN(const formats::DType type, FileType(dtype));
  VOLERY_ASSIGN_OR_RETURN(
      const std::vector<native::ImportedTensor> tensors,
      tensor::Guard(source.where, [&] { return source.family->PthTensors(source.config_json); }));
  if (tensors.empty())
    return InvalidError(source.where, ": models of the family ", source.info.family,
                        " have no .pth form; write a folder instead");
  std::vector<formats::TorchDeclaration> declarations;
  for (const native::ImportedTensor& tensor : tensors) {
    const auto found = source.weights.find(tensor.target);
    if (found == source.weights.end()) return InternalError(source.where, ": no tensor ", tensor.target);
    declarations.push_back({tensor.source, type, found->second.sizes().vec()});
  }
  return base::WriteFileAtomicWith(path, [&](const std::string& temporary) -> Status {
    VOLERY_ASSIGN_OR_RETURN(auto writer, formats::TorchFileWriter::Open(temporary, std::move(declarations)));
    for (const native::ImportedTensor& tensor : tensors) {
      const at::Tensor values = source.weights.at(tensor.target).to(dtype).contiguous();
      VOLERY_RETURN_IF_ERROR(
          writer->Write({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}));
    }
    return writer->Finish();
  });
}

}  // namespace volery::policy
