#pragma once
// Reads the recordings of tests/golden/text and compares a tokenizer with them.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/base/files.h"
#include "core/text/tokenizer.h"

namespace volery::text {

inline std::string GoldenText(const std::string& name) {
  const StatusOr<std::string> text =
      base::ReadFile(std::string(VOLERY_SOURCE_DIR) + "/tests/golden/text/" + name);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "null";
}

inline void ExpectGoldenRows(const Tokenizer& tokenizer, const nlohmann::json& rows,
                             const std::string& recording) {
  ASSERT_GT(rows.size(), 200u);
  for (const auto& row : rows) {
    const auto text = row["text"].get<std::string>();
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.Encode(text), ids) << recording << ": " << row["text"].dump();
    EXPECT_EQ(tokenizer.Decode(ids, false), row["all"].get<std::string>())
        << recording << ": " << row["text"].dump();
    EXPECT_EQ(tokenizer.Decode(ids, true), row["skip"].get<std::string>())
        << recording << ": " << row["text"].dump();
    if (!row.contains("plain")) continue;
    EncodeOptions plain;
    plain.add_special = plain.parse_special = false;
    EXPECT_EQ(tokenizer.Encode(text, plain), row["plain"].get<std::vector<int32_t>>())
        << recording << ": " << row["text"].dump();
  }
}

inline void ExpectGoldenRows(const Tokenizer& tokenizer, const std::string& recording) {
  ExpectGoldenRows(tokenizer, nlohmann::json::parse(GoldenText(recording)), recording);
}

}  // namespace volery::text
