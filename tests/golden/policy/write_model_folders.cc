// Writes model folders for check_model_folders.py: each tiny model of tests/golden/models with a characters
// tokenizer, one from scratch with a bytes tokenizer, and SmolLM2 from its GGUF in bfloat16; beside each,
// ids.json with texts and the ids that our tokenizer gives.
//
//   write_model_folders PLUGIN_FOLDER GOLDEN_FOLDER SMOLLM2.gguf OUTPUT_FOLDER

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/files.h"
#include "core/policy/model_folder.h"
#include "core/policy/version.h"

namespace volery::policy {
namespace {

Status WriteIds(const std::string& path, const text::Tokenizer& tokenizer,
                const std::vector<std::string>& texts) {
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& text : texts) rows.push_back({{"text", text}, {"ids", tokenizer.Encode(text)}});
  return base::WriteFileAtomic(path, rows.dump(1));
}

Status Export(const ModelSource& source, const std::string& folder, int64_t shard_bytes,
              const std::vector<std::string>& texts) {
  VOLERY_ASSIGN_OR_RETURN(ModelExport model, MakeExport(source));
  model.shard_bytes = shard_bytes;
  VOLERY_RETURN_IF_ERROR(base::RemoveAll(folder));
  VOLERY_RETURN_IF_ERROR(FolderModelWriter(model).Write(folder, *MakeVersion(VersionId(0), source.weights)));
  return WriteIds(folder + "/ids.json", *source.tokenizer.tokenizer, texts);
}

Status WriteAll(const std::string& plugins, const std::string& golden, const std::string& smollm2,
                const std::string& output) {
  const plugin::PluginHost host({plugins});
  const FamilyFinder families = FamiliesOf(host);
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(output));
  OpenOptions characters;
  characters.tokenizer = "characters";
  characters.characters = "abcdefghij >";
  VOLERY_ASSIGN_OR_RETURN(const std::vector<std::string> names, base::ListFolder(golden));
  for (const std::string& name : names) {
    if (!base::IsFolder(golden + "/" + name)) continue;
    VOLERY_ASSIGN_OR_RETURN(const std::string config, base::ReadFile(golden + "/" + name + "/config.json"));
    const std::string type = nlohmann::json::parse(config).value("model_type", "");
    if (type.starts_with("rwkv") || type == "goldfinch") continue;  // transformers doesn't know them
    VOLERY_ASSIGN_OR_RETURN(const ModelSource source, OpenModel(golden + "/" + name, families, characters));
    const int64_t shard_bytes = name == "qwen3" ? 40'000 : 5'000'000'000;
    VOLERY_RETURN_IF_ERROR(
        Export(source, output + "/" + name, shard_bytes, {"abc>cba", "a b", "hello", "j"}));
  }
  OpenOptions bytes;
  bytes.tokenizer = "bytes";
  native::ScratchConfig scratch;
  scratch.family = "llama";
  scratch.layers = 2;
  scratch.width = 32;
  scratch.heads = 4;
  scratch.context = 64;
  VOLERY_ASSIGN_OR_RETURN(const ModelSource made, ModelFromScratch(scratch, 1, families, bytes));
  VOLERY_RETURN_IF_ERROR(
      Export(made, output + "/scratch-bytes", 5'000'000'000, {"abc", "gr\xc3\xbc\xc3\x9f dich", "a\nb\t"}));
  OpenOptions bfloat16;
  bfloat16.dtype = c10::ScalarType::BFloat16;
  VOLERY_ASSIGN_OR_RETURN(const ModelSource smol, OpenModel(smollm2, families, bfloat16));
  return Export(
      smol, output + "/smollm2", 5'000'000'000,
      {"Hello world", "x  12 + 345", "<|im_start|>user\nHi<|im_end|>\n", "na\xc3\xafve \xe2\x82\xac"});
}

}  // namespace
}  // namespace volery::policy

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr,
                 "usage: write_model_folders PLUGIN_FOLDER GOLDEN_FOLDER SMOLLM2.gguf OUTPUT_FOLDER\n");
    return 2;
  }
  const volery::Status status = volery::policy::WriteAll(argv[1], argv[2], argv[3], argv[4]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", volery::Message(status).c_str());
  return status.ok() ? 0 : 1;
}
