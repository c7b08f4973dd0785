#include "core/data/token_source.h"

#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/formats/binidx_writer.h"

namespace volery::data {
namespace {

// Bytes, and 256 at the end.
StatusOr<std::vector<int32_t>> EncodeBytes(const std::string& text) {
  std::vector<int32_t> ids;
  for (char c : text) ids.push_back(static_cast<uint8_t>(c));
  ids.push_back(256);
  return ids;
}

std::vector<int32_t> All(const TokenSource& source) {
  std::vector<int32_t> tokens(static_cast<size_t>(source.size()));
  source.Copy(0, tokens);
  return tokens;
}

class TokenSourceTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(base::WriteFileAtomic(folder_.File(name), text).ok());
    return folder_.File(name);
  }
  std::string ErrorOf(const TextFile& file, int64_t vocabulary = 257) {
    return Message(OpenTokens(file, vocabulary, EncodeBytes).status());
  }
  base::TemporaryFolder folder_;
};

TEST_F(TokenSourceTest, TextIsOneDocumentOrCutAtItsSeparator) {
  const std::string file = Write("a.txt", "ab--c----d");
  auto whole = OpenTokens({file, "text"}, 257, EncodeBytes);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ((*whole)->documents(), 1);
  EXPECT_EQ((*whole)->size(), 11);
  auto parts = OpenTokens({file, "text", "", "--"}, 257, EncodeBytes);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(All(**parts), (std::vector<int32_t>{'a', 'b', 256, 'c', 256, 'd', 256}));
  EXPECT_EQ((*parts)->DocumentsIn(0, 7), (std::vector<int64_t>{0, 3, 5}));
  EXPECT_EQ((*parts)->DocumentsIn(1, 5), (std::vector<int64_t>{3}));
}

TEST_F(TokenSourceTest, JsonLinesGiveTheirColumn) {
  const std::string file =
      Write("a.jsonl", "{\"text\": \"ab\", \"n\": 1}\n\n{\"text\": \"\"}\n{\"text\": \"c\"}\n");
  auto tokens = OpenTokens({file, "jsonl"}, 257, EncodeBytes);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(All(**tokens), (std::vector<int32_t>{'a', 'b', 256, 'c', 256}));
  EXPECT_EQ((*tokens)->documents(), 2);
  EXPECT_EQ(
      ErrorOf({file, "jsonl", "body"}),
      Cat(file, ":1: there is no column \"body\"; this row has \"n\", \"text\"; say with `column` which to read"));
  EXPECT_EQ(ErrorOf({file, "jsonl", "n"}), Cat(file, ":1: column \"n\" holds a number, neither text nor token ids"));
  EXPECT_NE(ErrorOf({Write("b.jsonl", "{\"text\": \"a\"}\n{\"te"), "jsonl"}).find("b.jsonl:2"),
            std::string::npos);
}

