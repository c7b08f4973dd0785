// One cell of the tokenizer table, one thread: MB of text a second, the number of ids, and the SHA-256 of the
// ids (as 32-bit little-endian numbers) or of the decoded texts. One JSON line on standard output.
//
//   bench_tokenizer TOKENIZER TEXTS encode|decode     a tokenizer.json, or a World vocabulary (.txt); a JSON
//   string
//                                                     a line
//
// encode: the best of some passes, each by a tokenizer made anew, so that it has seen none of the text
// before. decode: the best of many passes.

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <string>

#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/text/tokenizer_json.h"
#include "core/text/world_tokenizer.h"
#include "tests/bench/bench.h"

namespace volery::bench {
namespace {

constexpr int kEncodePasses = 3, kDecodePasses = 10;

struct Corpus {
  std::vector<std::string> texts;
  double megabytes = 0;
};

Corpus ReadTexts(const std::string& path) {
  Corpus corpus;
  std::istringstream lines(Must(base::ReadFile(path)));
  for (std::string line; std::getline(lines, line);) {
    corpus.texts.push_back(nlohmann::json::parse(line).get<std::string>());
    corpus.megabytes += static_cast<double>(corpus.texts.back().size()) / 1e6;
  }
  return corpus;
}

using Ids = std::vector<std::vector<int32_t>>;

Ids EncodeAll(const text::Tokenizer& tokenizer, const Corpus& corpus) {
  Ids ids;
  for (const std::string& text : corpus.texts) ids.push_back(tokenizer.Encode(text, {.add_special = false}));
  return ids;
}

std::string Bytes(const Ids& ids) {
  std::string bytes;
  for (const std::vector<int32_t>& text : ids)
    bytes.append(reinterpret_cast<const char*>(text.data()), text.size() * sizeof(int32_t));
  return bytes;
}

std::shared_ptr<text::Tokenizer> Make(const std::string& bytes, const std::string& file) {
  return Must(file.ends_with(".txt") ? text::WorldTokenizer(bytes, file)
                                     : text::BpeFromTokenizerJson(bytes, file));
}

void Run(const std::string& tokenizer_file, const Corpus& corpus, bool decode) {
  const std::string bytes = Must(base::ReadFile(tokenizer_file));
  double best = 1e9, load = 1e9;
  Ids ids;
  std::shared_ptr<text::Tokenizer> tokenizer;
  for (int pass = 0; pass < (decode ? 1 : kEncodePasses); pass++) {
    const auto made = Clock::now();
    tokenizer = Make(bytes, tokenizer_file);
    tokenizer->Encode("x");  // tables that are built at first use
    load = std::min(load, Seconds(made));
    const auto begin = Clock::now();
    ids = EncodeAll(*tokenizer, corpus);
    if (!decode) best = std::min(best, Seconds(begin));
  }
  std::string result = Bytes(ids);
  const size_t tokens = result.size() / sizeof(int32_t);
  std::vector<std::string> texts(ids.size());
  for (int pass = 0; pass < (decode ? kDecodePasses : 0); pass++) {
    const auto begin = Clock::now();
    for (size_t i = 0; i < ids.size(); i++) texts[i] = tokenizer->Decode(ids[i], /*skip_special=*/false);
    best = std::min(best, Seconds(begin));
  }
  if (decode) result = std::accumulate(texts.begin(), texts.end(), std::string());
  std::printf("{\"mb_per_s\": %.3f, \"load_s\": %.3f, \"tokens\": %zu, \"sha256\": \"%s\"}\n",
              corpus.megabytes / best, load, tokens, base::Sha256Hex(result).c_str());
}

}  // namespace
}  // namespace volery::bench

int main(int argc, char** argv) {
  const std::string what = argc > 3 ? argv[3] : "";
  if (what != "encode" && what != "decode") {
    std::cerr << "usage: bench_tokenizer TOKENIZER TEXTS encode|decode\n";
    return 2;
  }
  volery::bench::Run(argv[1], volery::bench::ReadTexts(argv[2]), what == "decode");
  return 0;
}
