#include "core/formats/binidx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/formats/binidx_writer.h"

namespace volery::formats {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kRecorded = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/binidx/";

nlohmann::json Expected() {
  return nlohmann::json::parse(*base::ReadFile(kRecorded + "expected.json"));
}

std::vector<int32_t> Tokens(const BinidxView& view, TokenRange range) {
  std::vector<int32_t> out(static_cast<size_t>(range.end - range.begin));
  view.Copy(range.begin, out);
  return out;
}

TEST(Binidx, ReadsWhatTheReferenceReads) {
  const nlohmann::json expected = Expected();
  ASSERT_EQ(expected.size(), 3u);
  for (const auto& [name, value] : expected.items()) {
    StatusOr<Binidx> data = Binidx::Open(kRecorded + name);
    ASSERT_TRUE(data.ok()) << data.status();
    const BinidxView& view = data->view();
    EXPECT_EQ(view.dtype(), value["dtype"] == "uint16" ? DType::kU16 : DType::kI32) << name;
    EXPECT_EQ(Tokens(view, {0, view.token_count()}), value["tokens"].get<std::vector<int32_t>>()) << name;
    const auto items = value["items"].get<std::vector<std::vector<int32_t>>>();
    ASSERT_EQ(view.item_count(), static_cast<int64_t>(items.size())) << name;
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(Tokens(view, view.Item(static_cast<int64_t>(i))), items[i]) << name << " item " << i;
    }
    const auto boundaries = value["doc_idx"].get<std::vector<size_t>>();
    ASSERT_EQ(view.document_count(), static_cast<int64_t>(boundaries.size()) - 1) << name;
    for (size_t d = 0; d + 1 < boundaries.size(); ++d) {
      std::vector<int32_t> document;
      for (size_t i = boundaries[d]; i < boundaries[d + 1]; ++i) {
        document.insert(document.end(), items[i].begin(), items[i].end());
      }
      EXPECT_EQ(Tokens(view, view.Document(static_cast<int64_t>(d))), document) << name << " document " << d;
    }
  }
}

TEST(Binidx, ShowsTheMappedTokensThemselves) {
  StatusOr<Binidx> narrow = Binidx::Open(kRecorded + "rwkv_u16"),
                   wide = Binidx::Open(kRecorded + "tool_items");
  ASSERT_TRUE(narrow.ok() && wide.ok());
  EXPECT_THAT(narrow->view().U16().subspan(1, 2), ElementsAre(40154, 0));
  EXPECT_THAT(wide->view().I32().first(3), ElementsAre(70000, 5, 0));
}

TEST(BinidxWriter, WritesTheBytesOfTheReferenceWriters) {
  for (const char* name : {"rwkv_u16", "tool_i32"}) {
    const nlohmann::json expected = Expected()[name];
    base::TemporaryFolder folder;
    auto writer =
        BinidxWriter::Open(folder.File("data"), expected["dtype"] == "uint16" ? DType::kU16 : DType::kI32);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& item : expected["items"]) {
      ASSERT_TRUE((*writer)->Append(item.get<std::vector<int32_t>>()).ok());
    }
    EXPECT_EQ((*writer)->document_count(), 5);
    EXPECT_EQ((*writer)->token_count(), static_cast<int64_t>(expected["tokens"].size()));
    ASSERT_TRUE((*writer)->Finish().ok());
    for (const char* end : {".idx", ".bin"}) {
      EXPECT_EQ(*base::ReadFile(folder.File("data") + end), *base::ReadFile(kRecorded + name + end))
          << name << end;
    }
    EXPECT_THAT(*base::ListFolder(folder.path()), ElementsAre("data.bin", "data.idx"));
  }
}

