#pragma once
// A byte-level BPE tokenizer as plain data: what a tokenizer.json or GGUF metadata say, without their
// spelling.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/text/added_tokens.h"
#include "core/text/pre_tokenizer.h"

namespace volery::text {

struct BpeSpec {
  std::string where;                // file (or model) that errors name
  std::vector<std::string> tokens;  // by id, as the vocabulary spells them; added tokens as they are in text
  std::vector<bool> in_model;       // by id; false: an added token that BPE's own vocabulary lacks
  std::vector<std::pair<int32_t, int32_t>> merges;  // pairs of ids in rank order
  std::vector<AddedToken> added;
  bool nfc = false;
  std::vector<SplitStep> steps;    // then bytes are spelled and merged
  std::optional<int32_t> unknown;  // stands for bytes without a token; none: they are left out
  bool fuse_unknown = false;
  bool ignore_merges = false;
  std::vector<int32_t> prefix, suffix;  // what the post-processor adds
};

}  // namespace volery::text
