#include "core/text/tokenizer_files.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "core/text/utf8.h"

namespace volery::text {

StatusOr<TokenizerFiles> MakeTokenizerFiles(const Tokenizer& tokenizer,
                                            const TokenizerFilesOptions& options) {
  TokenizerFiles files = tokenizer.Files();
  std::string& config_file = files["tokenizer_config.json"];
  nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                   {"clean_up_tokenization_spaces", false},
                                   {"add_prefix_space", false}};
  if (!config_file.empty()) config = nlohmann::ordered_json::parse(config_file);
  const std::pair<const char*, std::optional<int32_t>> named[] = {{"bos_token", options.bos},
                                                                  {"eos_token", options.eos},
                                                                  {"unk_token", options.unk},
                                                                  {"pad_token", options.pad}};
  for (const auto& [name, id] : named) {
    if (!id) continue;
    const std::string_view content = tokenizer.Content(*id);
    if (content.empty())
      return InvalidError("export of the tokenizer: ", name, " has id ", *id, ", which is no token");
    if (!IsValidUtf8(content))
      return InvalidError("export of the tokenizer: ", name, " has id ", *id, ", whose token is no text");
    config[name] = content;
  }
  if (options.max_length > 0) config["model_max_length"] = options.max_length;
  config_file = config.dump(2) + "\n";
  if (!options.chat_template.empty()) files["chat_template.jinja"] = options.chat_template;
  return files;
}

}  // namespace volery::text
