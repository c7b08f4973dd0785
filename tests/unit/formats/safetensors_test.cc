#include "core/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/formats/safetensors_writer.h"

namespace volery::formats {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kGoldens = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/";

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string Hex(std::span<const std::byte> bytes) {
  std::string out;
  for (std::byte b : bytes) {
    for (int shift : {4, 0}) out += "0123456789abcdef"[std::to_integer<int>(b) >> shift & 15];
  }
  return out;
}

std::string File(const std::string& header, size_t data, uint64_t length) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(data, 'x');
}
std::string File(const std::string& header, size_t data) {
  return File(header, data, header.size());
}

std::string ErrorOf(const std::string& file) {
  StatusOr<SafetensorsView> view = ParseSafetensors(Bytes(file), "m.safetensors");
  EXPECT_EQ(view.status().code(), StatusCode::kInvalidArgument);
  return Message(view.status());
}

TEST(Safetensors, ReadsEveryTypeThatTheLibraryWrites) {
  const std::string path = kGoldens + "dtypes.safetensors";
  auto file = base::MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  StatusOr<SafetensorsView> view = ParseSafetensors((*file)->bytes(), path);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->metadata.at("version"), "12");
  const auto expected = nlohmann::json::parse(*base::ReadFile(kGoldens + "dtypes.json"));
  ASSERT_EQ(view->tensors.size(), expected.size());
  std::set<DType> seen;
  for (const auto& [name, value] : expected.items()) {
    const SafetensorsTensor* tensor = view->Find(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->shape, value["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(Hex(tensor->bytes), value["hex"].get<std::string>()) << name;
    seen.insert(tensor->dtype);
  }
  EXPECT_EQ(seen.size(), 15u);
  EXPECT_EQ(view->Find("absent"), nullptr);
}

TEST(Safetensors, WrittenAgainFromTheViewIsTheSameFile) {
  const std::string path = kGoldens + "dtypes.safetensors";
  const std::string original = *base::ReadFile(path);
  StatusOr<SafetensorsView> view = ParseSafetensors(Bytes(original), path);
  ASSERT_TRUE(view.ok());
  std::vector<SafetensorsDeclaration> declared;
  for (const auto& tensor : view->tensors) declared.push_back({tensor.name, tensor.dtype, tensor.shape});
  base::TemporaryFolder folder;
  for (const char* name : {"a", "b"}) {
    auto writer = SafetensorsWriter::Open(folder.File(name), declared, {{"version", "12"}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& tensor : view->tensors) ASSERT_TRUE((*writer)->Write(tensor.bytes).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  const std::string written = *base::ReadFile(folder.File("a"));
  EXPECT_EQ(written, *base::ReadFile(folder.File("b")));
  StatusOr<SafetensorsView> again = ParseSafetensors(Bytes(written), "a");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->metadata, view->metadata);
  ASSERT_EQ(again->tensors.size(), view->tensors.size());
  for (size_t i = 0; i < again->tensors.size(); ++i) {
    EXPECT_EQ(again->tensors[i].name, view->tensors[i].name);
    EXPECT_EQ(again->tensors[i].shape, view->tensors[i].shape);
    EXPECT_EQ(Hex(again->tensors[i].bytes), Hex(view->tensors[i].bytes));
  }
}

TEST(Safetensors, HeaderIsAlignedAndNamesWhatTransformersAsksFor) {
  StatusOr<std::string> header = SafetensorsHeader({{"w", DType::kBf16, {2, 3}}, {"b", DType::kF32, {}}}, {});
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->size() % 8, 0u);
  EXPECT_EQ(header->substr(8, header->find_last_not_of(' ') - 7),
            R"({"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
            R"("b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}})");
}

