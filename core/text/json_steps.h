#pragma once
// The processing parts of a tokenizer.json (normaliser, pre-tokenizer, post-processor, decoder) into plain
// structs. Parts that can't be honoured are refused by name. Internal to text/; may throw
// nlohmann::json::exception.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/text/bpe_spec.h"

namespace volery::text {

enum class DecoderKind { kByteLevel, kFuse };

// `object[name]`, or `fallback` where it is absent or null.
StatusOr<bool> ReadFlag(const nlohmann::json& object, const char* name, bool fallback,
                        const std::string& here);

StatusOr<bool> ReadNormalizer(const nlohmann::json& root, const std::string& where);  // true: NFC
StatusOr<std::vector<SplitStep>> ReadPreTokenizer(const nlohmann::json& root, const std::string& where);
// Sets spec->prefix and spec->suffix; spec->tokens must be filled.
Status ReadPostProcessor(const nlohmann::json& root, const std::string& where, BpeSpec* spec);
StatusOr<DecoderKind> ReadDecoder(const nlohmann::json& root, const std::string& where);

}  // namespace volery::text
