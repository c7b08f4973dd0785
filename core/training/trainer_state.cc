#include "core/training/trainer_state.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "core/formats/safetensors_writer.h"
#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::training {
namespace {

constexpr int kFormat = 1;

struct Part {
  const char* prefix;
  at::Tensor flat;
};

std::vector<Part> Parts(const TrainerTensors& tensors) {
  std::vector<Part> parts = {{"master/", tensors.masters},
                             {"exp_avg/", tensors.first_moment},
                             {"exp_avg_sq/", tensors.second_moment}};
  if (tensors.reference.defined()) parts.push_back({"reference/", tensors.reference});
  return parts;
}

std::span<const std::byte> BytesOf(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())};
}

Status WriteTensors(const std::string& path, const std::vector<ParameterRange>& ranges,
                    const std::vector<Part>& parts) {
  const auto dtype = policy::DTypeOf(parts[0].flat.scalar_type());
  VOLERY_CHECK(dtype.has_value());
  std::vector<formats::SafetensorsDeclaration> declarations;
  for (const Part& part : parts) {
    for (const ParameterRange& range : ranges)
      declarations.push_back({part.prefix + range.name, *dtype, range.shape});
  }
  VOLERY_ASSIGN_OR_RETURN(auto writer, formats::SafetensorsWriter::Open(path, std::move(declarations)));
  for (const Part& part : parts) {
    for (const ParameterRange& range : ranges) {
      VOLERY_RETURN_IF_ERROR(
          writer->Write(BytesOf(part.flat.narrow(0, range.offset, range.count).to(at::kCPU).contiguous())));
    }
  }
  return writer->Finish();
}

StatusOr<const formats::SafetensorsTensor*> Lookup(const formats::SafetensorsView& view,
                                                   const std::string& path, const std::string& name,
                                                   const ParameterRange& range, formats::DType dtype) {
  const formats::SafetensorsTensor* found = view.Find(name);
  if (found == nullptr)
    return InvalidError(path, ": tensor '", name,
                        "' is missing; the checkpoint belongs to another model or other settings");
  if (found->shape != range.shape || found->dtype != dtype) {
    return InvalidError(path, ": tensor '", name, "' has another shape or dtype (",
                        formats::DTypeName(found->dtype), ") than this trainer's (",
                        formats::DTypeName(dtype), "); resume with the recipe that wrote it");
  }
  return found;
}

Status ReadTensors(const std::string& path, const std::vector<ParameterRange>& ranges,
                   const std::vector<Part>& parts) {
  VOLERY_ASSIGN_OR_RETURN(auto file, base::MappedFile::Open(path));
  VOLERY_ASSIGN_OR_RETURN(const formats::SafetensorsView view,
                          formats::ParseSafetensors(file->bytes(), path));
  const auto dtype = policy::DTypeOf(parts[0].flat.scalar_type());
  VOLERY_CHECK(dtype.has_value());
  std::vector<const formats::SafetensorsTensor*> sources;
  for (const Part& part : parts) {
    for (const ParameterRange& range : ranges) {
      VOLERY_ASSIGN_OR_RETURN(const formats::SafetensorsTensor* source,
                              Lookup(view, path, part.prefix + range.name, range, *dtype));
      sources.push_back(source);
    }
  }
  size_t next = 0;
  const at::NoGradGuard no_grad;
  for (const Part& part : parts) {
    for (const ParameterRange& range : ranges) {
      at::Tensor staging = at::empty({range.count}, part.flat.options().device(at::kCPU));
      std::memcpy(staging.mutable_data_ptr(), sources[next]->bytes.data(), sources[next]->bytes.size());
      part.flat.narrow(0, range.offset, range.count).copy_(staging);
      ++next;
    }
  }
  return OkStatus();
}

}  // namespace

std::string CountersToJson(const TrainerCounters& counters) {
  const nlohmann::json json = {{"format", kFormat},
                               {"version", counters.version},
                               {"optimiser_steps", counters.optimiser_steps},
                               {"supervised_steps", counters.supervised_steps},
                               {"adam_steps", counters.adam_steps},
                               {"moments_are_supervised", counters.moments_are_supervised}};
  return json.dump(2) + "\n";
}

StatusOr<TrainerCounters> CountersFromJson(const std::string& text, const std::string& where) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (json.at("format").get<int>() != kFormat)
      return InvalidError(where, ": format ", json.at("format").dump(), "; this volery reads ", kFormat);
    TrainerCounters out;
    json.at("version").get_to(out.version);
    json.at("optimiser_steps").get_to(out.optimiser_steps);
    json.at("supervised_steps").get_to(out.supervised_steps);
    json.at("adam_steps").get_to(out.adam_steps);
    json.at("moments_are_supervised").get_to(out.moments_are_supervised);
    return out;
  } catch (const nlohmann::json::exception& error) {
    return InvalidError(where, ": not a trainer's counters: ", error.what());
  }
}

Status WriteTrainerState(const std::string& folder, const std::vector<ParameterRange>& ranges,
                         const TrainerTensors& tensors, const TrainerCounters& counters) {
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder));
  VOLERY_RETURN_IF_ERROR(
      base::WriteFileAtomicWith(folder + "/trainer.safetensors", [&](const std::string& temporary) {
        return tensor::Guard("saving the trainer's state",
                             [&] { return WriteTensors(temporary, ranges, Parts(tensors)); });
      }));
  return base::WriteFileAtomic(folder + "/trainer.json", CountersToJson(counters));
}

Status ReadTrainerState(const std::string& folder, const std::vector<ParameterRange>& ranges,
                        TrainerTensors& tensors, TrainerCounters& counters) {
  const std::string counters_path = folder + "/trainer.json";
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(counters_path));
  VOLERY_ASSIGN_OR_RETURN(const TrainerCounters read, CountersFromJson(text, counters_path));
  VOLERY_RETURN_IF_ERROR(tensor::Guard("loading the trainer's state", [&] {
    return ReadTensors(folder + "/trainer.safetensors", ranges, Parts(tensors));
  }));
  counters = read;
  return OkStatus();
}

}  // namespace volery::training
