#include "core/text/world_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/text/stream_decoder.h"
#include "core/text/tokenizer_files.h"
#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

using Ids = std::vector<int32_t>;

const std::string& VocabularyFile() {
  static const std::string file = [] {
    const auto read =
        base::ReadFile(std::string(VOLERY_SOURCE_DIR) + "/third_party/rwkv_world/rwkv_vocab_v20230424.txt");
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? *read : "";
  }();
  return file;
}

const Tokenizer& World() {
  static const std::shared_ptr<Tokenizer> world = *WorldTokenizer(VocabularyFile(), "the vocabulary");
  return *world;
}

const nlohmann::json& Golden() {
  static const nlohmann::json golden = nlohmann::json::parse(GoldenText("world.json"));
  return golden;
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string Joined(const Ids& ids) {
  std::string bytes;
  for (const int32_t id : ids) bytes += World().TokenBytes(id);
  return bytes;
}

// As random_bytes of tests/golden/text/record_world.py.
std::string RandomBytes(size_t size) {
  uint64_t state = 20230424;
  const auto below = [&](uint64_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>((state >> 33) % bound);
  };
  std::string out;
  while (out.size() < size) {
    const size_t kind = below(4);
    const std::string_view token = World().TokenBytes(static_cast<int32_t>(1 + below(65529)));
    if (kind == 0) {
      out += static_cast<char>(below(256));
    } else {
      out += kind == 1 ? token.substr(0, 1 + below(token.size())) : token;
    }
  }
  return out;
}

TEST(WorldTokenizer, TheVocabularyIsTheOneThatThePackageShips) {
  EXPECT_EQ(base::Sha256Hex(VocabularyFile()),
            "8324476023347dec2964625ccb2075c864d250a9c6d9a74f36daba628de8c008");
  EXPECT_EQ(World().size(), 65530);
}

TEST(WorldTokenizer, GivesTheIdsAndTextsOfThePackage) {
  ExpectGoldenRows(World(), Golden()["rows"], "world.json");
}

TEST(WorldTokenizer, KeepsBytesThatAreNoUtf8) {
  ASSERT_GE(Golden()["bytes"].size(), 15u);
  for (const auto& row : Golden()["bytes"]) {
    const std::string bytes = FromHex(row["hex"]);
    const Ids ids = World().Encode(bytes);
    EXPECT_EQ(ids, row["ids"].get<Ids>()) << row["hex"];
    EXPECT_EQ(Joined(ids), bytes) << row["hex"];
    EXPECT_EQ(World().Decode(ids, false), row["text"].get<std::string>()) << row["hex"];
  }
}

TEST(WorldTokenizer, GivesTheIdsOfThePackageForRandomBytes) {
  const auto& golden = Golden()["random"];
  const std::string bytes = RandomBytes(262144);
  ASSERT_EQ(bytes.size(), golden["bytes"].get<size_t>());
  const Ids ids = World().Encode(bytes);
  EXPECT_EQ(ids.size(), golden["tokens"].get<size_t>());
  EXPECT_EQ(base::Sha256Hex(std::as_bytes(std::span(ids))), golden["sha256"].get<std::string>());
  EXPECT_EQ(Joined(ids), bytes);
}

TEST(WorldTokenizer, DecodesAnyIdsAndStreamsThem) {
  ASSERT_GE(Golden()["decodes"].size(), 200u);
  const std::shared_ptr<const Tokenizer> world(std::shared_ptr<void>(), &World());
  for (const auto& row : Golden()["decodes"]) {
    const Ids ids = row["ids"].get<Ids>();
    for (const bool skip : {false, true})
      EXPECT_EQ(World().Decode(ids, skip), row["text"].get<std::string>());
    StreamDecoder stream(world, false);
    std::string joined;
    for (const int32_t id : ids) joined += stream.Push(id);
    EXPECT_EQ(joined + stream.Finish(), row["text"].get<std::string>());
  }
}

TEST(WorldTokenizer, TheEndOfADocumentIsIdZeroAndNoText) {
  EXPECT_TRUE(World().IsSpecial(0));
  EXPECT_FALSE(World().IsSpecial(1));
  EXPECT_EQ(World().TokenBytes(0), "");
  EXPECT_EQ(World().IdOf(kWorldEndContent), 0);
  EXPECT_EQ(World().Content(0), kWorldEndContent);
  const Ids spelled = World().Encode(kWorldEndContent);
  EXPECT_GT(spelled.size(), 1u);
  EXPECT_EQ(World().Decode(spelled, true), kWorldEndContent);
}

TEST(WorldTokenizer, LooksUpTokens) {
  EXPECT_EQ(World().IdOf("\n\n"), 261);
  EXPECT_EQ(World().IdOf("\xFF"), 256);
  EXPECT_EQ(World().IdOf(std::string(128, ' ')), 65529);
  EXPECT_FALSE(World().IdOf("").has_value());
  EXPECT_FALSE(World().IdOf("User: hi").has_value());
  for (int32_t id = 1; id < World().size(); ++id) ASSERT_EQ(World().IdOf(World().Content(id)), id);
  for (const int32_t id : {-1, 65530, 65535, INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(World().TokenBytes(id), "");
    EXPECT_EQ(World().Content(id), "");
  }
}

TEST(WorldTokenizer, GivesItsVocabularyAsFile) {
  TokenizerFilesOptions options;
  options.eos = options.pad = kWorldEnd;
  const auto files = MakeTokenizerFiles(World(), options);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 2u);
  EXPECT_EQ(files->at("rwkv_vocab_v20230424.txt"), VocabularyFile());
  const auto config = nlohmann::json::parse(files->at("tokenizer_config.json"));
  EXPECT_EQ(config["tokenizer_class"], "RwkvTokenizer");
  EXPECT_EQ(config["auto_map"]["AutoTokenizer"][0], "hf_rwkv_tokenizer.RwkvTokenizer");
  EXPECT_EQ(config["eos_token"], kWorldEndContent);
  options.eos = 256;
  EXPECT_NE(Message(MakeTokenizerFiles(World(), options).status()).find("id 256, whose token is no text"),
            std::string::npos);
}

}  // namespace
}  // namespace volery::text