TEST(Safetensors, WriterRefusesWhatItCannotKeep) {
  EXPECT_FALSE(SafetensorsHeader({{"w", DType::kF32, {1}}, {"w", DType::kF32, {1}}}, {}).ok());
  EXPECT_FALSE(SafetensorsHeader({{"__metadata__", DType::kF32, {1}}}, {}).ok());
  EXPECT_FALSE(SafetensorsHeader({{"w\xff", DType::kF32, {1}}}, {}).ok());
  EXPECT_FALSE(SafetensorsHeader({{"w", DType::kF32, {1}}}, {{"k", "\xff"}}).ok());
  EXPECT_FALSE(SafetensorsHeader({{"w", DType::kF32, {int64_t{1} << 62, 4}}}, {}).ok());
  base::TemporaryFolder folder;
  auto writer = SafetensorsWriter::Open(folder.File("m"), {{"w", DType::kF32, {2}}, {"v", DType::kU8, {1}}});
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(Message((*writer)->Write(Bytes("abc"))),
              AllOf(HasSubstr("\"w\""), HasSubstr("8 bytes"), HasSubstr("got 3")));
  ASSERT_TRUE((*writer)->Write(Bytes("12345678")).ok());
  EXPECT_THAT(Message((*writer)->Finish()), HasSubstr("\"v\" was declared but never written"));
  ASSERT_TRUE((*writer)->Write(Bytes("1")).ok());
  EXPECT_FALSE((*writer)->Write(Bytes("1")).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_FALSE((*writer)->Finish().ok());
  EXPECT_THAT(Message(SafetensorsWriter::Open(folder.File("no/such/folder"), {}).status()),
              HasSubstr("No such file"));
}

TEST(Safetensors, FullDiskIsReported) {
  if (!base::Exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  auto writer = SafetensorsWriter::Open("/dev/full", {{"w", DType::kU8, {1 << 20}}});
  Status status = writer.ok() ? (*writer)->Write(Bytes(std::string(1 << 20, 'x'))) : writer.status();
  if (status.ok()) status = (*writer)->Finish();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
}

TEST(Safetensors, HeadersThatLieAreRefusedWithTheNumberThatLies) {
  EXPECT_THAT(ErrorOf("abc"), HasSubstr("m.safetensors: 3 bytes is too short"));
  EXPECT_THAT(ErrorOf(File("{}", 0, 200'000'000)), HasSubstr("header length 200000000 is above the limit"));
  EXPECT_THAT(ErrorOf(File("{}", 0, 50)), AllOf(HasSubstr("header length 50"), HasSubstr("truncated?")));
  EXPECT_THAT(ErrorOf(File("[]", 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf(File("", 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf(File(std::string("{}\0{}", 5), 0)), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf(File("{\"w\":}", 0)), HasSubstr("no valid JSON"));
  EXPECT_THAT(ErrorOf(File("{}", 4)), HasSubstr("end at 0 of the data but the file holds 4"));
}

TEST(Safetensors, EntriesThatLieAreRefusedByTensorName) {
  struct Case {
    const char* header;
    const char* message;
  };
  const Case cases[] = {
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}})",
       "tensor \"w\" has data_offsets [0, 12], outside the 8 bytes"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "tensor \"w\" has data_offsets [8, 0]"},
      {R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "tensor \"w\" needs 12 bytes"},
      {R"({"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})",
       "tensor \"w\" has a shape whose product overflows"},
      {R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", "no size: -1"},
      {R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "no size: 2.0"},
      {R"({"w":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}})", "no size"},
      {R"({"w":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", "unknown dtype \"F33\""},
      {R"({"w":{"shape":[2],"data_offsets":[0,8]}})", "has no dtype"},
      {R"({"w":{"dtype":"F32","data_offsets":[0,8]}})", "has no shape"},
      {R"({"w":{"dtype":"F32","shape":[2]}})", "has no data_offsets"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "has no data_offsets of two sizes"},
      {R"({"w":3})", "no object"},
      {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})",
       "(they overlap)"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}})",
       "(a hole)"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
       "end at 3 of the data but the file holds 8"},
      {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
       "key \"a\" stands twice"},
      {R"({"__metadata__":{"a":1},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "entry \"a\" is no string"},
      {R"({"__metadata__":[],"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "no object"},
      {R"({"w":{"dtype":"F32","shape":[[[[[[[[[[[2]]]]]]]]]]],"data_offsets":[0,8]}})", "nested deeper"},
  };
  for (const Case& c : cases) EXPECT_THAT(ErrorOf(File(c.header, 8)), HasSubstr(c.message)) << c.header;
}

// Work that grows with the square of the entries would make this test run for hours.
TEST(Safetensors, AHeaderOfManyEntriesIsReadInOnePass) {
  std::string header = "{";
  for (int i = 0; i < 500'000; ++i) header += Cat(i > 0 ? "," : "", "\"", i, "\":{}");
  EXPECT_THAT(ErrorOf(File(header + "}", 8)), HasSubstr("has no dtype"));
}

TEST(Safetensors, ManyLevelsOfNestingDoNotExhaustTheStack) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_THAT(ErrorOf(File("{\"w\":" + deep + "}", 0)), HasSubstr("nested deeper"));
}

TEST(Safetensors, IndexRoundTripAndPathsThatLeaveTheFolder) {
  SafetensorsIndex index;
  index.weight_map = {{"a", "model-00001-of-00002.safetensors"},
                      {"b", "model-00002-of-00002.safetensors"},
                      {"c", "model-00001-of-00002.safetensors"}};
  index.total_size = 40;
  StatusOr<SafetensorsIndex> again = ParseSafetensorsIndex(FormatSafetensorsIndex(index), "index");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->weight_map, index.weight_map);
  EXPECT_EQ(again->total_size, 40u);
  EXPECT_THAT(again->Files(),
              ElementsAre("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"));
  for (const char* file : {"../x", "/etc/passwd", "a/b", "..", "", "a\\\\b", "a\\u0000b"}) {
    Status status = ParseSafetensorsIndex(Cat(R"({"weight_map":{"w":")", file, R"("}})"), "i.json").status();
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr("i.json"), HasSubstr("\"w\""), HasSubstr("outside the folder")))
        << file;
  }
  EXPECT_FALSE(ParseSafetensorsIndex("{}", "i.json").ok());
  EXPECT_FALSE(ParseSafetensorsIndex("nonsense", "i.json").ok());
  EXPECT_FALSE(ParseSafetensorsIndex(R"({"weight_map":{"w":3}})", "i.json").ok());
}

TEST(DType, CountsAndNames) {
  EXPECT_EQ(ElementCount({}), 1);
  EXPECT_EQ(ElementCount({0, int64_t{1} << 62, 8}), std::nullopt);
  EXPECT_EQ(ElementCount({3, 0}), 0);
  EXPECT_EQ(ElementCount({-1}), std::nullopt);
  EXPECT_EQ(ByteCount(DType::kF64, {int64_t{1} << 60}), std::nullopt);
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    EXPECT_EQ(DTypeFromName(DTypeName(static_cast<DType>(i))), static_cast<DType>(i));
  }
}

}  // namespace
}  // namespace volery::formats
