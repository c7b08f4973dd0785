// Writes one file of each format into a folder, with the values that check_*.py expect. Usage:
// write_format_samples FOLDER
#include <cstdio>
#include <cstring>
#include <limits>

#include "core/base/files.h"
#include "core/formats/event_file.h"
#include "core/formats/rollout_file.h"
#include "core/formats/safetensors_writer.h"
#include "core/formats/torch_file_writer.h"

namespace volery::formats {
namespace {

// Steps 0 to 9 are written; the file is cut back to step 5 and a second one goes on from there, as a resume
// does.
Status WriteEvents(const std::string& folder) {
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder));
  const std::string first = folder + "/events.out.tfevents.000001";
  VOLERY_ASSIGN_OR_RETURN(auto writer, EventFileWriter::Create(first, 1750000000.0));
  for (int step = 0; step < 10; ++step) {
    VOLERY_RETURN_IF_ERROR(
        writer->Add(step, 1750000000.0 + step, {{"reward/mean", step * 0.25f}, {"lr", 1e-5f}}));
  }
  writer.reset();
  VOLERY_RETURN_IF_ERROR(TruncateEvents(first, 5));
  VOLERY_ASSIGN_OR_RETURN(writer,
                          EventFileWriter::Create(folder + "/events.out.tfevents.000002", 1750000100.0));
  for (int step = 6; step < 300; ++step) {
    VOLERY_RETURN_IF_ERROR(
        writer->Add(step, 1750000100.0 + step,
                    {{"reward/mean", -step * 0.5f}, {"loss", std::numeric_limits<float>::quiet_NaN()}}));
  }
  return writer->Flush();
}

Status WriteRollouts(const std::string& path) {
  RolloutTable table(3);
  for (int i = 0; i < 3; ++i) {
    RolloutRow& row = table[static_cast<size_t>(i)];
    row.input_tokens = {1, 2, i};
    row.output_tokens.assign(static_cast<size_t>(i), 100 + i);
    row.output_logprobs.emplace(static_cast<size_t>(i), -0.5f * static_cast<float>(i));
    row.prompt = "pr\xc3\xb6mpt " + std::to_string(i);
    row.problem_id = std::to_string(i);
    row.completion = "answer\n";
    row.advantages = 0.5f - static_cast<float>(i);
    row.rewards = static_cast<float>(i);
    row.task_rewards = 0.25f;
    row.proofs = std::string("\0\x80", 2);
    row.step = 7;
    row.task_type = "words";
    row.temperature = 0.75f;
    row.group_id = (uint64_t{1} << 63) + static_cast<uint64_t>(i);
    row.sample = i;
    row.versions.assign(static_cast<size_t>(i), 7);
    row.stop_reason = "stop";
  }
  table[1].input_logprobs = {{0, 0, 0}};
  table[2].seed = int64_t{1} << 40;
  VOLERY_ASSIGN_OR_RETURN(std::string bytes, EncodeRollouts(table));
  return base::WriteFileAtomic(path, bytes);
}

Status WriteSafetensors(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Open(path,
                                                               {{"weight", DType::kF32, {2, 3}},
                                                                {"half", DType::kBf16, {3}},
                                                                {"scalar", DType::kI64, {}},
                                                                {"empty", DType::kF32, {0, 4}}},
                                                               {{"version", "12"}}));
  const float weight[6] = {0, 0.5f, -1, 1.5f, 2, -2.5f};
  const uint16_t half[3] = {0x3f80, 0xc000, 0x0000};  // 1, -2, 0
  const int64_t scalar = -5;
  VOLERY_RETURN_IF_ERROR(writer->Write(std::as_bytes(std::span(weight))));
  VOLERY_RETURN_IF_ERROR(writer->Write(std::as_bytes(std::span(half))));
  VOLERY_RETURN_IF_ERROR(writer->Write(std::as_bytes(std::span(&scalar, 1))));
  VOLERY_RETURN_IF_ERROR(writer->Write({}));
  return writer->Finish();
}

// Every element type, values by a counter: byte k of the file's tensors is (7 k + 1) mod 251, bools 0 or 1.
Status WriteTorchFile(const std::string& path) {
  std::vector<TorchDeclaration> tensors;
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const DType dtype = static_cast<DType>(i);
    tensors.push_back({Cat("blocks.", i, ".", DTypeName(dtype)), dtype, {2, 300}});
  }
  tensors.push_back({"scalar \xc3\xa9", DType::kI64, {}});
  tensors.push_back({"empty", DType::kBf16, {4, 0, 70000}});
  tensors.push_back({"row", DType::kF32, {1, 1, 70000, 1}});
  VOLERY_ASSIGN_OR_RETURN(auto writer, TorchFileWriter::Open(path, tensors));
  size_t counter = 0;
  for (const TorchDeclaration& tensor : tensors) {
    std::vector<std::byte> bytes(static_cast<size_t>(*ByteCount(tensor.dtype, tensor.shape)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>((7 * counter++ + 1) % 251);
    if (tensor.dtype == DType::kBool) {
      for (std::byte& byte : bytes) byte &= std::byte{1};
    }
    VOLERY_RETURN_IF_ERROR(writer->Write(bytes));
  }
  return writer->Finish();
}

Status WriteAll(const std::string& folder) {
  VOLERY_RETURN_IF_ERROR(base::RemoveAll(folder));
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder));
  VOLERY_RETURN_IF_ERROR(WriteEvents(folder + "/events"));
  VOLERY_RETURN_IF_ERROR(WriteRollouts(folder + "/rollouts.parquet"));
  VOLERY_RETURN_IF_ERROR(WriteTorchFile(folder + "/model.pth"));
  return WriteSafetensors(folder + "/model.safetensors");
}

}  // namespace
}  // namespace volery::formats

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]), 2;
  const volery::Status status = volery::formats::WriteAll(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", volery::Message(status).c_str());
  return status.ok() ? 0 : 1;
}
