#include "core/formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/formats/safetensors.h"

namespace volery::formats {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kGoldens = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/";

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Builds files by hand, right or wrong.
struct Builder {
  std::string out;
  template <class T>
  Builder& Put(T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Builder& Text(const std::string& text) {
    Put<uint64_t>(text.size());
    out += text;
    return *this;
  }
  Builder& Head(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    out += "GGUF";
    return Put(version).Put(tensors).Put(entries);
  }
  Builder& Tensor(const std::string& name, std::vector<uint64_t> sizes, uint32_t type, uint64_t offset) {
    Text(name).Put<uint32_t>(static_cast<uint32_t>(sizes.size()));
    for (uint64_t size : sizes) Put(size);
    return Put(type).Put(offset);
  }
  Builder& Data(size_t bytes) {
    out.append((32 - out.size() % 32) % 32 + bytes, '\1');
    return *this;
  }
};

std::string ErrorOf(const Builder& file) {
  StatusOr<GgufView> view = ParseGguf(Bytes(file.out), "m.gguf");
  EXPECT_EQ(view.status().code(), StatusCode::kInvalidArgument) << view.status();
  return Message(view.status());
}

void ExpectSameBits(const GgufTensor& tensor, const SafetensorsTensor& expected) {
  ASSERT_EQ(tensor.shape, expected.shape) << tensor.name;
  std::vector<float> values(static_cast<size_t>(tensor.count));
  ASSERT_TRUE(Dequantise(tensor.type, tensor.bytes, values.data(), tensor.count).ok()) << tensor.name;
  ASSERT_EQ(values.size() * 4, expected.bytes.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t got, want;
    std::memcpy(&got, &values[i], 4);
    std::memcpy(&want, expected.bytes.data() + 4 * i, 4);
    ASSERT_EQ(got, want) << tensor.name << " element " << i;
  }
}

TEST(Gguf, DequantisesAsTheGgufPackageDoes) {
  const std::string file = *base::ReadFile(kGoldens + "types.gguf");
  const std::string expected_file = *base::ReadFile(kGoldens + "types.safetensors");
  StatusOr<GgufView> view = ParseGguf(Bytes(file), "types.gguf");
  StatusOr<SafetensorsView> expected = ParseSafetensors(Bytes(expected_file), "types.safetensors");
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_EQ(view->tensors.size(), 6u);
  for (const GgufTensor& tensor : view->tensors) {
    ASSERT_NE(expected->Find(tensor.name), nullptr) << tensor.name;
    ExpectSameBits(tensor, *expected->Find(tensor.name));
  }
  EXPECT_EQ(view->Find("q4_1")->type, GgmlType::kQ4_1);
  EXPECT_EQ(view->Find("absent"), nullptr);
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  const std::string file = *base::ReadFile(kGoldens + "types.gguf");
  StatusOr<GgufView> view = ParseGguf(Bytes(file), "types.gguf");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(*view->String("general.architecture"), "llama");
  EXPECT_EQ(*view->Int("llama.block_count"), 2);
  EXPECT_EQ(*view->Int("test.uint8"), 200);
  EXPECT_EQ(*view->Int("test.int8"), -100);
  EXPECT_EQ(*view->Int("test.uint16"), 60000);
  EXPECT_EQ(*view->Int("test.int16"), -30000);
  EXPECT_EQ(*view->Int("test.uint32"), 4000000000);
  EXPECT_EQ(*view->Int("test.int32"), -2000000000);
  EXPECT_EQ(*view->Int("test.uint64"), int64_t{1} << 60);
  EXPECT_EQ(*view->Int("test.int64"), -(int64_t{1} << 60));
  EXPECT_EQ(*view->Float("test.float32"), static_cast<double>(0.1f));
  EXPECT_EQ(*view->Float("test.float64"), 0.1);
  EXPECT_EQ(*view->Float("test.int8"), -100);
  EXPECT_TRUE(*view->Bool("test.bool"));
  EXPECT_EQ(*view->String("test.string"), "caf\xc3\xa9");
  EXPECT_THAT(*view->Strings("test.strings"), ElementsAre("a", "", "\xe4\xb8\xad"));
  EXPECT_THAT(*view->Ints("test.ints"), ElementsAre(1, -2, 3));
  EXPECT_THAT(*view->Floats("test.floats"), ElementsAre(0.5, -0.25));
  EXPECT_EQ(view->Int("test.absent").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(Message(view->Int("test.string").status()),
              AllOf(HasSubstr("types.gguf"), HasSubstr("\"test.string\" is of type string")));
  EXPECT_THAT(Message(view->Ints("test.strings").status()), HasSubstr("array of string"));
  EXPECT_FALSE(view->Bool("test.uint8").ok());
  EXPECT_FALSE(view->Strings("test.ints").ok());
}

TEST(Gguf, TheRealModelDequantisesAsTheGgufPackageDoes) {
  const std::string path = std::string(VOLERY_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  auto file = base::MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status() << "; the test stage of bootstrap.sh installs this file";
  StatusOr<GgufView> view = ParseGguf((*file)->bytes(), path);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->tensors.size(), 272u);
  EXPECT_EQ(view->Strings("tokenizer.ggml.tokens")->size(), 49152u);
  const auto expected = nlohmann::json::parse(*base::ReadFile(kGoldens + "smollm2.json"));
  for (const auto& [name, entry] : expected.items()) {
    const GgufTensor* tensor = view->Find(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(GgmlTypeName(tensor->type), entry["type"].get<std::string>());
    EXPECT_EQ(tensor->shape, entry["shape"].get<std::vector<int64_t>>());
    std::vector<float> values(static_cast<size_t>(tensor->count));
    ASSERT_TRUE(Dequantise(tensor->type, tensor->bytes, values.data(), tensor->count).ok());
    EXPECT_EQ(base::Sha256Hex(std::as_bytes(std::span(values))), entry["sha256"].get<std::string>()) << name;
  }
}

TEST(Gguf, KnownTypesThatCannotBeDequantisedAreRefusedByName) {
  Builder file;
  file.Head(1, 0).Tensor("w", {256, 2}, 12, 0).Data(288);
  StatusOr<GgufView> view = ParseGguf(Bytes(file.out), "m.gguf");
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_THAT(view->tensors[0].shape, ElementsAre(2, 256));
  std::vector<float> out(512);
  Status status = Dequantise(view->tensors[0].type, view->tensors[0].bytes, out.data(), 512);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("Q4_K"), HasSubstr("F32, F16, Q4_0, Q4_1, Q8_0, BF16")));
  EXPECT_FALSE(CanDequantise(view->tensors[0].type));
  EXPECT_FALSE(Dequantise(GgmlType::kQ8_0, Bytes(std::string(33, 'x')), out.data(), 32).ok());
  EXPECT_FALSE(Dequantise(GgmlType::kQ8_0, Bytes(std::string(34, 'x')), out.data(), 31).ok());
  EXPECT_FALSE(Dequantise(GgmlType::kF32, Bytes(""), out.data(), -1).ok());
}

TEST(Gguf, HeadersThatLieAreRefused) {
  Builder ok;
  ok.Head(1, 0).Tensor("w", {32}, 8, 0).Data(34);
  ASSERT_TRUE(ParseGguf(Bytes(ok.out), "m.gguf").ok());
  EXPECT_THAT(ErrorOf(Builder{"GGML"}), HasSubstr("no GGUF file"));
  EXPECT_THAT(ErrorOf(Builder{""}), HasSubstr("truncated?"));
  EXPECT_THAT(ErrorOf(Builder().Head(0, 0, 1)), HasSubstr("GGUF version 1"));
  EXPECT_THAT(ErrorOf(Builder().Head(0, 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(ErrorOf(Builder().Head(0, uint64_t{1} << 60)),
              HasSubstr("1152921504606846976 metadata entries"));
  EXPECT_THAT(ErrorOf(Builder().Head(uint64_t{1} << 60, 0)), HasSubstr("1152921504606846976 tensors"));
  for (size_t size = 0; size < ok.out.size(); ++size) {
    EXPECT_FALSE(ParseGguf(Bytes(ok.out.substr(0, size)), "m.gguf").ok()) << size;
  }
}

TEST(Gguf, MetadataThatLiesIsRefused) {
  auto entry = [](const std::string& key) {
    Builder file;
    file.Head(0, 1).Text(key);
    return file;
  };
  EXPECT_THAT(ErrorOf(Builder().Head(0, 1).Put<uint64_t>(1 << 30).Put<uint64_t>(0)),
              HasSubstr("claims 1073741824 bytes"));
  EXPECT_THAT(ErrorOf(entry("k").Put<uint32_t>(13).Put<uint64_t>(0)), HasSubstr("unknown value type 13"));
  EXPECT_THAT(ErrorOf(entry("k").Put<uint32_t>(7).Put<uint8_t>(2)), HasSubstr("a bool holds 2"));
  EXPECT_THAT(ErrorOf(entry("k").Put<uint32_t>(9).Put<uint32_t>(0).Put<uint64_t>(UINT64_MAX)),
              HasSubstr("an array claims 18446744073709551615"));
  Builder nested = entry("k").Put<uint32_t>(9);
  for (int i = 0; i < 100; ++i) nested.Put<uint32_t>(9).Put<uint64_t>(1);
  EXPECT_THAT(ErrorOf(nested), AllOf(HasSubstr("metadata \"k\""), HasSubstr("nested deeper")));
  Builder twice;
  twice.Head(0, 2).Text("k").Put<uint32_t>(0).Put<uint8_t>(1).Text("k").Put<uint32_t>(0).Put<uint8_t>(1);
  EXPECT_THAT(ErrorOf(twice), HasSubstr("\"k\" stands twice"));
  EXPECT_THAT(ErrorOf(entry("split.count").Put<uint32_t>(2).Put<uint16_t>(3)), HasSubstr("one of 3 parts"));
  for (uint32_t alignment : {0u, 48u, 0x80000000u}) {
    Builder file;
    file.Head(1, 1).Text("general.alignment").Put<uint32_t>(4).Put(alignment).Tensor("w", {1}, 0, 0).Data(64);
    EXPECT_THAT(ErrorOf(file), HasSubstr("must be a power of two"));
  }
}

TEST(Gguf, TensorsThatLieAreRefused) {
  auto one = [](std::vector<uint64_t> sizes, uint32_t type, uint64_t offset) {
    return ErrorOf(Builder().Head(1, 0).Tensor("w", std::move(sizes), type, offset).Data(64));
  };
  EXPECT_THAT(one({8}, 99, 0), AllOf(HasSubstr("tensor \"w\""), HasSubstr("type 99 is unknown")));
  EXPECT_THAT(one({1, 1, 1, 1, 1}, 0, 0), HasSubstr("5 dimensions"));
  EXPECT_THAT(one({uint64_t{1} << 63}, 0, 0), HasSubstr("dimension 0 claims"));
  EXPECT_THAT(one({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0), HasSubstr("overflows"));
  EXPECT_THAT(one({uint64_t{1} << 62}, 0, 0), HasSubstr("overflows"));
  EXPECT_THAT(one({33}, 8, 0), HasSubstr("no whole blocks of Q8_0"));
  EXPECT_THAT(one({17}, 0, 0), HasSubstr("needs 68 bytes at offset 0"));
  EXPECT_THAT(one({1}, 0, 8), HasSubstr("no multiple of the alignment 32"));
  EXPECT_THAT(one({1}, 0, uint64_t{1} << 63), HasSubstr("truncated?"));
  EXPECT_THAT(ErrorOf(Builder().Head(2, 0).Tensor("w", {1}, 0, 0).Tensor("w", {1}, 0, 32).Data(64)),
              HasSubstr("\"w\" stands twice"));
  EXPECT_THAT(ErrorOf(Builder().Head(2, 0).Tensor("w", {9}, 0, 0).Tensor("v", {1}, 0, 32).Data(64)),
              HasSubstr("\"w\" and \"v\" overlap"));
}

}  // namespace
}  // namespace volery::formats