TEST(BinidxWriter, ManyDocumentsAreIndexedInOrder) {
  base::TemporaryFolder folder;
  auto writer = BinidxWriter::Open(folder.File("d"), DType::kU16);
  ASSERT_TRUE(writer.ok());
  for (int i = 0; i < 20'000; ++i)
    ASSERT_TRUE((*writer)->Append(std::vector<int32_t>(static_cast<size_t>(i % 3), i)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  StatusOr<Binidx> data = Binidx::Open(folder.File("d"));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->view().document_count(), 20'000);
  for (int i : {0, 1, 2, 8191, 8192, 8193, 16384, 19'997, 19'999}) {
    EXPECT_EQ(Tokens(data->view(), data->view().Document(i)),
              std::vector<int32_t>(static_cast<size_t>(i % 3), i))
        << i;
  }
}

TEST(BinidxWriter, RefusesTokensThatTheTypeCannotHoldAndLeavesNothingBehind) {
  base::TemporaryFolder folder;
  {
    auto writer = BinidxWriter::Open(folder.File("d"), DType::kU16);
    ASSERT_TRUE(writer.ok());
    EXPECT_THAT(Message((*writer)->Append(std::vector<int32_t>{1, 65536})),
                AllOf(HasSubstr("token 65536 of document 0"), HasSubstr("write int32 tokens")));
    EXPECT_THAT(Message((*writer)->Append(std::vector<int32_t>{-1})), HasSubstr("token -1"));
    EXPECT_EQ((*writer)->token_count(), 0);
    ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{65535, 0}).ok());
  }
  EXPECT_THAT(*base::ListFolder(folder.path()), IsEmpty());
  EXPECT_FALSE(BinidxWriter::Open(folder.File("no/such/folder/d"), DType::kU16).ok());
}

TEST(BinidxWriter, ReplacesAnEarlierPairOnlyWhenFinished) {
  base::TemporaryFolder folder;
  for (int32_t token : {1, 2}) {
    auto writer = BinidxWriter::Open(folder.File("d"), DType::kI32);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Append(std::vector<int32_t>(static_cast<size_t>(token), token)).ok());
    if (token == 2) {
      EXPECT_EQ(Binidx::Open(folder.File("d"))->view().token_count(), 1);
    }
    ASSERT_TRUE((*writer)->Finish().ok());
    EXPECT_EQ((*writer)->Finish().code(), StatusCode::kFailedPrecondition);
    EXPECT_FALSE((*writer)->Append(std::vector<int32_t>{1}).ok());
  }
  EXPECT_THAT(Binidx::Open(folder.File("d"))->view().I32(), ElementsAre(2, 2));
}

TEST(Binidx, AnEmptyPairIsRead) {
  base::TemporaryFolder folder;
  auto writer = BinidxWriter::Open(folder.File("d"), DType::kU16);
  ASSERT_TRUE(writer.ok() && (*writer)->Finish().ok());
  StatusOr<Binidx> data = Binidx::Open(folder.File("d"));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->view().token_count() + data->view().item_count() + data->view().document_count(), 0);
}

template <class T>
std::string Raw(std::initializer_list<T> values) {
  std::string out;
  for (T value : values) out.append(reinterpret_cast<const char*>(&value), sizeof(T));
  return out;
}

// An index of two items of 2 and 1 uint16 tokens, parts of which can be made to lie.
struct Index {
  std::string magic{"MMIDIDX\0\0", 9};
  uint64_t version = 1;
  uint8_t code = 8;
  uint64_t items = 2, boundaries = 3;
  std::string sizes = Raw<int32_t>({2, 1}), pointers = Raw<int64_t>({0, 4}),
              documents = Raw<int64_t>({0, 1, 2});

  std::string Build() const {
    return magic + Raw<uint64_t>({version}) + Raw<uint8_t>({code}) + Raw<uint64_t>({items, boundaries}) +
           sizes + pointers + documents;
  }
};

std::string ErrorOf(const std::string& idx, const std::string& bin = std::string(6, '\1')) {
  const std::vector<char> aligned(bin.begin(), bin.end());
  StatusOr<BinidxView> view =
      ParseBinidx(std::as_bytes(std::span(idx)), std::as_bytes(std::span(aligned)), "train");
  if (view.ok()) return "accepted";
  EXPECT_EQ(view.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(view.status()), ::testing::StartsWith("train.idx "));
  return Message(view.status());
}