TEST_F(TokenSourceTest, RowsMayHoldTokenIdsAndLabels) {
  const std::string file = Write("ids.jsonl",
                                 "{\"input_ids\": [5, 6, 7], \"labels\": [-100, 6, -100]}\n"
                                 "{\"input_ids\": []}\n{\"input_ids\": [8, 9], \"labels\": [-100, 9]}\n");
  const auto unlabelled = OpenTokens({file, "jsonl", "input_ids"}, 257, EncodeBytes);
  ASSERT_TRUE(unlabelled.ok()) << unlabelled.status();
  EXPECT_EQ(All(**unlabelled), (std::vector<int32_t>{5, 6, 7, 8, 9}));
  std::vector<uint8_t> mask(5);
  (*unlabelled)->CopyLossMask(0, mask);
  EXPECT_EQ(mask, (std::vector<uint8_t>{1, 1, 1, 1, 1}));
  const std::string labels =
      Write("labels.jsonl",
            "{\"i\": [5, 6, 7], \"l\": [-100, 6, -100]}\n{\"i\": [8, 9, 4], \"l\": [-100, -100, 4]}\n");
  const auto labelled = OpenTokens({labels, "jsonl", "i", "", "l"}, 257, EncodeBytes);
  ASSERT_TRUE(labelled.ok()) << labelled.status();
  (*labelled)->CopyLossMask(1, mask);
  EXPECT_EQ(mask, (std::vector<uint8_t>{1, 0, 0, 0, 1}));
  EXPECT_EQ((*labelled)->ignored(), 4);
  EXPECT_EQ((*unlabelled)->ignored(), 0);

  EXPECT_EQ(ErrorOf({file, "jsonl", "input_ids", "", "labels"}),
            Cat(file, ":2: there is no column \"labels\"; this row has \"input_ids\"; say with `labels` which to read"));
  EXPECT_EQ(ErrorOf({file, "jsonl", "input_ids"}, 9),
            Cat(file, ":3: token id 9 is outside the model's vocabulary of 9; the file was made with another tokenizer"));
  const auto refused = [&](const std::string& row) {
    return ErrorOf({Write("bad.jsonl", row), "jsonl", "i", "", "l"});
  };
  const std::string at = Cat(folder_.File("bad.jsonl"), ":1: ");
  EXPECT_EQ(refused(R"({"i": [5, "a"], "l": [-100, 6]})"),
            Cat(at, "column \"i\" holds \"a\" at [1], not a token id"));
  EXPECT_EQ(refused(R"({"i": [5, 9000000000], "l": [-100, 6]})"),
            Cat(at, "column \"i\" holds 9000000000 at [1], not a token id"));
  // Neither -1 nor -100 by its bits.
  EXPECT_EQ(refused(R"({"i": [5, 18446744073709551615], "l": [-100, 6]})"),
            Cat(at, "column \"i\" holds 18446744073709551615 at [1], not a token id"));
  EXPECT_EQ(refused(R"({"i": [5, 6], "l": [18446744073709551516, 6]})"),
            Cat(at, "column \"l\" holds 18446744073709551516 at [0], not a label"));
  EXPECT_EQ(refused(R"({"i": [5, 6], "l": [-100]})"), Cat(at, "\"l\" has 1 labels, but \"i\" has 2 ids"));
  EXPECT_EQ(refused(R"({"i": [5, 6], "l": "x"})"), Cat(at, "column \"l\" holds a string, not a list of labels"));
  EXPECT_EQ(refused(R"({"i": [5, 6], "l": [-100, 7]})"),
            Cat(at,
                "\"l\" has 7 at [1], where the id is 6; a label is its own token's id, or -100 where no loss is "
                "asked for"));
  EXPECT_EQ(refused(R"({"i": "text", "l": [-100]})"),
            Cat(at, "column \"i\" holds text, but labels go with token ids"));
}

TEST_F(TokenSourceTest, BinidxKeepsItsDocuments) {
  auto writer = formats::BinidxWriter::Open(folder_.File("d"), formats::DType::kU16);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{5, 6, 0}).ok());
  ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{7, 0}).ok());
  ASSERT_TRUE((*writer)->Append(std::vector<int32_t>{40, 0}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  auto tokens = OpenTokens({folder_.File("d.idx"), "binidx"}, 41, EncodeBytes);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(All(**tokens), (std::vector<int32_t>{5, 6, 0, 7, 0, 40, 0}));
  EXPECT_EQ((*tokens)->DocumentsIn(1, 7), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(
      ErrorOf({folder_.File("d.bin"), "binidx"}, 40),
      Cat(folder_.File("d.bin"),
          ": token id 40 is outside the model's vocabulary of 40; the file was made with another tokenizer"));
  ASSERT_TRUE(base::TruncateFile(folder_.File("d.bin"), 12).ok());
  EXPECT_NE(ErrorOf({folder_.File("d.idx"), "binidx"}).find("d"), std::string::npos);
  EXPECT_FALSE(OpenTokens({folder_.File("d.idx"), "binidx"}, 41, EncodeBytes).ok());
}

TEST_F(TokenSourceTest, RefusesWhatHoldsNoText) {
  EXPECT_EQ(ErrorOf({Write("e.txt", ""), "text"}), Cat(folder_.File("e.txt"), ": there is no text in it"));
  EXPECT_EQ(ErrorOf({Write("e.jsonl", "{\"text\": \"\"}\n"), "jsonl"}),
            Cat(folder_.File("e.jsonl"), ": there is no text in it"));
  EXPECT_NE(ErrorOf({folder_.File("none.txt"), "text"}).find("none.txt"), std::string::npos);
}

}  // namespace
}  // namespace volery::data
