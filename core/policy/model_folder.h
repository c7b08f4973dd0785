#pragma once
// Writing a weight version as a Hugging Face model folder that transformers and volery load: config.json,
// generation_config.json, model.safetensors (or shards with an index), the tokenizer's files, a model card. Not
// the trainer's state.
//
//   FolderModelWriter writer(MakeExport(source).value());
//   VOLERY_RETURN_IF_ERROR(writer.Write("runs/a/model", *version));

#include <c10/core/ScalarType.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/data/seams.h"
#include "core/policy/model_source.h"

namespace volery::policy {

// Everything of a folder but the weights.
struct ModelExport {
  std::string config_json;                   // its dtype key is set to that of the weights, all else stays
  std::map<std::string, std::string> files;  // generation_config.json and the tokenizer's files, by name
  std::optional<c10::ScalarType> dtype;      // of the stored weights; nothing: the version's own
  std::function<std::string(VersionId)> card;  // README.md of a version; empty: none is written
  int64_t shard_bytes = 5'000'000'000;       // a file of weights is split where it would grow beyond this
};

// Byte copies of the source's tokenizer files and generation_config.json where it had them, else made from
// what it says.
StatusOr<ModelExport> MakeExport(const ModelSource& source);

// Thread-safe (two writers of one folder at a time are not).
class FolderModelWriter : public data::ModelWriter {
 public:
  explicit FolderModelWriter(ModelExport model) : model_(std::move(model)) {}

  // A folder that doesn't exist appears complete or not at all (written as `folder`.tmp, fsynced, renamed).
  // In one that exists (a checkpoint that is being written) each file is replaced completely or not at all,
  // config.json last; weight files of an earlier version that the new one doesn't have are removed.
  // ResourceExhausted: not enough room on the disk.
  Status Write(const std::string& folder, const data::WeightVersion& version) override;
  // Writes the card of a folder's version anew: what was measured may have come after the weights.
  Status WriteCard(const std::string& folder, VersionId version) const;

 private:
  Status WriteInside(const std::string& folder, const data::WeightVersion& version) const;
  const ModelExport model_;
};

}  // namespace volery::policy
