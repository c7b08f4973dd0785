#include "core/policy/model_folder.h"

#include "core/policy/model_card.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/policy/version.h"

namespace volery::policy {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const plugin::PluginHost& Host() {
  static const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
  return host;
}

ModelSource Scratch() {
  native::ScratchConfig config;
  config.family = "qwen2";
  config.layers = 2;
  config.width = 32;
  config.heads = 4;
  config.context = 64;
  OpenOptions options;
  options.tokenizer = "characters";
  options.characters = "abcdefghij>";
  auto source = ModelFromScratch(config, 3, FamiliesOf(Host()), options);
  EXPECT_TRUE(source.ok()) << source.status();
  return std::move(source).value();
}

std::map<std::string, std::string> Contents(const std::string& folder) {
  std::map<std::string, std::string> result;
  const auto names = base::ListFolder(folder);
  EXPECT_TRUE(names.ok()) << names.status();
  for (const std::string& name : *names) result[name] = base::ReadFile(folder + "/" + name).value();
  return result;
}

struct Fixture {
  Fixture()
      : source(Scratch()),
        version(MakeVersion(VersionId(0), source.weights)),
        model(MakeExport(source).value()) {}
  base::TemporaryFolder temporary;
  ModelSource source;
  std::shared_ptr<const TensorVersion> version;
  ModelExport model;
};

TEST(ModelFolder, ACardSaysWhatTheModelIs) {
  Fixture f;
  ModelCard card = CardOf(f.source);
  EXPECT_FALSE(card.start);
  card.name = "sums: \"first\"";
  card.training = "next-token training";
  card.recipe_hash = "abc";
  card.program = "volery 1";
  f.model.card = [&](VersionId version) {
    return FormatModelCard(card, version.value, {{"validation/loss", 0.25, 3}});
  };
  const std::string folder = f.temporary.File("model");
  const FolderModelWriter writer(f.model);
  ASSERT_TRUE(FolderModelWriter(f.model).Write(folder, *f.version).ok());
  const std::string first = base::ReadFile(folder + "/README.md").value();
  EXPECT_TRUE(first.starts_with(Cat("---\npipeline_tag: text-generation\ntags:\n- volery\n- \"", f.source.info.family,
                                    "\"\n---\n# sums: \"first\"\n")))
      << first;
  for (const std::string part : {"next-token training, 0 steps", "Started from: nothing", "volery 1", "SHA-256: abc",
                                 "| validation/loss | 0.25 | 3 |", "volery generate --model . --prompt"})
    EXPECT_NE(first.find(part), std::string::npos) << part << first;
  ASSERT_TRUE(writer.WriteCard(folder, VersionId(7)).ok());
  EXPECT_NE(base::ReadFile(folder + "/README.md").value().find("7 steps"), std::string::npos);
  f.source.where = "/home/someone/models/base-7b";
  EXPECT_EQ(CardOf(f.source).start, "base-7b");
  f.source.where += "/";
  EXPECT_EQ(CardOf(f.source).start, "base-7b");
}

TEST(ModelFolder, WhatIsWrittenOpensToTheSameModelAndWritesTheSameBytes) {
  Fixture f;
  FolderModelWriter writer(f.model);
  const std::string folder = f.temporary.File("model");
  ASSERT_TRUE(writer.Write(folder, *f.version).ok());
  EXPECT_FALSE(base::Exists(folder + ".tmp"));
  const auto opened = OpenModel(folder, FamiliesOf(Host()), {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->weights.size(), f.source.weights.size());
  for (const auto& [name, value] : f.source.weights)
    EXPECT_TRUE(at::equal(opened->weights.at(name), value)) << name;
  EXPECT_EQ(opened->stop_ids, f.source.stop_ids);
  EXPECT_EQ(opened->tokenizer.tokenizer->Encode("abj>"), f.source.tokenizer.tokenizer->Encode("abj>"));
  EXPECT_EQ(opened->tokenizer.bos, f.source.tokenizer.bos);
  const std::string again = f.temporary.File("again");
  FolderModelWriter second(MakeExport(*opened).value());
  ASSERT_TRUE(second.Write(again, *MakeVersion(VersionId(1), opened->weights)).ok());
  EXPECT_EQ(Contents(folder), Contents(again));
}

TEST(ModelFolder, StoresAnotherTypeAndSaysSo) {
  Fixture f;
  f.model.dtype = at::kBFloat16;
  json config = json::parse(f.model.config_json);
  for (const char* spelling : {"dtype", "torch_dtype"}) {
    config.erase("dtype");
    config.erase("torch_dtype");
    config[spelling] = "float32";
    config["a_key_of_its_own"] = {1, 2};
    f.model.config_json = config.dump();
    const std::string folder = f.temporary.File(spelling);
    ASSERT_TRUE(FolderModelWriter(f.model).Write(folder, *f.version).ok());
    const json written = json::parse(Contents(folder)["config.json"]);
    EXPECT_EQ(written[spelling], "bfloat16");
    EXPECT_EQ(written.size(), config.size());
    EXPECT_EQ(written["a_key_of_its_own"], config["a_key_of_its_own"]);
    const auto opened = OpenModel(folder, FamiliesOf(Host()), {});
    ASSERT_TRUE(opened.ok()) << opened.status();
    for (const auto& [name, value] : f.source.weights)
      EXPECT_TRUE(at::equal(opened->weights.at(name), value.to(at::kBFloat16).to(at::kFloat))) << name;
  }
}

TEST(ModelFolder, SplitsAndReplacesShards) {
  Fixture f;
  f.model.shard_bytes = 20000;
  const std::string folder = f.temporary.File("model");
  ASSERT_TRUE(FolderModelWriter(f.model).Write(folder, *f.version).ok());
  const auto contents = Contents(folder);
  EXPECT_TRUE(contents.contains("model.safetensors.index.json"));
  EXPECT_FALSE(contents.contains("model.safetensors"));
  int shards = 0;
  for (const auto& [name, bytes] : contents) {
    if (!name.starts_with("model-")) continue;
    ++shards;
    EXPECT_LT(bytes.size(), 20000u + 4096u);
  }
  EXPECT_GT(shards, 1);
  const auto opened = OpenModel(folder, FamiliesOf(Host()), {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  for (const auto& [name, value] : f.source.weights)
    EXPECT_TRUE(at::equal(opened->weights.at(name), value)) << name;
  // A later version in one file leaves no shard of the earlier one behind, and other files alone.
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/trainer_state.bin", "x").ok());
  f.model.shard_bytes = 1'000'000'000;
  ASSERT_TRUE(FolderModelWriter(f.model).Write(folder, *f.version).ok());
  const auto replaced = Contents(folder);
  EXPECT_TRUE(replaced.contains("model.safetensors"));
  EXPECT_TRUE(replaced.contains("trainer_state.bin"));
  for (const auto& [name, bytes] : replaced)
    EXPECT_FALSE(name.starts_with("model-") || name == "model.safetensors.index.json") << name;
}

TEST(ModelFolder, AFullDiskLeavesTheOldStateGood) {
  Fixture f;
  const std::string folder = f.temporary.File("model");
  FolderModelWriter writer(f.model);
  ASSERT_TRUE(writer.Write(folder, *f.version).ok());
  const auto before = Contents(folder);
  nn::NamedTensors changed;
  for (const auto& [name, value] : f.source.weights) changed[name] = value + 1;
  const auto next = MakeVersion(VersionId(1), changed);
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler =
      std::signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit then fails as on a full disk
  rlimit small = old_limit;
  small.rlim_cur = 30000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status in_place = writer.Write(folder, *next), fresh = writer.Write(f.temporary.File("other"), *next);
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(in_place.ok());
  EXPECT_FALSE(fresh.ok());
  EXPECT_THAT(Message(in_place), HasSubstr("model.safetensors"));
  EXPECT_EQ(Contents(folder), before);
  const auto names = base::ListFolder(f.temporary.path());
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre("model"));
  ASSERT_TRUE(writer.Write(folder, *next).ok());
}

TEST(ModelFolder, RefusesAFileInTheWay) {
  Fixture f;
  ASSERT_TRUE(base::WriteFileAtomic(f.temporary.File("file"), "x").ok());
  EXPECT_EQ(FolderModelWriter(f.model).Write(f.temporary.File("file"), *f.version).code(),
            StatusCode::kAlreadyExists);
}

TEST(ModelFolder, CopiesTheSourcesTokenizerFilesByteForByte) {
  Fixture f;
  const std::string folder = f.temporary.File("model");
  ASSERT_TRUE(FolderModelWriter(f.model).Write(folder, *f.version).ok());
  const std::string odd = Contents(folder)["tokenizer.json"] + "\n\n";
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/tokenizer.json", odd).ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/special_tokens_map.json", "{ }").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder + "/generation_config.json", R"({ "eos_token_id": 12 })").ok());
  const auto opened = OpenModel(folder, FamiliesOf(Host()), {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  const auto model = MakeExport(*opened);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(model->files.at("tokenizer.json"), odd);
  EXPECT_EQ(model->files.at("special_tokens_map.json"), "{ }");
  EXPECT_EQ(model->files.at("generation_config.json"), R"({ "eos_token_id": 12 })");
}

}  // namespace
}  // namespace volery::policy