TEST(Binidx, IndicesThatLieAreRefusedWithTheNumberThatLies) {
  EXPECT_EQ(ErrorOf(Index().Build()), "accepted");
  EXPECT_THAT(ErrorOf(""), HasSubstr("doesn't begin with \"MMIDIDX\""));
  EXPECT_THAT(ErrorOf(Index{.magic = std::string("TNTIDX\0\0\0", 9)}.Build()),
              HasSubstr("doesn't begin with"));
  EXPECT_THAT(ErrorOf(Index().Build().substr(0, 33)), HasSubstr("of 33 bytes is shorter than its header"));
  EXPECT_THAT(ErrorOf(Index{.version = 2}.Build()), HasSubstr("version 2"));
  EXPECT_THAT(ErrorOf(Index{.code = 1}.Build()), HasSubstr("type 1 (uint8)"));
  EXPECT_THAT(ErrorOf(Index{.code = 7}.Build()), HasSubstr("type 7 (float32)"));
  EXPECT_THAT(ErrorOf(Index{.code = 9}.Build()), HasSubstr("type 9 (unknown)"));
  EXPECT_THAT(ErrorOf(Index{.code = 4}.Build(), std::string(12, 'x')),
              HasSubstr("lets item 1 begin at byte 4, but the one before it ends at 8"));
  EXPECT_THAT(ErrorOf(Index{.items = 3}.Build()),
              HasSubstr("3 items and 3 document boundaries, but the 48 bytes"));
  EXPECT_THAT(ErrorOf(Index{.items = uint64_t{1} << 61}.Build()), HasSubstr("2305843009213693952 items"));
  EXPECT_THAT(ErrorOf(Index{.boundaries = uint64_t{1} << 61}.Build()),
              HasSubstr("2305843009213693952 document"));
  EXPECT_THAT(ErrorOf(Index().Build() + "x"), HasSubstr("the 49 bytes behind its header"));
  EXPECT_THAT(ErrorOf(Index().Build().substr(0, 80)), HasSubstr("is it truncated?"));
  EXPECT_THAT(ErrorOf(Index{.sizes = Raw<int32_t>({2, -1})}.Build()), HasSubstr("gives item 1 the size -1"));
  EXPECT_THAT(ErrorOf(Index{.sizes = Raw<int32_t>({2, 2})}.Build()),
              HasSubstr("item 1 of 2 tokens end at byte 8 of a .bin file of 6 bytes"));
  EXPECT_THAT(ErrorOf(Index{.sizes = Raw<int32_t>({2, INT32_MAX})}.Build()),
              HasSubstr("end at byte 4294967298"));
  EXPECT_THAT(ErrorOf(Index{.pointers = Raw<int64_t>({0, 2})}.Build()),
              HasSubstr("begin at byte 2, but the one before it ends at 4"));
  EXPECT_THAT(ErrorOf(Index{.pointers = Raw<int64_t>({-4, 4})}.Build()),
              HasSubstr("item 0 begin at byte -4"));
  EXPECT_THAT(
      ErrorOf(Index().Build(), std::string(8, 'x')),
      HasSubstr(
          "describes 6 bytes of tokens but the .bin file holds 8; the two files don't belong together"));
  EXPECT_THAT(ErrorOf(Index().Build(), std::string(7, 'x')), HasSubstr("holds 7"));
  EXPECT_THAT(ErrorOf(Index().Build(), std::string(5, 'x')),
              HasSubstr("a .bin file of 5 bytes; is that truncated?"));
  EXPECT_THAT(ErrorOf(Index{.documents = Raw<int64_t>({0, 2, 1})}.Build()),
              HasSubstr("boundary 2 at item 1 of 2, behind one at 2"));
  EXPECT_THAT(ErrorOf(Index{.documents = Raw<int64_t>({0, 1, 3})}.Build()),
              HasSubstr("boundary 2 at item 3"));
  EXPECT_THAT(ErrorOf(Index{.documents = Raw<int64_t>({1, 1, 2})}.Build()),
              HasSubstr("boundary 0 at item 1"));
  EXPECT_THAT(ErrorOf(Index{.documents = Raw<int64_t>({0, -1, 2})}.Build()),
              HasSubstr("boundary 1 at item -1"));
}

TEST(Binidx, MissingFilesAreNamed) {
  base::TemporaryFolder folder;
  EXPECT_THAT(Message(Binidx::Open(folder.File("d")).status()), HasSubstr("d.idx"));
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("d.idx"), Index().Build()).ok());
  EXPECT_THAT(Message(Binidx::Open(folder.File("d")).status()), HasSubstr("d.bin"));
}

}  // namespace
}  // namespace volery::formats
