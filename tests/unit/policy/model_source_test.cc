#include "core/policy/model_source.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "core/formats/safetensors_writer.h"
#include "core/policy/version.h"

namespace volery::policy {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kGolden = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/models/";
const std::string kSmolLm2 = std::string(VOLERY_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr char kAlphabet[] = "abcdefghij";

const plugin::PluginHost& Host() {
  static const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
  return host;
}

OpenOptions Characters() {
  OpenOptions options;
  options.tokenizer = "characters";
  options.characters = kAlphabet;
  return options;
}

std::string Read(const std::string& path) {
  auto text = base::ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

// A copy of a golden model folder that a test may spoil.
class Folder {
 public:
  explicit Folder(const std::string& name) {
    for (const char* file : {"config.json", "model.safetensors"})
      Put(file, Read(kGolden + name + "/" + file));
    config_ = json::parse(Read(path() + "/config.json"));
    const auto view = formats::ParseSafetensors(bytes(), "golden");
    EXPECT_TRUE(view.ok()) << view.status();
    for (const auto& tensor : view->tensors) {
      at::Tensor value = at::empty(tensor.shape);
      std::memcpy(value.mutable_data_ptr(), tensor.bytes.data(), tensor.bytes.size());
      weights_[tensor.name] = value;
    }
  }
  std::string path() const { return folder_.path(); }
  void Put(const std::string& file, const std::string& text) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.File(file), text).ok());
  }
  void PutConfig() { Put("config.json", config_.dump()); }
  static void PutWeights(const std::string& path, const nn::NamedTensors& weights) {
    const auto version = MakeVersion(VersionId(0), weights);
    std::vector<formats::SafetensorsDeclaration> declarations;
    for (const auto& info : version->tensors()) declarations.push_back({info.name, info.dtype, info.shape});
    auto writer = formats::SafetensorsWriter::Open(path, declarations);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (size_t i = 0; i < declarations.size(); ++i) ASSERT_TRUE((*writer)->Write(version->bytes(i)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  void PutWeights() { PutWeights(folder_.File("model.safetensors"), weights_); }
  StatusOr<ModelSource> Open(const OpenOptions& options = Characters()) const {
    return OpenModel(path(), FamiliesOf(Host()), options);
  }
  std::string Refusal(const OpenOptions& options = Characters()) const {
    const auto opened = Open(options);
    EXPECT_FALSE(opened.ok());
    EXPECT_TRUE(IsInputError(opened.status())) << opened.status();
    return Message(opened.status());
  }
  std::span<const std::byte> bytes() {
    raw_ = Read(path() + "/model.safetensors");
    return std::as_bytes(std::span(raw_));
  }

  json config_;
  nn::NamedTensors weights_;

 private:
  base::TemporaryFolder folder_;
  std::string raw_;
};

TEST(ModelSource, ReadsAFolder) {
  for (const std::string name : {"qwen2-tied", "qwen2-untied", "qwen3", "llama-bias"}) {
    const Folder folder(name);
    const auto source = folder.Open();
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_EQ(source->info.vocabulary, 168);
    EXPECT_EQ(source->vocabulary(), 14);
    EXPECT_EQ(source->weights.size(), folder.weights_.size());
    for (const auto& [key, value] : folder.weights_)
      EXPECT_TRUE(at::equal(source->weights.at(key), value)) << key;
    EXPECT_THAT(source->stop_ids, ElementsAre(2));
    EXPECT_FALSE(source->chat.has_value());
    EXPECT_THAT(Message(source->RequireChat().status()), HasSubstr("there are chatml"));
    const auto model = source->Build(at::kFloat, at::kCPU);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->parameters().size(), source->weights.size());
  }
}

TEST(ModelSource, ConvertsStoredTypes) {
  for (auto type : {at::kHalf, at::kBFloat16, at::kDouble}) {
    Folder folder("qwen2-tied");
    nn::NamedTensors expected;
    for (auto& [name, value] : folder.weights_) {
      value = value.to(type);
      expected[name] = value.to(at::kFloat);
    }
    folder.PutWeights();
    auto source = folder.Open();
    ASSERT_TRUE(source.ok()) << source.status();
    for (const auto& [name, value] : expected)
      EXPECT_TRUE(at::equal(source->weights.at(name), value)) << name;
    OpenOptions options = Characters();
    options.dtype = at::kBFloat16;
    source = folder.Open(options);
    ASSERT_TRUE(source.ok());
    EXPECT_EQ(source->weights.begin()->second.scalar_type(), at::kBFloat16);
  }
  Folder folder("qwen2-tied");
  folder.weights_["model.norm.weight"] = folder.weights_["model.norm.weight"].to(at::kInt);
  folder.PutWeights();
  EXPECT_THAT(folder.Refusal(), HasSubstr("model.norm.weight is stored as I32"));
}

TEST(ModelSource, ReadsShards) {
  Folder folder("llama-scaled");
  nn::NamedTensors first, second;
  formats::SafetensorsIndex index;
  for (const auto& [name, value] : folder.weights_) {
    const bool in_first = first.size() < folder.weights_.size() / 2;
    (in_first ? first : second)[name] = value;
    index.weight_map[name] =
        in_first ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
  }
  ASSERT_TRUE(base::RemoveAll(folder.path() + "/model.safetensors").ok());
  EXPECT_THAT(folder.Refusal(), HasSubstr("holds no weights (model.safetensors"));
  Folder::PutWeights(folder.path() + "/model-00001-of-00002.safetensors", first);
  folder.Put("model.safetensors.index.json", formats::FormatSafetensorsIndex(index));
  EXPECT_THAT(folder.Refusal(), HasSubstr("fetch the missing shard"));
  Folder::PutWeights(folder.path() + "/model-00002-of-00002.safetensors", second);
  const auto source = folder.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  for (const auto& [name, value] : folder.weights_)
    EXPECT_TRUE(at::equal(source->weights.at(name), value)) << name;
  second.erase(second.begin());
  Folder::PutWeights(folder.path() + "/model-00002-of-00002.safetensors", second);
  EXPECT_THAT(folder.Refusal(), HasSubstr("is missing, though the index names this file"));
}

TEST(ModelSource, RefusesDamagedFiles) {
  EXPECT_THAT(Message(OpenModel("/nowhere/at/all", FamiliesOf(Host()), {}).status()),
              HasSubstr("/nowhere/at/all: there is no such"));
  Folder folder("qwen3");
  const std::string whole = Read(folder.path() + "/model.safetensors");
  for (size_t size : {size_t{0}, size_t{7}, size_t{100}, whole.size() - 1}) {
    folder.Put("model.safetensors", whole.substr(0, size));
    EXPECT_THAT(folder.Refusal(), HasSubstr("model.safetensors")) << size;
  }
  std::string lies = whole;
  lies[6] = 1;  // a header of 2^48 bytes
  folder.Put("model.safetensors", lies);
  EXPECT_THAT(folder.Refusal(), HasSubstr("model.safetensors"));
  folder.Put("config.json", "{\"model_type\": ");
  EXPECT_THAT(folder.Refusal(), HasSubstr("config.json: not a JSON object"));
  ASSERT_TRUE(base::RemoveAll(folder.path() + "/config.json").ok());
  EXPECT_THAT(folder.Refusal(), HasSubstr("holds no config.json"));
  folder.Put("odd.bin", "x");
  EXPECT_THAT(Message(OpenModel(folder.path() + "/odd.bin", FamiliesOf(Host()), {}).status()),
              HasSubstr("neither a folder nor a .gguf, .pth or .safetensors file"));
  folder.Put("short.gguf", "GGUF\x03");
  EXPECT_THAT(Message(OpenModel(folder.path() + "/short.gguf", FamiliesOf(Host()), {}).status()),
              HasSubstr("short.gguf"));
}

TEST(ModelSource, RefusesWeightsThatDoNotFitTheConfiguration) {
  {
    Folder folder("qwen2-untied");
    for (const char* name : {"lm_head.weight", "model.norm.weight"}) folder.weights_.erase(name);
    folder.PutWeights();
    EXPECT_THAT(
        folder.Refusal(),
        HasSubstr(
            "2 tensors that the configuration asks for are missing: model.norm.weight, lm_head.weight"));
  }
  {
    Folder folder("qwen2-untied");
    for (int i = 0; i < 7; ++i) folder.weights_[Cat("extra.", i)] = at::zeros({2});
    folder.weights_["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::zeros({4});
    folder.PutWeights();
    EXPECT_THAT(folder.Refusal(), HasSubstr("7 tensors have no place in the model"));
    EXPECT_THAT(folder.Refusal(), HasSubstr("extra.4 and 2 more"));
  }
  {
    Folder folder("qwen2-untied");
    folder.weights_["model.norm.weight"] = at::zeros({33});
    folder.PutWeights();
    EXPECT_THAT(folder.Refusal(),
                HasSubstr("model.norm.weight has the shape [33], the configuration says [32]"));
  }
}

TEST(ModelSource, RefusesATieConflict) {
  Folder folder("llama-tied");
  folder.weights_["lm_head.weight"] = folder.weights_.at("model.embed_tokens.weight").clone();
  folder.PutWeights();
  const auto source = folder.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_FALSE(source->weights.contains("lm_head.weight"));
  folder.weights_["lm_head.weight"].add_(1);
  folder.PutWeights();
  EXPECT_THAT(folder.Refusal(), HasSubstr("tie_word_embeddings = true, but lm_head.weight differs"));
}

TEST(ModelSource, RefusesFamiliesAndKeysByName) {
  Folder folder("qwen2-tied");
  folder.config_["model_type"] = "mamba9";
  folder.PutConfig();
  EXPECT_THAT(folder.Refusal(),
              testing::AllOf(HasSubstr("\"mamba9\""), HasSubstr("qwen2"), HasSubstr("llama")));
  folder.config_["model_type"] = "qwen2";
  folder.config_["hidden_act"] = "gelu";
  folder.PutConfig();
  EXPECT_THAT(folder.Refusal(), testing::AllOf(HasSubstr("hidden_act"), HasSubstr("config.json")));
  folder.config_.erase("model_type");
  folder.PutConfig();
  EXPECT_THAT(folder.Refusal(), HasSubstr("model_type"));
}

TEST(ModelSource, RefusesATokenizerThatIsLargerThanTheModel) {
  const Folder folder("qwen2-tied");
  OpenOptions options;
  options.tokenizer = "bytes";
  EXPECT_THAT(folder.Refusal(options),
              HasSubstr("168 rows of embeddings, the tokenizer (tokenizer \"bytes\") 259 ids"));
  EXPECT_THAT(folder.Refusal({}), HasSubstr("holds no tokenizer.json"));
}

TEST(ModelSource, StopIdsAreTheUnionAndSamplingDefaultsAreNoted) {
  Folder folder("qwen2-tied");
  folder.Put(
      "generation_config.json",
      R"({"eos_token_id": [11, 5, 150], "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.05})");
  const auto source = folder.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(source->stop_ids, ElementsAre(2, 5, 11));
  ASSERT_EQ(source->notes.size(), 2u);
  EXPECT_THAT(source->notes[0],
              testing::AllOf(HasSubstr("temperature = 0.7"), HasSubstr("repetition_penalty = 1.05"),
                             HasSubstr("not used")));
  EXPECT_THAT(source->notes[1], HasSubstr("stop id 150"));
  folder.Put("generation_config.json", "[");
  EXPECT_THAT(folder.Refusal(), HasSubstr("generation_config.json"));
}

TEST(ModelSource, NamedChatTemplateNeedsItsTokens) {
  const Folder folder("qwen2-tied");
  OpenOptions options = Characters();
  options.chat_template = "chatml";
  EXPECT_THAT(folder.Refusal(options), HasSubstr("ends turns with <|im_end|>"));
  options.chat_template = "rwkv-world";
  const auto world = folder.Open(options);
  ASSERT_TRUE(world.ok()) << world.status();
  EXPECT_THAT(world->stop_texts, ElementsAre("\n\nUser:"));
  EXPECT_EQ(world->answer_end, 11);  // <|eos|> of ten characters
  EXPECT_THAT(world->stop_ids, testing::Contains(11));
  options.chat_template = "chatmk";
  EXPECT_THAT(folder.Refusal(options), HasSubstr("chatmk"));
}

TEST(ModelSource, FromScratch) {
  native::ScratchConfig config;
  config.family = "llama";
  config.layers = 2;
  config.width = 32;
  config.heads = 4;
  config.context = 64;
  const auto source = ModelFromScratch(config, 5, FamiliesOf(Host()), Characters());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->info.vocabulary, 14);
  EXPECT_EQ(source->weights.size(), source->specs.size());
  EXPECT_THAT(source->stop_ids, ElementsAre(11));  // <|eos|> of ten characters
  const auto again = ModelFromScratch(config, 5, FamiliesOf(Host()), Characters());
  const auto other = ModelFromScratch(config, 6, FamiliesOf(Host()), Characters());
  const std::string name = "model.embed_tokens.weight";
  EXPECT_TRUE(at::equal(source->weights.at(name), again->weights.at(name)));
  EXPECT_FALSE(at::equal(source->weights.at(name), other->weights.at(name)));
  config.heads = 5;
  EXPECT_FALSE(ModelFromScratch(config, 5, FamiliesOf(Host()), Characters()).ok());
  EXPECT_THAT(Message(ModelFromScratch(config, 5, FamiliesOf(Host()), {}).status()),
              HasSubstr("needs a tokenizer"));
}

TEST(ModelSource, ReadsSmolLm2) {
  OpenOptions options;
  options.dtype = at::kBFloat16;
  const auto source = OpenModel(kSmolLm2, FamiliesOf(Host()), options);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->info.family, "llama");
  EXPECT_EQ(source->info.layers, 30);
  EXPECT_TRUE(source->info.tied);
  EXPECT_EQ(source->weights.size(), 272u);
  EXPECT_EQ(source->weights.at("model.layers.3.self_attn.k_proj.weight").sizes(),
            (at::IntArrayRef{192, 576}));
  EXPECT_EQ(source->vocabulary(), 49152);
  EXPECT_EQ(source->chat, text::ChatTemplate::kSmolLm2);
  EXPECT_THAT(source->stop_ids, ElementsAre(2));
  const auto tokenizer = OpenTokenizer(kSmolLm2);
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->size(), 49152);
  options.weights = false;
  const auto described = OpenModel(kSmolLm2, FamiliesOf(Host()), options);
  ASSERT_TRUE(described.ok());
  EXPECT_TRUE(described->weights.empty());
  EXPECT_EQ(described->specs.size(), 272u);
}

}  // namespace
}  // namespace volery::policy
