#pragma once
// What every tokenizer can do: text to ids, ids to text. Makers: tokenizer_json.h (a tokenizer.json),
// gguf_vocabulary.h (GGUF metadata), world_tokenizer.h (RWKV World), sentencepiece_tokenizer.h (a .model
// file), simple_tokenizers.h (bytes, characters). Reads no files and knows no eos: ids that end a text come
// from the model's configuration, or by content with IdOf. Immutable; every function may be called by any
// number of threads.
//
//   VOLERY_ASSIGN_OR_RETURN(auto tokenizer, BpeFromTokenizerJson(json_text, "model/tokenizer.json"));
//   std::vector<int32_t> ids = tokenizer->Encode("Hello", {});
//   std::string text = tokenizer->Decode(ids, /*skip_special=*/true);

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace volery::text {

using TokenizerFiles = std::map<std::string, std::string>;  // file name -> bytes

struct EncodeOptions {
  bool add_special = true;  // what the post-processor adds (a begin-of-text token, say)
  bool parse_special =
      true;  // special tokens spelled in the text become their ids; false: they are plain text
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // `text` is UTF-8 below 4 GiB; broken bytes count as U+FFFD. Time is linear in the text up to a logarithm
  // (except where a tokenizer.json brings a regular expression of its own).
  virtual std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const = 0;
  std::vector<int32_t> Encode(std::string_view text) const { return Encode(text, EncodeOptions()); }

  // Valid UTF-8: broken bytes become U+FFFD. Ids without a token are passed over. With skip_special, tokens
  // marked special are left out; added tokens that aren't special stay.
  virtual std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // One step of Decode: appends the bytes that `id` adds. `at_start` is true before the first step and
  // belongs to the tokenizer afterwards: SentencePiece drops a space there, all others append TokenBytes.
  virtual void AppendToken(int32_t id, bool* at_start, std::string* bytes) const;

  // Highest id with a token, plus one. The model's table may have more rows.
  virtual int32_t size() const = 0;
  // The bytes that an id stands for; empty for ids without a token. They need not be whole characters.
  virtual std::string_view TokenBytes(int32_t id) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;
  // A token as its vocabulary spells it (byte-level vocabularies spell bytes as printable characters), and
  // back.
  virtual std::string_view Content(int32_t id) const = 0;
  virtual std::optional<int32_t> IdOf(std::string_view content) const = 0;
  // The tokenizer's own files in a Hugging Face folder, for a reader of that kind to give the same ids and
  // texts: a tokenizer.json; or what the kind has instead, and a tokenizer_config.json that says so.
  virtual TokenizerFiles Files() const = 0;
};

}  // namespace volery::text
